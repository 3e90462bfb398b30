"""The record of decisions is never taken for empty when it cannot be read."""

from __future__ import annotations

import pytest

from model_refresh.domain.decisions import Outcome
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.hooks.decisions import DecisionsHook
from model_refresh.names import decisions_variable

KEY = decisions_variable("llama")


def test_what_is_added_is_read_again(outside):
    hook = DecisionsHook("llama")
    assert hook.read().decisions == ()
    first = hook.add(Outcome.REJECTED, release_id="v1", digest="1" * 64, run_id="r1", by="alice")
    second = hook.add(Outcome.PROMOTED, release_id="v2", digest="2" * 64, run_id="r2")
    assert hook.read().decisions == (first, second)
    assert first.by == "alice"
    assert first.at.tzinfo is not None
    assert list(outside.variables) == [KEY]
    assert DecisionsHook("mistral").read().decisions == ()


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"version": 2, "decisions": []}', '{"decisions": [{}]}'])
def test_a_record_that_somebody_broke_is_an_error_and_is_not_written_over(outside, text):
    outside.variables[KEY] = text
    with pytest.raises(RefreshError, match=KEY) as caught:
        DecisionsHook("llama").read()
    assert caught.value.reason is Reason.BAD_CONFIG
    with pytest.raises(RefreshError):
        DecisionsHook("llama").add(Outcome.REJECTED, release_id="v1", digest="1" * 64, run_id="r1")
    assert outside.variables[KEY] == text
