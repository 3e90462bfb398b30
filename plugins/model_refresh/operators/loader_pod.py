"""Runs one loader pod on the model's volume and reads its result from the termination message."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from pydantic import ValidationError

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.contract import REQUEST_VARIABLE, RESULT, VOLUME_PATH, AnyResult, Failure, Request
from model_refresh.domain.document import Document
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.failing import as_airflow, refresh_errors
from model_refresh.names import MODEL_LABEL, STEP_LABEL
from model_refresh.settings import get_settings

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

_USER = 65532
"""The loader's user and group; no user of any common base image has this number."""
_CONTAINER = "loader"


class LoaderPodOperator(KubernetesPodOperator):
    """A pod of the loader; each step of the refresh is a subclass that says what it asks for.

    Args:
        model: the model, as ``ModelConfig.model_dump(mode="json", by_alias=True)`` gives it; plain data, because
            Airflow serialises the arguments of mapped tasks.
        long_running: whether the pod may live for minutes; then nothing waits for it on a worker.
    """

    answer: ClassVar[type[Document]]
    """The kind of result that the pod of this step leaves."""

    def __init__(self, *, model: dict[str, Any], long_running: bool = False, **kwargs: Any) -> None:
        config = ModelConfig.model_validate(model)
        settings = get_settings()
        self.model = model
        self.config = config
        self._outcome: AnyResult | None = None
        step = kwargs["task_id"].replace("_", "-")
        timeout = config.copy_.timeout if long_running else timedelta(minutes=30)
        super().__init__(
            name=f"{config.name}-{step}",
            namespace=config.namespace or settings.namespace,
            kubernetes_conn_id=settings.kubernetes_conn_id,
            image=settings.loader_image,
            image_pull_policy=settings.image_pull_policy,
            base_container_name=_CONTAINER,
            labels={MODEL_LABEL: config.name, STEP_LABEL: step},
            env_vars=settings.loader_env | config.copy_.env,
            service_account_name=settings.loader_service_account,
            automount_service_account_token=False,
            deferrable=long_running,
            # A pod may wait for a node and for Longhorn to attach; the provider's own 120 s are too short.
            startup_timeout_seconds=900,
            schedule_timeout_seconds=900,
            startup_check_interval_seconds=1,
            poll_interval=2,
            logging_interval=10 if long_running else None,
            active_deadline_seconds=round(timeout.total_seconds()),
            log_events_on_failure=True,
            log_pod_spec_on_failure=False,
            container_name_log_prefix_enabled=False,
            # The termination message carries the result: no sidecar, no exec (decision 1).
            do_xcom_push=False,
            **_placement(config),
            **_hardening(),
            **kwargs,
        )

    @abstractmethod
    def request(self, context: Any) -> Request | None:
        """What the pod is asked for; None when there is nothing for it to do."""

    def conclude(self, result: Any, context: Any) -> Any:  # noqa: ARG002 - a step may need the context
        """What the task returns, from the pod's result, or from None when there was nothing to do."""
        return None if result is None else handover.dump(result)

    def execute(self, context: Any) -> Any:
        """Start the pod; wait for it here, or in the triggerer when it is a long-running one."""
        with refresh_errors():
            request = self.request(context)
            if request is None:
                return self._return(self.conclude(None, context))
        # Env vars are a template field and rendered by now: what a bucket's listing says is never a template.
        self.env_vars = [*self.env_vars, _env(REQUEST_VARIABLE, _untouchable(request.model_dump_json()))]
        return self._finish(lambda: super(LoaderPodOperator, self).execute(context), context)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """Go on when the triggerer saw the pod end."""
        return self._finish(lambda: super(LoaderPodOperator, self).trigger_reentry(context, event), context)

    def convert_config_file_to_dict(self) -> None:
        """Leave $KUBECONFIG alone: the connection says it all, and the provider's trigger refuses to be told twice."""
        self._config_dict = None

    def cleanup(self, pod: V1Pod, remote_pod: V1Pod, *args: Any, **kwargs: Any) -> None:
        """Keep what the pod said before it is deleted."""
        self._outcome = _read_outcome(remote_pod) if remote_pod else None
        super().cleanup(pod, remote_pod, *args, **kwargs)

    def _finish(self, run: Any, context: Any) -> Any:
        try:
            run()
        except AirflowException as error:
            if isinstance(self._outcome, Failure):
                raise as_airflow(self._outcome.error()) from error
            raise
        with refresh_errors():
            return self._return(self.conclude(self._result(), context))

    def _result(self) -> Document:
        if self._outcome is None:
            raise RefreshError(
                Reason.KILLED,
                "The pod is gone and its result with it; doubt never promotes.",
                mend="It is tried again; what is proven on the volume is kept.",
            )
        if isinstance(self._outcome, Failure):
            raise self._outcome.error()
        if not isinstance(self._outcome, self.answer):
            raise RefreshError(Reason.BAD_REQUEST, f"The pod answered with a {self._outcome.command} result.")
        return self._outcome

    def _return(self, value: Any) -> Any:
        # One flag means two things to the provider: the sidecar, which must stay off, and pushing what is
        # returned, which must happen. The pod is over; from here on the flag means only the second.
        self.do_xcom_push = True
        return value


