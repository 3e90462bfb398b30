"""Every reason tells a person what to do."""

from __future__ import annotations

import pytest

from model_refresh.domain.errors import RETRYABLE, ConfigError, Reason, RefreshError


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_mend(reason):
    error = RefreshError(reason, "It broke.")
    assert error.mend
    assert str(error) == f"{reason}: It broke. {error.mend}"
    assert error.retryable == (reason in RETRYABLE)


def test_what_is_known_to_fail_again_is_not_retried():
    lasting = {
        Reason.HASH_MISMATCH,
        Reason.GENERATION_DRIFT,
        Reason.UNSAFE_FILE,
        Reason.STALE_APPROVAL,
        Reason.NO_SPACE,
    }
    assert not lasting & RETRYABLE


def test_a_specific_mend_replaces_the_usual_one():
    assert RefreshError(Reason.NO_SPACE, "Full.", mend="Buy a disk.").mend == "Buy a disk."
    assert str(ConfigError("x.yaml: wrong")) == "BadConfig: x.yaml: wrong"
