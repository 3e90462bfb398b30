"""What crosses into a pod and back: it always fits, it always comes back the same, and every reason has its code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import model_refresh
from model_refresh.contract import (
    EXIT_CODES,
    REQUEST,
    RESULT,
    TERMINATION_LIMIT,
    CopyRequest,
    CopyResult,
    Failure,
    PinnedRelease,
    PlanRequest,
    PlanResult,
    PruneRequest,
    PublishRequest,
    PublishResult,
    VerifyRequest,
    VerifyResult,
    dump_result,
)
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.evidence import Diff, Space
from model_refresh.domain.receipt import Check
from tests.unit.given import NOON

HUGE = 2**53
PACKAGE = Path(model_refresh.__file__).parent
LONGEST_ID = "x" * 255

release = PinnedRelease(
    release_id="v1-0123456789ab", digest="0" * 64, prefix="gs://b/{{ 7*7 }}/", marker="_SUCCESS", marker_generation=3
)
every = {"model": "llama", "run_id": "manual__2026"}


@given(st.sampled_from(Reason), st.text(), st.integers(min_value=1, max_value=5000), st.text(), st.booleans())
def test_any_failure_fits_and_keeps_its_reason_and_the_start_of_its_words(reason, text, times, mend, swap):
    long, short = text * times, mend
    message, mend = (short, long) if swap else (long, short)
    failure = Failure.of(RefreshError(reason, message, mend=mend))
    dumped = dump_result(failure)
    assert len(dumped) <= TERMINATION_LIMIT
    back = RESULT.validate_json(dumped)
    assert isinstance(back, Failure)
    assert back.reason is reason
    for cut, whole in ((back.message, failure.message), (back.mend, failure.mend)):
        assert cut == whole or (cut.endswith("…") and whole.startswith(cut[:-1]))


def test_both_texts_at_their_longest_still_fit_and_both_are_said():
    back = RESULT.validate_json(dump_result(Failure(reason=Reason.STALLED, message="\0é" * 9000, mend="€" * 9000)))
    assert len(back.message) > 100
    assert len(back.mend) > 100


def test_a_name_that_is_no_unicode_does_not_take_the_reason_away():
    failure = Failure.of(RefreshError(Reason.BAD_FORMAT, "File a\udcffb", mend="Rename a\udcffb."))
    back = RESULT.validate_json(dump_result(failure))
    assert back.reason is Reason.BAD_FORMAT
    assert "a\\udcffb" in back.message


def test_a_failure_comes_back_as_the_error_it_was():
    error = RefreshError(Reason.NO_SPACE, "Full.", mend="Grow it.")
    again = RESULT.validate_json(dump_result(Failure.of(error))).error()
    assert (again.reason, again.message, again.mend) == (error.reason, error.message, error.mend)


def test_the_largest_plan_fits():
    plan = PlanResult(
        release_id=LONGEST_ID,
        copy_shards=tuple(range(64)),
        verify_shards=tuple(range(64)),
        files=10**7,
        size=HUGE,
        copied_bytes=HUGE,
        reused_bytes=HUGE,
        diff=Diff(added=10**7, changed=10**7, removed=10**7, unchanged=10**7, changed_bytes=HUGE),
        space=Space(total=HUGE, free_before=HUGE, free_after=HUGE),
        published=False,
        seconds=1 / 3,
    )
    assert RESULT.validate_json(dump_result(plan)) == plan


def test_a_success_that_does_not_fit_is_a_defect():
    checks = (Check(name="x", outcome="y" * TERMINATION_LIMIT),)
    result = PublishResult(
        release_id="v1",
        digest="0" * 64,
        files=1,
        size=1,
        checks=checks,
        space=Space(total=1, free_before=1, free_after=1),
        published_at=NOON,
        seconds=1,
    )
    with pytest.raises(ValueError, match="publish result"):
        dump_result(result)


@pytest.mark.parametrize(
    "request_",
    [
        PlanRequest(**every, release=release, serving=None, pods=4, force=True),
        CopyRequest(**every, release=release, shard=0, engine="gcloud", workers=4, stall_seconds=300),
        VerifyRequest(**every, release=release, shard=63, workers=4),
        PublishRequest(**every, release=release, allow_unsafe=("AAAAAA==",), seconds={"copy_shard": 1.5}),
        PruneRequest(**every, keep=2, held=("v1-0123456789ab",)),
    ],
    ids=lambda request: request.command,
)
def test_a_request_survives_the_environment_variable(request_):
    assert REQUEST.validate_json(request_.model_dump_json()) == request_


@pytest.mark.parametrize(
    "result",
    [
        CopyResult(shard=1, files=2, copied_bytes=3, kept_bytes=4, linked_bytes=5, engine_seconds=6.5, seconds=7.5),
        VerifyResult(shard=1, files=2, bytes=3, seconds=4.5),
    ],
    ids=lambda result: result.command,
)
def test_a_result_survives_the_termination_message(result):
    assert RESULT.validate_json(dump_result(result)) == result


def test_another_version_of_the_contract_is_refused():
    newer = PlanRequest(**every, release=release, serving=None, pods=4).model_dump() | {"version": 2}
    with pytest.raises(ValidationError):
        REQUEST.validate_python(newer)


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError):
        RESULT.validate_python({"command": "verify", "shard": 1, "files": 2, "bytes": 3, "seconds": 4, "skipped": True})


def test_exit_codes_are_distinct_and_clear_of_pythons_and_the_shells():
    codes = list(EXIT_CODES.values())
    assert len(set(codes)) == len(codes)
    assert all(2 < code < 126 for code in codes)


def test_every_reason_that_a_pod_can_raise_has_an_exit_code():
    """A pod runs the loader, and of the rest only what the loader imports."""
    sources = [*PACKAGE.glob("loader/**/*.py"), *PACKAGE.glob("domain/*.py"), PACKAGE / "listing.py"]
    raised = {
        Reason[node.attr]
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        # What is looked up in errors.py is the table of mends, which is of all reasons.
        if source.name != "errors.py"
        and isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Reason"
    }
    assert {Reason.HASH_MISMATCH, Reason.UNSAFE_FILE, Reason.SOURCE_MISSING} <= raised
    assert raised <= EXIT_CODES.keys()
