"""``gather_evidence``: everything the approver needs, on one card."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator

from model_refresh import handover
from model_refresh.config import ModelConfig
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import Evidence, Forecast
from model_refresh.domain.receipt import Check
from model_refresh.domain.rollout import load_time
from model_refresh.failing import refresh_errors
from model_refresh.hooks.connect import serving_hook
from model_refresh.hooks.deployment import ServingDeployment

CARD_KEY = "card"


class GatherEvidenceOperator(BaseOperator):
    """Returns the evidence; its Markdown lies beside it for the approval.

    Args:
        model: the model.
    """

    def __init__(self, *, model: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def execute(self, context: Any) -> dict[str, Any]:
        """Put the run's findings together and look at the Deployment once more."""
        with refresh_errors():
            deployment = serving_hook(self.model).get(self.model.deployment)
            evidence = _gather(self.model, context, deployment)
        context["ti"].xcom_push(key=CARD_KEY, value=evidence.markdown())
        self.log.info("\n%s", evidence.markdown())
        return handover.dump(evidence)


def _gather(model: ModelConfig, context: Any, deployment: ServingDeployment) -> Evidence:
    offer, plan = handover.offer(context), handover.plan(context)
    published, readings = handover.publication(context), handover.readings(context)
    _agree(offer.release.digest, published.digest)
    if deployment.view.release != offer.serving:
        raise RefreshError(
            Reason.STALE_APPROVAL,
            f"Deployment {model.deployment} named {offer.serving} when this run began, and names "
            f"{deployment.view.release} now: the comparison would be with the wrong release.",
        )
    read_bytes = sum(reading.bytes for reading in readings)
    if not readings or read_bytes != published.size:
        raise RefreshError(
            Reason.INCOMPLETE, f"{read_bytes} bytes were read back of a release of {published.size}; all must be."
        )
    verify_seconds = max(reading.seconds for reading in readings)
    replicas = deployment.view.replicas
    # What one pod read alone is what one replica can expect; the sum of all pods would flatter it.
    fastest = max((reading.bytes / reading.seconds for reading in readings if reading.seconds > 0), default=0)
    load = load_time(published.size, bytes_per_second=fastest)
    copies = handover.copies(context)
    # What this run's last tries fetched; a file that an earlier try brought was on the volume already.
    copied = sum(copy.copied_bytes for copy in copies)
    return Evidence(
        model=model.name,
        deployment=model.deployment,
        release_id=published.release_id,
        digest=published.digest,
        source=offer.release.prefix,
        files=published.files,
        size=published.size,
        copied_bytes=copied,
        reused_bytes=published.size - copied,
        serving=deployment.view.release,
        diff=plan.diff,
        checks=(*published.checks, *_warnings(deployment, load.total_seconds())),
        copy_seconds=max((copy.seconds for copy in copies), default=0),
        verify_seconds=verify_seconds,
        space=published.space.model_copy(update={"free_before": plan.space.free_before}),
        forecast=Forecast(
            replicas=replicas,
            strategy=str(deployment.strategy),
            downtime=deployment.strategy.downtime(replicas),
            load=load,
        ),
    )


def _agree(pinned: str, published: str) -> None:
    if pinned != published:
        raise RefreshError(Reason.GENERATION_DRIFT, f"The run is about digest {pinned}, but {published} was published.")


def _warnings(deployment: ServingDeployment, load_seconds: float) -> list[Check]:
    limit = deployment.progress_deadline_seconds
    if load_seconds <= limit:
        return []
    return [
        Check(
            name="Warning",
            outcome=f"the Deployment's progressDeadlineSeconds is {limit}, less than one replica takes to read the "
            "release: Kubernetes will call a healthy rollout failed; raise it first",
        ),
    ]