def _untouchable(text: str) -> str:
    """JSON that the kubelet leaves alone, which expands ``$(NAME)`` in an environment variable's value."""
    return text.replace("$", "\\u0024")


def _env(name: str, value: str) -> Any:
    from kubernetes.client import V1EnvVar

    return V1EnvVar(name=name, value=value)


def _placement(config: ModelConfig) -> dict[str, Any]:
    from kubernetes.client import (
        V1EmptyDirVolumeSource,
        V1PersistentVolumeClaimVolumeSource,
        V1ResourceRequirements,
        V1Toleration,
        V1Volume,
        V1VolumeMount,
    )

    rule = config.copy_
    return {
        "volumes": [
            V1Volume(
                name="models",
                persistent_volume_claim=V1PersistentVolumeClaimVolumeSource(claim_name=config.claim),
            ),
            # The root file system is read-only; the engines keep their state here.
            V1Volume(name="scratch", empty_dir=V1EmptyDirVolumeSource(size_limit="1Gi")),
        ],
        "volume_mounts": [
            V1VolumeMount(name="models", mount_path=VOLUME_PATH),
            V1VolumeMount(name="scratch", mount_path="/tmp"),  # noqa: S108 - an emptyDir of this pod alone
        ],
        "container_resources": V1ResourceRequirements(
            requests={"cpu": rule.resources.cpu, "memory": rule.resources.memory},
            limits={"memory": rule.resources.memory},
        ),
        "node_selector": dict(rule.node_selector),
        "tolerations": [V1Toleration(**toleration.model_dump()) for toleration in rule.tolerations],
    }


def _hardening() -> dict[str, Any]:
    """What Pod Security's ``restricted`` asks for, and a read-only root file system on top."""
    from kubernetes.client import V1Capabilities, V1PodSecurityContext, V1SeccompProfile, V1SecurityContext

    return {
        "security_context": V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=_USER,
            run_as_group=_USER,
            seccomp_profile=V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": V1SecurityContext(
            allow_privilege_escalation=False,
            capabilities=V1Capabilities(drop=["ALL"]),
            read_only_root_filesystem=True,
        ),
    }


def _read_outcome(pod: V1Pod) -> AnyResult | None:
    """What the loader's container left, or None when it left nothing that can be read."""
    states = [state for state in pod.status.container_statuses or () if state.name == _CONTAINER]
    ended = states[0].state.terminated if states and states[0].state else None
    if ended is None:
        return None
    try:
        return RESULT.validate_json(ended.message or "")
    except ValidationError:
        return Failure.of(
            RefreshError(
                Reason.KILLED if ended.exit_code >= 128 else Reason.UNEXPECTED,  # noqa: PLR2004 - 128 + signal number
                f"Pod {pod.metadata.name} ended with exit code {ended.exit_code} ({ended.reason}) and left no result: "
                f"{(ended.message or 'no message')[:500]}.",
            ),
        )
