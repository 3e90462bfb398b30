"""The refresh's steps on the volume: what each asks its pod for, and what it hands on."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from model_refresh import handover
from model_refresh.contract import (
    CopyRequest,
    CopyResult,
    PlanRequest,
    PlanResult,
    PruneRequest,
    PruneResult,
    PublishRequest,
    PublishResult,
    VerifyRequest,
    VerifyResult,
)
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import human_bytes
from model_refresh.failing import refresh_errors
from model_refresh.hooks.connect import serving_hook
from model_refresh.names import COPY_SHARD, PLAN_COPY, PRUNE_RELEASES, PUBLISH_RELEASE, VERIFY_SHARD
from model_refresh.operators.loader_pod import LoaderPodOperator


class PlanCopyOperator(LoaderPodOperator):
    """Freezes the manifest and splits it; returns the shard numbers that the next tasks expand over."""

    answer = PlanResult

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"task_id": PLAN_COPY} | kwargs))

    def request(self, context: Any) -> PlanRequest:
        """Ask for a plan of the offered release."""
        offer = handover.offer(context)
        params = context["params"]
        return PlanRequest(
            model=self.config.name,
            run_id=context["run_id"],
            release=offer.release,
            serving=offer.serving,
            pods=params["pods"],
            force=params["force"],
            dry_run=params["dry_run"],
        )

    def conclude(self, result: PlanResult, context: Any) -> list[int]:
        """Keep the plan, and end the run here when it is a dry one."""
        context["ti"].xcom_push(key=handover.PLAN_KEY, value=handover.dump(result))
        self.log.info(
            "%s: %s to copy in %d shards, %s held already; %s free.",
            result.release_id,
            human_bytes(result.copied_bytes),
            len(result.copy_shards),
            human_bytes(result.reused_bytes),
            human_bytes(result.space.free_before),
        )
        if context["params"]["dry_run"]:
            self._try_promotion(result.release_id)
            raise AirflowSkipException("Dry run: the plan above is what would be done; nothing was written.")
        # Both mapped tasks expand over one list, because a task has one list that can be expanded over.
        return list(range(max(len(result.copy_shards), len(result.verify_shards))))

    def _try_promotion(self, release_id: str) -> None:
        """Let the API server check the promotion, rights and all, and change nothing."""
        hook, name = serving_hook(self.config), self.config.deployment
        with refresh_errors():
            hook.apply_release(name, release_id, resource_version=hook.get(name).resource_version, dry_run=True)
        self.log.info("Deployment %s would take release %s.", name, release_id)


class CopyShardOperator(LoaderPodOperator):
    """Copies and proves one shard.

    Args:
        shard: its number.
    """

    answer = CopyResult

    def __init__(self, *, shard: int, **kwargs: Any) -> None:
        super().__init__(long_running=True, **({"task_id": COPY_SHARD} | kwargs))
        self.shard = shard

    def request(self, context: Any) -> CopyRequest | None:
        """Ask for the shard, unless the plan has nothing to copy in it."""
        if self.shard not in handover.plan(context).copy_shards:
            return None
        params = context["params"]
        return CopyRequest(
            model=self.config.name,
            run_id=context["run_id"],
            release=handover.offer(context).release,
            shard=self.shard,
            engine=params["engine"],
            workers=params["workers"],
            stall_seconds=self.config.copy_.stall_timeout.total_seconds(),
        )

    def conclude(self, result: CopyResult | None, context: Any) -> Any:
        """Hand on what was moved, of this shard and no other."""
        _require_shard(self.shard, result)
        return super().conclude(result, context)


class VerifyShardOperator(LoaderPodOperator):
    """Reads one shard back from the volume.

    Args:
        shard: its number.
    """

    answer = VerifyResult

    def __init__(self, *, shard: int, **kwargs: Any) -> None:
        super().__init__(long_running=True, **({"task_id": VERIFY_SHARD} | kwargs))
        self.shard = shard

    def request(self, context: Any) -> VerifyRequest | None:
        """Ask for the shard, unless the plan has nothing to verify in it."""
        if self.shard not in handover.plan(context).verify_shards:
            return None
        return VerifyRequest(
            model=self.config.name,
            run_id=context["run_id"],
            release=handover.offer(context).release,
            shard=self.shard,
            workers=context["params"]["workers"],
        )

    def conclude(self, result: VerifyResult | None, context: Any) -> Any:
        """Hand on what was read back, of this shard and no other."""
        _require_shard(self.shard, result)
        return super().conclude(result, context)


class PublishReleaseOperator(LoaderPodOperator):
    """Makes a proven tree a release."""

    answer = PublishResult

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"task_id": PUBLISH_RELEASE} | kwargs))

    def request(self, context: Any) -> PublishRequest:
        """Ask for the release to be published."""
        copies, readings = handover.copies(context), handover.readings(context)
        return PublishRequest(
            model=self.config.name,
            run_id=context["run_id"],
            release=handover.offer(context).release,
            allow_unsafe=self.config.copy_.allow_unsafe,
            seconds={
                PLAN_COPY: handover.plan(context).seconds,
                COPY_SHARD: max((copy.seconds for copy in copies), default=0),
                VERIFY_SHARD: max((reading.seconds for reading in readings), default=0),
            },
        )


class PruneReleasesOperator(LoaderPodOperator):
    """Deletes the releases that retention no longer keeps."""

    answer = PruneResult

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"task_id": PRUNE_RELEASES} | kwargs))

    def request(self, context: Any) -> PruneRequest:
        """Ask for everything to go that nothing holds, as the cluster is now."""
        cluster = serving_hook(self.config)
        deployment = cluster.get(self.config.deployment)
        switch = handover.switch(context)
        held = cluster.named_releases() | set(self.config.retention.pinned)
        held |= {name for name in (deployment.view.release, switch and switch.before) if name}
        return PruneRequest(
            model=self.config.name,
            run_id=context["run_id"],
            keep=self.config.retention.keep,
            held=tuple(sorted(held)),
        )


def _require_shard(shard: int, result: CopyResult | VerifyResult | None) -> None:
    if result is not None and result.shard != shard:
        raise RefreshError(Reason.BAD_REQUEST, f"Shard {shard} was asked for, and shard {result.shard} answered.")
