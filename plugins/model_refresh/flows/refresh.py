"""Wires ``refresh__<model>``: from a release in the bucket to pods that serve it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    chain,
)

from model_refresh import names
from model_refresh.config import ModelConfig
from model_refresh.contract import EngineName
from model_refresh.operators.approve import ApproveReleaseOperator
from model_refresh.operators.evidence import GatherEvidenceOperator
from model_refresh.operators.promote import PromoteReleaseOperator
from model_refresh.operators.record import RecordOperator
from model_refresh.operators.roll_back import RollBackOperator
from model_refresh.operators.steps import (
    CopyShardOperator,
    PlanCopyOperator,
    PruneReleasesOperator,
    PublishReleaseOperator,
    VerifyShardOperator,
)
from model_refresh.sensors.release import WaitForReleaseSensor
from model_refresh.sensors.rollout import RolloutSensor


def refresh_dag(model: ModelConfig, *, doc_md: str | None = None) -> DAG:
    """The DAG that refreshes one model.

    Args:
        model: the model.
        doc_md: Markdown shown with the DAG.
    """
    plain = model.model_dump(mode="json", by_alias=True)
    with DAG(
        dag_id=names.refresh_dag_id(model.name),
        description=model.description or f"Refresh {model.name} from {model.source}",
        doc_md=doc_md,
        schedule=_schedule(model),
        catchup=False,
        # Two runs of one model would write the same folders and ask about each other's releases.
        max_active_runs=1,
        params=_params(model),
        tags=["model-refresh", model.name],
        default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
        # A DAG file shows what it keeps in its globals; a half-made DAG is not to register itself on the way.
        auto_register=False,
    ) as dag:
        wait = WaitForReleaseSensor(task_id=names.WAIT_FOR_RELEASE, model=model)
        plan = PlanCopyOperator(task_id=names.PLAN_COPY, model=plain)
        copy = CopyShardOperator.partial(task_id=names.COPY_SHARD, model=plain).expand(shard=plan.output)
        verify = VerifyShardOperator.partial(task_id=names.VERIFY_SHARD, model=plain).expand(shard=plan.output)
        publish = PublishReleaseOperator(task_id=names.PUBLISH_RELEASE, model=plain)
        gather = GatherEvidenceOperator(task_id=names.GATHER_EVIDENCE, model=model)
        approve = ApproveReleaseOperator(task_id=names.APPROVE_RELEASE, model=model)
        promote = PromoteReleaseOperator(task_id=names.PROMOTE_RELEASE, model=model)
        watch = RolloutSensor(task_id=names.WATCH_ROLLOUT, model=model)
        prune = PruneReleasesOperator(task_id=names.PRUNE_RELEASES, model=plain)
        record = RecordOperator(
            task_id=names.RECORD, model=model, asset=Asset(name=model.name, uri=names.asset_uri(model.name))
        )
        roll_back = RollBackOperator(
            task_id=names.ROLL_BACK,
            model=model,
            trigger_rule=TriggerRule.ONE_FAILED,
            # A control plane's upgrade takes minutes, and nothing else brings the old release back.
            retries=20,
        )

        chain(wait, plan, copy, verify, publish, gather, approve, promote, watch, [prune, record])
        [promote, watch] >> roll_back
    return dag


def _schedule(model: ModelConfig) -> Any:
    # Named by its URI: Airflow lets no two assets of one URI be active, and two models may share a source.
    source = str(model.parsed_source).removesuffix("/")
    published = Asset(name=source, uri=source)
    if model.schedule is None:
        return [published]
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(model.schedule, timezone="UTC"), assets=[published])


def _params(model: ModelConfig) -> dict[str, Param]:
    rule = model.copy_
    return {
        "release": Param(
            None,
            type=["null", "string"],
            title="Release",
            description="Folder name or release id; empty for the newest. A rejected release can be named here.",
        ),
        "engine": Param(
            rule.engine, enum=list(get_args(EngineName)), title="Engine", description="What moves the bytes."
        ),
        "pods": Param(rule.pods, type="integer", minimum=1, maximum=64, title="Pods", description="Most copy pods."),
        "workers": Param(
            rule.workers, type="integer", minimum=1, maximum=64, title="Workers", description="Files at once in a pod."
        ),
        "force": Param(
            default=False,
            type="boolean",
            title="Copy everything again",
            description="Reuse nothing that the volume holds already.",
        ),
        "dry_run": Param(
            default=False,
            type="boolean",
            title="Dry run",
            description="Plan, say what would be done, and write nothing.",
        ),
    }
