"""The trigger looks until there is something to offer, time is up, or looking makes no sense."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta

import pytest
from airflow.sdk.module_loading import import_string

from model_refresh.contract import PinnedRelease
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.hooks.bucket import BucketHook
from model_refresh.triggers.release import ReleaseSearch, ReleaseTrigger
from tests.unit.given import NOON, listed, model

COMPLETE = [listed("llama/v1/model.bin"), listed("llama/v1/_SUCCESS")]


def trigger(*, until=3600.0, config=None, **fields):
    least = {
        "model": (config or model()).model_dump(mode="json", by_alias=True),
        "gcp_conn_id": "google_cloud_default",
        "serving": None,
        "decided": [],
        "wanted": None,
        "until": time.time() + until,
    }
    return ReleaseTrigger(**(least | fields))


@pytest.fixture
def fire(monkeypatch):
    """The trigger's event; ``then`` happens instead of each sleep."""

    def fire(made, then=lambda: None):
        async def sleep(seconds):
            assert seconds == 30
            then()

        async def first():
            return await anext(made.run())

        monkeypatch.setattr(asyncio, "sleep", sleep)
        return asyncio.run(first()).payload

    return fire


def test_it_survives_the_trigger_table():
    made = trigger(decided=["0" * 64], wanted="v1", serving="v0-000000000000")
    path, arguments = made.serialize()
    again = import_string(path)(**json.loads(json.dumps(arguments)))
    assert type(again) is ReleaseTrigger
    assert again.serialize() == made.serialize()
    assert vars(again).keys() == vars(made).keys()
    assert arguments == {name: getattr(made, name) for name in arguments}
    assert arguments == {name: getattr(again, name) for name in arguments}
    assert arguments.keys() == {"model", "gcp_conn_id", "serving", "decided", "wanted", "until"}


def test_it_fires_with_the_pinned_release(outside, fire):
    outside.buckets.buckets["bucket"] = COMPLETE
    found = PinnedRelease.model_validate(fire(trigger())["release"])
    assert (found.prefix, found.marker, found.marker_generation) == ("gs://bucket/llama/v1/", "_SUCCESS", 1)
    assert found.release_id == f"v1-{found.digest[:12]}"


def test_it_fires_empty_handed_when_time_is_up(outside, fire):
    assert fire(trigger(until=-1)) == {"release": None}


def test_it_looks_again_until_the_marker_is_there(outside, fire):
    listings = [COMPLETE[:1], COMPLETE[:1], COMPLETE]

    def publish():
        outside.buckets.buckets["bucket"] = listings.pop(0)

    assert fire(trigger(), publish)["release"]["prefix"] == "gs://bucket/llama/v1/"
    assert listings == []


def test_it_fires_with_the_reason_when_looking_makes_no_sense(outside, fire):
    del outside.buckets.buckets["bucket"]
    error = fire(trigger())["error"]
    assert error["reason"] == Reason.SOURCE_MISSING
    assert "gs://bucket" in error["message"]
    assert json.loads(json.dumps(error)) == error


def search(config=None, *, serving=None, decided=(), wanted=None, now=lambda: NOON):
    return ReleaseSearch(config or model(), BucketHook("x"), serving=serving, decided=decided, wanted=wanted, now=now)


def test_what_serves_or_was_decided_is_not_offered_unless_asked_for(outside):
    outside.buckets.buckets["bucket"] = COMPLETE
    found = search().look()
    assert search(serving=found.release_id).look() is None
    assert search(decided=[found.digest]).look() is None
    assert search(decided=[found.digest], wanted="v1").look() == found
    assert search(wanted="v2").look() is None


def test_a_bad_folder_is_an_error_only_when_nothing_else_is_to_offer(outside):
    bad = [listed("llama/v2/a\nb"), listed("llama/v2/_SUCCESS")]
    outside.buckets.buckets["bucket"] = [*bad, *COMPLETE]
    assert search().look().prefix == "gs://bucket/llama/v1/"
    outside.buckets.buckets["bucket"] = bad
    with pytest.raises(RefreshError) as caught:
        search().look()
    assert caught.value.reason is Reason.UNSAFE_FILE


