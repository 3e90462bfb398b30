"""The pod is as harmless as a pod can be, and what it says, or does not say, decides the task."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiClient

from model_refresh import handover
from model_refresh.contract import REQUEST, REQUEST_VARIABLE, Failure, dump_result
from model_refresh.domain.errors import RETRYABLE, Reason, RefreshError
from model_refresh.names import PLAN_COPY, VERIFY_SHARD, WAIT_FOR_RELEASE
from model_refresh.operators.steps import PlanCopyOperator, VerifyShardOperator
from tests.unit import kube
from tests.unit.given import model
from tests.unit.run import Run, plan, read, release

PLAIN = model().model_dump(mode="json", by_alias=True)


def verify(**fields):
    with DAG("refresh__llama", schedule=None):
        return VerifyShardOperator(task_id=VERIFY_SHARD, model=PLAIN, shard=1, **fields)


@pytest.fixture
def pod_of(monkeypatch):
    """The pod that a task would make, as the API server would get it; the provider's own run is left out."""

    def pod_of(task, run):
        monkeypatch.setattr(KubernetesPodOperator, "execute", lambda self, context: None)
        task.render_template_fields(run.context)
        with pytest.raises(AirflowException, match="doubt never promotes"):
            task.execute(run.context)
        # It only tells which labels a pod gets when Airflow runs in the same cluster.
        task.hook = SimpleNamespace(is_in_cluster=False)
        return ApiClient().sanitize_for_serialization(task.build_pod_request_obj())

    return pod_of


def test_the_pod_satisfies_restricted_pod_security_and_more(pod_of):
    spec = pod_of(verify(), Run())["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & {name for name, value in spec.items() if value}
    assert spec.get("initContainers", []) == []
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} == {
        "persistentVolumeClaim",
        "emptyDir",
    }


