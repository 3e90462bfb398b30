"""Whatever fails, is skipped or is turned down: only what was copied, read back, published and approved is promoted.

A small simulation of Airflow's scheduler over the DAG as it is serialised, under every combination of outcomes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from airflow.sdk import TriggerRule
from airflow.serialization.serialized_objects import DagSerialization

from model_refresh.names import (
    APPROVE_RELEASE,
    COPY_SHARD,
    GATHER_EVIDENCE,
    PLAN_COPY,
    PROMOTE_RELEASE,
    PRUNE_RELEASES,
    PUBLISH_RELEASE,
    RECORD,
    ROLL_BACK,
    VERIFY_SHARD,
    WAIT_FOR_RELEASE,
    WATCH_ROLLOUT,
)

BEFORE = [WAIT_FOR_RELEASE, PLAN_COPY, COPY_SHARD, VERIFY_SHARD, PUBLISH_RELEASE, GATHER_EVIDENCE, APPROVE_RELEASE]
AFTER = [PROMOTE_RELEASE, WATCH_ROLLOUT, PRUNE_RELEASES, RECORD]

SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED = "success", "failed", "skipped", "upstream_failed"
REJECT = "reject"
"""The approval succeeds and marks every direct downstream task as skipped, whatever its trigger rule (SkipMixin)."""


@dataclass(frozen=True)
class Node:
    """What of a task decides whether it runs; of a mapped one, all its instances together."""

    upstream: frozenset[str]
    rule: str


Graph = dict[str, Node]


def graph_of(dag) -> Graph:
    """The DAG as the scheduler reads it from the database."""
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    return {
        task_id: Node(frozenset(task.upstream_task_ids), str(TriggerRule(task.trigger_rule).value))
        for task_id, task in again.task_dict.items()
    }


def in_order(graph: Graph) -> list[str]:
    """Every task after all that it follows."""
    ordered: list[str] = []
    while len(ordered) < len(graph):
        ordered += [
            task_id for task_id, node in graph.items() if task_id not in ordered and node.upstream <= set(ordered)
        ]
    return ordered


def state_without_running(rule: str, upstream: list[str]) -> str | None:
    """The state that a trigger rule gives a task at once, or None when it lets it run.

    (airflow.ti_deps.deps.trigger_rule_dep, every upstream task done.)
    """
    failed = any(state in {FAILED, UPSTREAM_FAILED} for state in upstream)
    skipped = any(state == SKIPPED for state in upstream)
    if rule == "all_success":
        return UPSTREAM_FAILED if failed else SKIPPED if skipped else None
    if rule == "one_failed":
        return None if failed else SKIPPED
    if rule == "none_failed":
        return UPSTREAM_FAILED if failed else None
    if rule == "one_success":
        if SUCCESS in upstream:
            return None
        return SKIPPED if not failed else UPSTREAM_FAILED
    if rule in {"all_done", "always"}:
        return None
    raise AssertionError(f"teach this simulation the rule {rule}")


def simulate(graph: Graph, outcomes: dict[str, str]) -> tuple[dict[str, str], set[str]]:
    """States of all tasks, and which tasks ran, when those that run end as ``outcomes`` says."""
    states: dict[str, str] = {}
    ran: set[str] = set()
    for task_id in in_order(graph):
        node = graph[task_id]
        if APPROVE_RELEASE in node.upstream and APPROVE_RELEASE in ran and outcomes[APPROVE_RELEASE] == REJECT:
            states[task_id] = SKIPPED
            continue
        stopped = state_without_running(node.rule, [states[each] for each in sorted(node.upstream)])
        if node.upstream and stopped:
            states[task_id] = stopped
            continue
        ran.add(task_id)
        outcome = outcomes.get(task_id, SUCCESS)
        states[task_id] = SUCCESS if outcome == REJECT else outcome
    return states, ran


def combinations(most: int) -> Iterator[dict[str, str]]:
    """Every way in which the tasks can end, each as it may, with at most so many that do not succeed."""
    ways = dict.fromkeys(BEFORE, (SUCCESS, FAILED, SKIPPED))
    ways[APPROVE_RELEASE] = (SUCCESS, FAILED, REJECT)
    ways |= dict.fromkeys(AFTER, (SUCCESS, FAILED))
    for chosen in itertools.product(*ways.values()):
        if len(chosen) - chosen.count(SUCCESS) <= most:
            yield dict(zip(ways, chosen, strict=True))


def violations(graph: Graph, *, most: int) -> set[str]:
    """Which promises the graph breaks, under any combination of at most so many failures, skips and rejections."""
    broken = set()
    leaves = set(graph) - {upstream for node in graph.values() for upstream in node.upstream}
    for outcomes in combinations(most):
        states, ran = simulate(graph, outcomes)
        proven = all(task_id in ran and outcomes[task_id] == SUCCESS for task_id in BEFORE)
        arrived = proven and outcomes[PROMOTE_RELEASE] == outcomes[WATCH_ROLLOUT] == SUCCESS
        # The body of roll_back skips itself unless promote_release wrote a switch down, which it does when it runs.
        rolls_back = ROLL_BACK in ran and PROMOTE_RELEASE in ran
        if PROMOTE_RELEASE in ran and not proven:
            broken.add("promotes what was not proven and approved")
        if proven and PROMOTE_RELEASE not in ran:
            broken.add("does not promote what was proven and approved")
        if {PRUNE_RELEASES, RECORD} & ran and not arrived:
            broken.add("prunes or records before every replica serves")
        if rolls_back != (proven and not arrived):
            broken.add("rolls back at the wrong time")
        if proven and not arrived and not any(states[leaf] in {FAILED, UPSTREAM_FAILED} for leaf in leaves):
            broken.add("calls a run that was rolled back a success")
        if FAILED in states.values() and not any(states[leaf] in {FAILED, UPSTREAM_FAILED} for leaf in leaves):
            broken.add("hides a failure")
    return broken


@pytest.fixture(scope="module")
def graph() -> Graph:
    from model_refresh.flows.refresh import refresh_dag  # noqa: PLC0415 - after the environment
    from tests.unit.given import model  # noqa: PLC0415

    return graph_of(refresh_dag(model()))


def test_every_task_is_spoken_about(graph):
    assert set(graph) == {*BEFORE, *AFTER, ROLL_BACK}


def test_nothing_unproven_is_promoted_and_nothing_failed_is_hidden(graph):
    assert violations(graph, most=len(graph)) == set()


def rewire(graph: Graph, task_id: str, *upstream: str) -> Graph:
    return graph | {task_id: replace(graph[task_id], upstream=frozenset(upstream))}


def follow(graph: Graph, task_id: str, rule: str) -> Graph:
    return graph | {task_id: replace(graph[task_id], rule=rule)}


MUTATIONS: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "copy straight to promote": (lambda graph: rewire(graph, PROMOTE_RELEASE, COPY_SHARD), "promotes what"),
    "evidence straight to promote": (lambda graph: rewire(graph, PROMOTE_RELEASE, GATHER_EVIDENCE), "promotes what"),
    "publish without verify": (
        lambda graph: rewire(rewire(graph, PUBLISH_RELEASE, COPY_SHARD), VERIFY_SHARD, PLAN_COPY),
        "promotes what",
    ),
    "a bypass edge with a weak rule": (
        lambda graph: follow(
            rewire(graph, PROMOTE_RELEASE, COPY_SHARD, APPROVE_RELEASE), PROMOTE_RELEASE, "one_success"
        ),
        "promotes what",
    ),
    "promote whatever happened": (lambda graph: follow(graph, PROMOTE_RELEASE, "all_done"), "promotes what"),
    "promote when skipped": (lambda graph: follow(graph, PROMOTE_RELEASE, "none_failed"), "promotes what"),
    "approve what failed": (lambda graph: follow(graph, APPROVE_RELEASE, "all_done"), "promotes what"),
    "verify what was not copied": (lambda graph: follow(graph, VERIFY_SHARD, "all_done"), "promotes what"),
    "prune after promote": (lambda graph: rewire(graph, PRUNE_RELEASES, PROMOTE_RELEASE), "prunes or records"),
    "prune always": (lambda graph: follow(graph, PRUNE_RELEASES, "all_done"), "prunes or records"),
    "record after approve": (lambda graph: rewire(graph, RECORD, APPROVE_RELEASE), "prunes or records"),
    "roll back after promote only": (lambda graph: rewire(graph, ROLL_BACK, PROMOTE_RELEASE), "rolls back at"),
    "roll back always": (lambda graph: follow(graph, ROLL_BACK, "all_done"), "rolls back at"),
    "roll back never": (lambda graph: follow(graph, ROLL_BACK, "all_success"), "rolls back at"),
    "promote not at all": (lambda graph: follow(graph, PROMOTE_RELEASE, "one_failed"), "does not promote"),
    "a run that ends well after a roll back": (
        lambda graph: follow(rewire(graph, RECORD, PRUNE_RELEASES, ROLL_BACK), RECORD, "all_done"),
        "calls a run that was rolled back",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_graph_that_breaks_a_promise_is_found(graph, mutation):
    mutate, promise = MUTATIONS[mutation]
    assert any(said.startswith(promise) for said in violations(mutate(graph), most=2))
