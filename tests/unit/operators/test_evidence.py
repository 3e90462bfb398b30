"""The card says what this run found, and is not made of doubt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from model_refresh import handover
from model_refresh.domain.evidence import Evidence
from model_refresh.names import COPY_SHARD, GATHER_EVIDENCE, PUBLISH_RELEASE, VERIFY_SHARD
from model_refresh.operators.evidence import CARD_KEY, GatherEvidenceOperator
from tests.unit.given import model
from tests.unit.kube import SERVING
from tests.unit.run import GIB, OFFERED, Run, copied, published, read


@pytest.fixture
def gather():
    return GatherEvidenceOperator(task_id=GATHER_EVIDENCE, model=model())


def test_it_puts_the_runs_findings_together(outside, gather):
    run = Run(GATHER_EVIDENCE)
    found = Evidence.model_validate(gather.execute(run.context))
    assert (found.release_id, found.serving, found.size) == (OFFERED, SERVING, 2 * GIB)
    assert (found.copy_seconds, found.verify_seconds) == (60, 20)
    assert (found.space.free_before, found.space.free_after) == (50 * GIB, 48 * GIB)
    # The fastest single pod read 1 GiB in 10 s; a replica reads 2 GiB.
    assert found.forecast.load == timedelta(seconds=20)
    assert found.forecast.downtime == "none, if the cluster has room for 1 more replica meanwhile"
    assert run.ti.xcoms[GATHER_EVIDENCE, CARD_KEY] == found.markdown()


def test_the_card_says_what_this_run_really_fetched(outside, gather):
    """Of a copy that was tried twice, the last try tells; what an earlier one brought was there already."""
    again = copied(0).model_copy(update={"copied_bytes": 100, "kept_bytes": GIB // 2 - 100})
    found = gather.execute(Run().left(COPY_SHARD, [handover.dump(again)]).context)
    assert (found["copied_bytes"], found["reused_bytes"]) == (100, 2 * GIB - 100)


def test_a_deployment_that_changed_since_the_plan_is_not_shown(outside, gather):
    """The comparison on the card was made with what served when the run began."""
    outside.cluster.annotate("models", "llama", "v1.5-0123456789ab")
    with pytest.raises(AirflowFailException, match="StaleApproval"):
        gather.execute(Run().context)


def test_a_release_that_was_not_read_back_whole_is_not_shown(outside, gather):
    run = Run().left(VERIFY_SHARD, [handover.dump(read(0)), None])
    with pytest.raises(AirflowFailException, match="Incomplete"):
        gather.execute(run.context)


@pytest.mark.parametrize("readings", [[], None, [None]])
def test_a_release_that_nobody_read_back_is_not_shown(outside, gather, readings):
    with pytest.raises(AirflowException):
        gather.execute(Run().left(VERIFY_SHARD, readings).context)


def test_another_digest_than_the_pinned_one_is_not_shown(outside, gather):
    run = Run().left(PUBLISH_RELEASE, handover.dump(published(digest="cd" * 32)))
    with pytest.raises(AirflowFailException, match="GenerationDrift"):
        gather.execute(run.context)


def test_a_release_that_was_linked_whole_took_no_time_to_copy(outside, gather):
    assert gather.execute(Run().left(COPY_SHARD, []).context)["copy_seconds"] == 0


@pytest.mark.parametrize(("limit", "warned"), [(19, True), (20, False)])
def test_a_progress_deadline_shorter_than_the_load_is_told_before_the_answer(outside, gather, limit, warned):
    outside.cluster.deployments["models", "llama"].spec.progress_deadline_seconds = limit
    found = Evidence.model_validate(gather.execute(Run().context))
    assert ("Warning" in [check.name for check in found.checks]) == warned


def test_a_release_of_empty_files_is_shown_without_a_speed(outside, gather):
    run = Run().left(PUBLISH_RELEASE, handover.dump(published(size=0)))
    run.left(VERIFY_SHARD, [handover.dump(read(0, size=0, seconds=0))])
    assert Evidence.model_validate(gather.execute(run.context)).forecast.load == timedelta(0)