def test_the_pod_has_no_rights_in_the_cluster(pod_of):
    spec = pod_of(verify(), Run())["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "model-loader"


def test_the_pod_mounts_the_claim_and_a_scratch_and_nothing_else(pod_of):
    spec = pod_of(verify(), Run())["spec"]
    (claim,) = [volume for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    assert claim["persistentVolumeClaim"]["claimName"] == "models"
    mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts == {"/models": claim["name"], "/tmp": "scratch"}


def test_the_models_file_decides_placement_and_room(pod_of):
    tuned = model(
        namespace="prod",
        copy={
            "resources": {"cpu": "500m", "memory": "2Gi"},
            "node_selector": {"disk": "fast"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "env": {"HTTPS_PROXY": "http://proxy"},
            "timeout": "1h",
        },
    ).model_dump(mode="json", by_alias=True)
    with DAG("refresh__llama", schedule=None):
        task = VerifyShardOperator(model=tuned, shard=1)
    made = pod_of(task, Run())
    assert made["metadata"]["namespace"] == "prod"
    assert made["metadata"]["labels"]["model-refresh/model"] == "llama"
    spec = made["spec"]
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert spec["activeDeadlineSeconds"] == 3600
    (container,) = spec["containers"]
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}
    assert {"name": "HTTPS_PROXY", "value": "http://proxy"} in container["env"]


def request_in(made):
    variables = {each["name"]: each.get("value") for each in made["spec"]["containers"][0]["env"]}
    return REQUEST.validate_json(variables[REQUEST_VARIABLE])


def test_the_request_travels_whole(pod_of):
    request = request_in(pod_of(verify(), Run()))
    assert (request.command, request.model, request.run_id, request.shard) == ("verify", "llama", "manual__1", 1)
    assert request.release == release


def test_what_a_bucket_calls_its_objects_is_never_a_template(pod_of):
    nasty = release.model_copy(update={"prefix": "gs://bucket/{{ 7*7 }}/{% raw %}/"})
    run = Run().left(WAIT_FOR_RELEASE, handover.dump(handover.Offer(release=nasty, serving=None)))
    made = pod_of(verify(), run)
    assert request_in(made).release.prefix == "gs://bucket/{{ 7*7 }}/{% raw %}/"


def test_kubernetes_expands_nothing_in_the_request(pod_of):
    """``$(NAME)`` in an environment variable's value is expanded by the kubelet; ``$$`` is its escape."""
    nasty = release.model_copy(update={"prefix": "gs://bucket/$(HOME)/$$(X)/"})
    run = Run().left(WAIT_FOR_RELEASE, handover.dump(handover.Offer(release=nasty, serving=None)))
    made = pod_of(verify(), run)
    text = {each["name"]: each.get("value") for each in made["spec"]["containers"][0]["env"]}[REQUEST_VARIABLE]
    assert "$" not in text
    assert request_in(made).release.prefix == "gs://bucket/$(HOME)/$$(X)/"


@pytest.fixture
def ending(monkeypatch):
    """Run a task whose pod has ended so; ``trouble`` is what the provider raises itself."""

    def ending(status, *, trouble=None, task=None, run=None):
        remote = kube.pod(phase="Failed", container_statuses=[status] if status else None)

        def provider(self, context):
            self.cleanup(remote, remote)
            if trouble:
                raise trouble

        monkeypatch.setattr(KubernetesPodOperator, "execute", provider)
        monkeypatch.setattr(KubernetesPodOperator, "cleanup", lambda self, pod, remote_pod, *args, **kwargs: None)
        return (task or verify()).execute((run or Run()).context)

    return ending


def test_what_the_pod_found_is_what_the_task_returns(ending):
    found = read(1)
    task = verify()
    assert ending(kube.ended(0, dump_result(found).decode(), reason="Completed"), task=task) == handover.dump(found)
    assert task.do_xcom_push


@pytest.mark.parametrize("reason", Reason)
def test_the_pods_reason_is_the_tasks_and_decides_about_a_retry(ending, reason):
    said = dump_result(Failure.of(RefreshError(reason, "It broke.", mend="Mend it.")))
    with pytest.raises(AirflowException, match=f"{reason}: It broke. Mend it.") as caught:
        ending(kube.ended(12, said.decode()), trouble=AirflowException("Pod returned a failure"))
    assert (type(caught.value) is AirflowFailException) == (reason not in RETRYABLE)


def test_a_pod_that_was_killed_without_a_word_is_tried_again(ending):
    with pytest.raises(AirflowException, match=r"Killed.*exit code 137.*OOMKilled") as caught:
        ending(kube.ended(137, None, reason="OOMKilled"), trouble=AirflowException("Pod returned a failure"))
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("message", ["Traceback…", "{}", '{"command": "verify"}', "null", ""])
@pytest.mark.parametrize("exit_code", [0, 1])
def test_what_cannot_be_read_is_no_success(ending, message, exit_code):
    with pytest.raises(AirflowException, match=r"Unexpected.*left no result"):
        ending(kube.ended(exit_code, message))


def test_a_failure_that_ended_with_zero_is_a_failure(ending):
    said = dump_result(Failure(reason=Reason.HASH_MISMATCH, message="x", mend="y"))
    with pytest.raises(AirflowFailException, match="HashMismatch"):
        ending(kube.ended(0, said.decode()))


def test_a_success_that_did_not_end_with_zero_is_no_success(ending):
    with pytest.raises(AirflowException):
        ending(kube.ended(137, dump_result(read(1)).decode()), trouble=AirflowException("Pod returned a failure"))


def test_the_answer_to_another_question_is_no_success(ending):
    """A verify pod that answers with a plan, or about another shard, was not asked that."""
    for said in (plan(), read(0)):
        with pytest.raises(AirflowException, match="BadRequest"):
            ending(kube.ended(0, dump_result(said).decode(), reason="Completed"))


@pytest.mark.parametrize("status", [None, kube.waiting("ContainerCreating")])
def test_a_pod_that_never_ended_keeps_the_providers_own_words(ending, status):
    with pytest.raises(AirflowException, match="no such image"):
        ending(status, trouble=AirflowException("no such image"))
    with pytest.raises(AirflowException, match="doubt never promotes"):
        ending(status)


def test_another_containers_words_are_not_the_loaders(ending):
    with pytest.raises(AirflowException, match="doubt never promotes"):
        ending(kube.ended(0, dump_result(read(1)).decode(), name="sidecar"))


def test_a_pod_that_is_gone_after_its_success_is_no_success(monkeypatch):
    """The provider returns quietly then; a task that has no result must not pass."""
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", lambda self, context, event: None)
    with pytest.raises(AirflowException, match="doubt never promotes") as caught:
        verify().trigger_reentry(Run().context, {"status": "success", "name": "x", "namespace": "models"})
    assert not isinstance(caught.value, AirflowFailException)


def test_no_sidecar_and_no_exec(pod_of):
    task = verify()
    assert task.do_xcom_push is False
    assert len(pod_of(task, Run())["spec"]["containers"]) == 1


def test_a_shard_that_is_not_in_the_plan_starts_no_pod(monkeypatch):
    def refuse(self, context):
        raise AssertionError("a pod was started")

    monkeypatch.setattr(KubernetesPodOperator, "execute", refuse)
    run = Run().left(PLAN_COPY, handover.dump(plan(verify_shards=(0,))), key=handover.PLAN_KEY)
    assert verify().execute(run.context) is None


def test_long_pods_wait_in_the_triggerer_and_short_ones_do_not():
    assert verify().deferrable
    assert not PlanCopyOperator(model=PLAIN).deferrable


def test_arguments_of_mapped_tasks_are_plain_data():
    assert json.loads(json.dumps(PLAIN)) == PLAIN


def test_the_provider_finds_no_kubeconfig_of_its_own(monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    task = verify()
    task.convert_config_file_to_dict()
    assert task._config_dict is None