def bad(folder, *, minute):
    """A folder that cannot be pinned."""
    at = NOON + timedelta(minutes=minute)
    return [listed(f"llama/{folder}/{folder}\nb", at=at), listed(f"llama/{folder}/_SUCCESS", at=at)]


def test_a_bad_folder_older_than_what_serves_is_told_and_fails_nothing(outside, caplog):
    outside.buckets.buckets["bucket"] = COMPLETE
    serving = search().look().release_id
    outside.buckets.buckets["bucket"] = [*COMPLETE, *bad("v0", minute=-1)]
    looking = search(serving=serving)
    assert [looking.look(), looking.look()] == [None, None]
    (warning,) = caplog.messages
    assert "folder v0" in warning


def test_a_bad_folder_newer_than_what_serves_is_an_error(outside):
    outside.buckets.buckets["bucket"] = COMPLETE
    serving = search().look().release_id
    outside.buckets.buckets["bucket"] = [*COMPLETE, *bad("v0", minute=-1), *bad("v2", minute=1)]
    with pytest.raises(RefreshError, match=r"'v2\\nb'"):
        search(serving=serving).look()


def test_who_asks_by_name_hears_of_no_other_folder(outside):
    outside.buckets.buckets["bucket"] = [*COMPLETE, *bad("v2", minute=1)]
    assert search(wanted="v9").look() is None
    assert search(wanted="v2-next").look() is None
    for wanted in ("v2", "v2-0123456789ab"):
        with pytest.raises(RefreshError, match=r"'v2\\nb'"):
            search(wanted=wanted).look()


def test_when_the_serving_release_is_gone_a_person_has_to_name_the_next(outside, caplog):
    outside.buckets.buckets["bucket"] = [*COMPLETE, *bad("v2", minute=1)]
    looking = search(serving="v0-0123456789ab")
    assert [looking.look(), looking.look()] == [None, None]
    gone, refused = caplog.messages
    assert "v0-0123456789ab is gone from gs://bucket/llama/; name a release to go on" in gone
    assert "folder v2" in refused
    caplog.clear()
    assert search(serving="v0-0123456789ab", wanted="v1").look().prefix == "gs://bucket/llama/v1/"
    assert caplog.messages == []


UNMARKED = model(detection={"marker": None, "settle": "10m"})


def test_without_a_marker_it_waits_until_two_listings_are_equal_and_apart(outside):
    now = [NOON]
    looking = search(UNMARKED, now=lambda: now[0])
    first, grown = COMPLETE[:1], [*COMPLETE[:1], listed("llama/v1/more.bin")]
    for minute, listing, offered in (
        (0, first, False),
        (9, first, False),
        (11, grown, False),
        (20, grown, False),
        (21, grown, True),
    ):
        now[0] = NOON + timedelta(minutes=minute)
        outside.buckets.buckets["bucket"] = listing
        assert (looking.look() is not None) == offered


def test_a_release_that_still_grows_does_not_hold_up_one_that_has_settled(outside):
    now = [NOON]
    looking = search(UNMARKED, now=lambda: now[0])
    found = []
    for minute in range(0, 15, 5):
        now[0] = NOON + timedelta(minutes=minute)
        growing = [listed(f"llama/v2/{part}.bin", at=now[0]) for part in range(minute + 1)]
        outside.buckets.buckets["bucket"] = [listed("llama/v1/model.bin"), *growing]
        found.append(looking.look())
    assert found[:2] == [None, None]
    assert found[2].prefix == "gs://bucket/llama/v1/"


def test_nothing_older_than_the_serving_release_is_offered_because_that_is_still_settling(outside):
    now = [NOON]
    old, new = listed("llama/v1/model.bin"), listed("llama/v2/model.bin", at=NOON + timedelta(minutes=1))
    outside.buckets.buckets["bucket"] = [old, new]
    looking = search(UNMARKED, now=lambda: now[0])
    looking.look()
    now[0] += timedelta(minutes=10)
    serving = looking.look().release_id
    assert serving.startswith("v2-")

    again = search(UNMARKED, serving=serving, now=lambda: now[0])
    outside.buckets.buckets["bucket"] = [old]
    again.look()
    outside.buckets.buckets["bucket"] = [old, new]
    now[0] += timedelta(minutes=10)
    assert again.look() is None
