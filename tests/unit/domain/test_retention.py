"""Prune never takes what anything may still need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.retention import Published, expendable
from tests.unit.given import NOON, moments

published = st.lists(
    st.builds(Published, release_id=st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), published_at=moments),
    unique_by=lambda each: each.release_id,
    max_size=10,
)


@given(published, st.integers(min_value=1, max_value=5), st.data())
def test_the_newest_and_the_held_stay_and_all_else_goes_oldest_first(releases, keep, data):
    ids = [each.release_id for each in releases]
    held = data.draw(st.sets(st.sampled_from([*ids, "never-published"])))
    gone = expendable(releases, keep=keep, held=held)
    age = {each.release_id: (each.published_at, each.release_id) for each in releases}
    newest = sorted(ids, key=age.__getitem__, reverse=True)[:keep]
    assert set(gone) == set(ids) - held - set(newest)
    assert gone == sorted(gone, key=age.__getitem__)


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_nothing_is_refused(keep):
    with pytest.raises(ValueError, match="at least the newest"):
        expendable([Published(release_id="v1", published_at=NOON)], keep=keep, held=())
