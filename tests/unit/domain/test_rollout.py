"""The verdict on a rollout, in every situation a cluster can be in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.rollout import (
    DeploymentView,
    Outcome,
    PodView,
    Strategy,
    judge,
    load_time,
    rollout_deadline,
)
from tests.unit.given import NOON

PATIENCE = timedelta(minutes=5)


def deployment(**fields):
    halfway = {
        "name": "llama",
        "release": "v2",
        "generation": 3,
        "observed_generation": 3,
        "replicas": 2,
        "updated": 1,
        "ready": 1,
        "available": 1,
        "total": 3,
    }
    return DeploymentView(**(halfway | fields))


def arrived(**fields):
    return deployment(**({"updated": 2, "ready": 2, "available": 2, "total": 2} | fields))


def pod(*, age=timedelta(minutes=1), **fields):
    return PodView(name="llama-1", created=NOON - age, **fields)


def verdict(seen, *pods, release="v2"):
    return judge(seen, pods, release=release, now=NOON, patience=PATIENCE)


LATE = timedelta(minutes=6)
MOUNT = (("FailedMount", "driver not found"),)
CRASH = (("CrashLoopBackOff", "back-off 10s"),)

SITUATIONS = {
    "all replicas serve": (arrived(), [], Outcome.DONE, ""),
    "halfway": (deployment(), [], Outcome.PROGRESSING, ""),
    "not seen by the controller": (arrived(observed_generation=2), [], Outcome.PROGRESSING, ""),
    "not seen, old progress failure": (
        arrived(observed_generation=2, progress_failure="old"),
        [],
        Outcome.PROGRESSING,
        "",
    ),
    "not seen, old crash": (deployment(observed_generation=2), [pod(waits=CRASH, restarts=9)], Outcome.PROGRESSING, ""),
    "old pods left": (arrived(total=3), [], Outcome.PROGRESSING, ""),
    "ready but not available": (arrived(available=1), [], Outcome.PROGRESSING, ""),
    "updated but not ready": (arrived(ready=1), [], Outcome.PROGRESSING, ""),
    "somebody else's release": (arrived(release="v3"), [], Outcome.FAILED, "Superseded"),
    "annotation taken away": (arrived(release=None), [], Outcome.FAILED, "Superseded"),
    "zero replicas": (deployment(replicas=0, updated=0, ready=0, available=0, total=0), [], Outcome.DONE, ""),
    "scaled to zero, one ending": (
        deployment(replicas=0, updated=0, ready=0, available=0, total=1),
        [],
        Outcome.PROGRESSING,
        "",
    ),
    "first crash": (deployment(), [pod(waits=CRASH, restarts=0)], Outcome.PROGRESSING, ""),
    "crash loop": (deployment(), [pod(waits=CRASH, restarts=1)], Outcome.FAILED, "CrashLoopBackOff"),
    "image": (deployment(), [pod(waits=(("ImagePullBackOff", "no such image"),))], Outcome.FAILED, "ImagePullBackOff"),
    "bad config, patient": (
        deployment(),
        [pod(waits=(("CreateContainerConfigError", "x"),))],
        Outcome.PROGRESSING,
        "",
    ),
    "bad config, no patience left": (
        deployment(),
        [pod(waits=(("CreateContainerConfigError", "x"),), age=LATE)],
        Outcome.FAILED,
        "CreateContainerConfigError",
    ),
    "a first pull, patient": (deployment(), [pod(waits=(("ErrImagePull", "x"),))], Outcome.PROGRESSING, ""),
    "a first pull, no patience left": (
        deployment(),
        [pod(waits=(("ErrImagePull", "x"),), age=LATE)],
        Outcome.FAILED,
        "ErrImagePull",
    ),
    "creating": (deployment(), [pod(waits=(("ContainerCreating", ""),))], Outcome.PROGRESSING, ""),
    "mount, patient": (deployment(), [pod(warnings=MOUNT)], Outcome.PROGRESSING, ""),
    "mount, no patience left": (deployment(), [pod(warnings=MOUNT, age=LATE)], Outcome.FAILED, "FailedMount"),
    "attach, no patience left": (
        deployment(),
        [pod(warnings=(("FailedAttachVolume", "x"),), age=LATE)],
        Outcome.FAILED,
        "FailedAttachVolume",
    ),
    "probe warnings are not mounts": (
        deployment(),
        [pod(warnings=(("Unhealthy", "x"),), age=LATE)],
        Outcome.PROGRESSING,
        "",
    ),
    "no room, patient": (deployment(), [pod(unschedulable="0/3 nodes")], Outcome.PROGRESSING, ""),
    "no room, no patience left": (
        deployment(),
        [pod(unschedulable="0/3 nodes", age=LATE)],
        Outcome.FAILED,
        "Unschedulable",
    ),
    "progress deadline": (deployment(progress_failure="too slow"), [], Outcome.FAILED, "ProgressDeadlineExceeded"),
    "the pod's reason beats the deadline's": (
        deployment(progress_failure="too slow"),
        [pod(waits=CRASH, restarts=2)],
        Outcome.FAILED,
        "CrashLoopBackOff",
    ),
    "second pod crashes": (
        deployment(),
        [pod(), pod(waits=CRASH, restarts=2)],
        Outcome.FAILED,
        "CrashLoopBackOff",
    ),
    "arrived although one crashed once": (arrived(), [pod(waits=CRASH, restarts=3)], Outcome.DONE, ""),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_verdict_on_each_situation(situation):
    seen, pods, outcome, reason = SITUATIONS[situation]
    said = verdict(seen, *pods)
    assert (said.outcome, said.reason) == (outcome, reason)
    assert said.detail


def test_a_failure_names_the_pod_and_repeats_its_words():
    crash = pod(waits=CRASH, restarts=2, last_exit="last exit code 1 Error: no such file")
    assert verdict(deployment(), crash).detail == "Pod llama-1: back-off 10s last exit code 1 Error: no such file"
    assert "driver not found" in verdict(deployment(), pod(warnings=MOUNT, age=LATE)).detail
    assert "0/3 nodes" in verdict(deployment(), pod(unschedulable="0/3 nodes", age=LATE)).detail


def test_a_roll_back_to_nothing_arrives_where_no_release_is_named():
    assert verdict(arrived(release=None), release=None).outcome is Outcome.DONE


@given(*[st.integers(min_value=0, max_value=3)] * 5)
def test_done_means_that_every_replica_is_new_ready_and_alone(replicas, updated, ready, available, total):
    seen = deployment(replicas=replicas, updated=updated, ready=ready, available=available, total=total)
    assert (verdict(seen).outcome is Outcome.DONE) == (updated == ready == available == total == replicas)


@pytest.mark.parametrize(
    ("strategy", "replicas", "said"),
    [
        (("RollingUpdate", "25%", "25%"), 0, "no replicas"),
        (("RollingUpdate", "25%", "25%"), 1, "none, if the cluster has room for 1 more replica meanwhile"),
        (("RollingUpdate", "25%", "25%"), 3, "room for 1 more replica meanwhile"),
        (("RollingUpdate", "25%", "25%"), 4, "up to 1 of 4 replicas are missing"),
        (("RollingUpdate", "50%", "0"), 3, "room for 2 more replicas"),
        (("RollingUpdate", "0", "1"), 1, "yes: all 1 replicas stop"),
        (("RollingUpdate", "0", "1"), 2, "up to 1 of 2"),
        (("RollingUpdate", "0", "100%"), 3, "yes: all 3 replicas stop"),
        (("RollingUpdate", "0", "5"), 3, "yes: all 3 replicas stop"),
        # Both round to nothing: the controller then takes maxUnavailable for 1 (deployment_util.ResolveFenceposts).
        (("RollingUpdate", "0%", "10%"), 1, "yes: all 1 replicas stop"),
        (("RollingUpdate", "0%", "10%"), 3, "up to 1 of 3"),
        (("Recreate", "0", "100%"), 2, "yes: all 2 replicas stop"),
    ],
)
def test_downtime_is_told_as_the_controller_would_act(strategy, replicas, said):
    name, surge, unavailable = strategy
    assert said in Strategy(name=name, max_surge=surge, max_unavailable=unavailable).downtime(replicas)


def test_a_strategy_is_written_in_kubernetes_words():
    assert str(Strategy(name="Recreate", max_surge="0", max_unavailable="100%")) == "Recreate"
    rolling = Strategy(name="RollingUpdate", max_surge="25%", max_unavailable="0")
    assert str(rolling) == "RollingUpdate, maxSurge 25%, maxUnavailable 0"


def test_the_deadline_grows_with_the_load_and_the_replicas():
    assert rollout_deadline(timedelta(0), replicas=0) == timedelta(minutes=10)
    assert rollout_deadline(timedelta(minutes=4), replicas=2) == timedelta(minutes=34)


@given(st.integers(min_value=0, max_value=2**43), st.floats(min_value=1e4, max_value=1e10), st.integers(0, 100))
def test_a_deadline_is_never_shorter_than_all_replicas_loading_in_turn(size, speed, replicas):
    load = load_time(size, bytes_per_second=speed)
    assert rollout_deadline(load, replicas=replicas) >= load * max(1, replicas)


def test_an_unknown_speed_forecasts_no_load():
    assert load_time(10, bytes_per_second=0) == timedelta(0)
