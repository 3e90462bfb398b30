"""What each step asks its pod for."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from model_refresh import handover
from model_refresh.domain.errors import RefreshError
from model_refresh.names import PLAN_COPY
from model_refresh.operators.steps import (
    CopyShardOperator,
    PlanCopyOperator,
    PruneReleasesOperator,
    PublishReleaseOperator,
)
from tests.unit import kube
from tests.unit.given import model
from tests.unit.kube import SERVING, deployment
from tests.unit.operators.test_promote import serving
from tests.unit.run import DIGEST, OFFERED, Run, copied, plan, release


def plain(**fields):
    return model(**fields).model_dump(mode="json", by_alias=True)


def test_a_plan_is_asked_for_with_the_runs_own_numbers():
    request = PlanCopyOperator(model=plain()).request(Run(pods=7, force=True).context)
    assert (request.pods, request.force, request.serving) == (7, True, SERVING)
    assert request.release.digest == DIGEST


def test_a_plan_is_handed_on_whole_and_its_shards_are_what_is_expanded_over():
    run = Run(PLAN_COPY)
    made = plan(copy_shards=(0,), verify_shards=(0, 1, 2))
    assert PlanCopyOperator(model=plain()).conclude(made, run.context) == [0, 1, 2]
    assert handover.plan(run.context) == made


def test_a_dry_run_ends_after_the_plan_and_a_tried_promotion(outside):
    run = Run(PLAN_COPY, dry_run=True)
    with pytest.raises(AirflowSkipException, match="nothing was written"):
        PlanCopyOperator(model=plain()).conclude(plan(), run.context)
    assert PlanCopyOperator(model=plain()).request(run.context).dry_run
    (tried,) = outside.cluster.applied
    assert tried.dry_run
    assert serving(outside) == SERVING


def test_a_shard_is_copied_with_the_engine_that_was_chosen():
    task = CopyShardOperator(model=plain(copy={"stall_timeout": "90s"}), shard=1)
    request = task.request(Run(engine="gsutil", workers=9).context)
    assert (request.shard, request.engine, request.workers, request.stall_seconds) == (1, "gsutil", 9, 90)
    assert request.release == release
    assert CopyShardOperator(model=plain(), shard=5).request(Run().context) is None


def test_another_shards_answer_is_not_handed_on():
    task = CopyShardOperator(model=plain(), shard=1)
    assert task.conclude(copied(1), Run().context) == handover.dump(copied(1))
    with pytest.raises(RefreshError, match="shard 0 answered"):
        task.conclude(copied(0), Run().context)


def test_publishing_knows_what_was_allowed_and_how_long_it_took():
    request = PublishReleaseOperator(model=plain(copy={"allow_unsafe": ["AAAAAA=="]})).request(Run().context)
    assert request.allow_unsafe == ("AAAAAA==",)
    assert request.seconds == {"plan_copy": 2, "copy_shard": 60, "verify_shard": 20}


def test_prune_holds_all_that_anything_still_names(outside):
    outside.cluster.deployments["models", "llama"] = deployment(OFFERED)
    outside.cluster.pods = [kube.pod(release="v0-000000000000")]
    task = PruneReleasesOperator(model=plain(retention={"keep": 3, "pinned": ["v9-999999999999"]}))
    request = task.request(Run().switched(before=SERVING).context)
    assert set(request.held) == {OFFERED, SERVING, "v0-000000000000", "v9-999999999999"}
    assert request.keep == 3
