"""What was decided stays decided, and the record stays small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.decisions import Decision, Decisions, Outcome
from tests.unit.given import NOON


def decision(number, outcome=Outcome.REJECTED):
    return Decision(
        release_id=f"v{number}", digest=f"{number:064x}", outcome=outcome, by="alice", at=NOON, run_id=f"run{number}"
    )


def record(count):
    made = Decisions()
    for number in range(count):
        made = made.add(decision(number))
    return made


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=5))
def test_any_outcome_decides_a_release(outcomes):
    made = Decisions()
    for number, outcome in enumerate(outcomes):
        made = made.add(decision(number, outcome))
    assert made.decided == {f"{number:064x}" for number in range(len(outcomes))}


def test_the_last_hundred_are_kept_newest_last():
    made = record(130)
    assert [each.release_id for each in made.decisions] == [f"v{number}" for number in range(30, 130)]


def test_an_older_record_is_not_changed_by_adding():
    before = record(1)
    before.add(decision(2))
    assert len(before.decisions) == 1


def test_it_survives_the_variable():
    assert Decisions.model_validate_json(record(3).model_dump_json()) == record(3)
    # Airflow keeps a Variable's value as text, and its forms are awkward beyond some ten thousand characters.
    assert len(record(130).model_dump_json()) < 40_000
