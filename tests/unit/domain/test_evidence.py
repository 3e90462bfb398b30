"""The approver's card shows everything, whatever the names on it look like."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.evidence import Diff, Evidence, Forecast, Space, human_bytes
from model_refresh.domain.manifest import Manifest
from model_refresh.domain.receipt import Check
from tests.unit.given import PREFIX, crc, file, file_lists, manifest

GIB = 1024**3


def evidence(**fields):
    least = {
        "model": "llama",
        "deployment": "llama-server",
        "release_id": "v2-0123456789ab",
        "digest": "ab" * 32,
        "source": "gs://bucket/llama/v2/",
        "files": 7,
        "size": 40 * GIB,
        "copied_bytes": 30 * GIB,
        "reused_bytes": 10 * GIB,
        "serving": "v1-ba9876543210",
        "diff": Diff(added=1, changed=2, removed=3, unchanged=4, changed_bytes=5 * GIB),
        "checks": (Check(name="Formats", outcome="6 safetensors read"),),
        "copy_seconds": 100.0,
        "verify_seconds": 50.0,
        "space": Space(total=200 * GIB, free_before=90 * GIB, free_after=60 * GIB),
        "forecast": Forecast(replicas=2, strategy="Recreate", downtime="yes", load=timedelta(seconds=150)),
    }
    return Evidence(**(least | fields))


def rows(card):
    lines = card.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert lines[-len(table) :] == table
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in table]


def test_the_card_shows_everything_that_decides():
    card = evidence().markdown()
    for said in (
        "**v1-ba9876543210 → v2-0123456789ab** on Deployment `llama-server`",
        "| Release | `gs://bucket/llama/v2/` |",
        f"| Digest | `{'ab' * 32}` |",
        "| Size | 7 files, 40.0 GiB |",
        "1 added, 2 changed, 3 removed, 4 unchanged; 5.0 GiB new",
        "| Copied | 30.0 GiB in 100 s (307 MiB/s); 10.0 GiB were on the volume already |",
        "| Read back from the volume | 40.0 GiB in 50 s (819 MiB/s) |",
        "| Formats | 6 safetensors read |",
        "90.0 GiB before, 60.0 GiB now, of 200.0 GiB",
        "| Rollout | 2 replicas, Recreate |",
        "| Downtime | yes |",
        "about 2 min 30 s",
        "| Rolls back to | `v1-ba9876543210` |",
    ):
        assert said in card


def test_a_first_release_has_nothing_to_roll_back_to():
    card = evidence(serving=None).markdown()
    assert "**nothing → v2-0123456789ab**" in card
    assert "| Rolls back to | nothing: this is the first release |" in card


@given(st.text(alphabet=st.sampled_from("a|\\\n\r`*[](<>\u2028"), max_size=12))
def test_no_value_breaks_the_table(text):
    card = evidence(
        source=text,
        serving=text or None,
        deployment=text or "x",
        checks=(Check(name=text, outcome=text),),
        forecast=Forecast(replicas=1, strategy=text, downtime=text, load=timedelta(seconds=5)),
    ).markdown()
    assert [len(row) for row in rows(card)] == [2] * len(rows(card))
    assert len(rows(card)) == len(rows(evidence().markdown()))


def test_a_check_called_like_a_row_does_not_replace_it():
    card = evidence(
        checks=(Check(name="Digest", outcome="forged"), Check(name="A", outcome="1"), Check(name="A", outcome="2"))
    )
    assert f"| Digest | `{'ab' * 32}` |" in card.markdown()
    assert "| A | 1 |" in card.markdown()
    assert "| A | 2 |" in card.markdown()


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (GIB, "1.0 GiB"), (3000 * GIB, "2.9 TiB")],
)
def test_bytes_are_written_for_people(count, said):
    assert human_bytes(count) == said


@given(file_lists, file_lists)
def test_a_diff_counts_every_path_once(before, after):
    serving, offered = Manifest.pin(PREFIX, before), Manifest.pin(PREFIX, after)
    diff = Diff.between(serving, offered)
    assert diff.added + diff.changed + diff.unchanged == len(offered.files)
    assert diff.removed + diff.changed + diff.unchanged == len(serving.files)


def test_a_diff_is_by_content():
    serving = manifest(file("same"), file("gone"), file("other"), file("again", generation=1))
    offered = manifest(file("same"), file("new", size=3), file("other", crc32c=crc(9)), file("again", generation=2))
    assert Diff.between(serving, offered) == Diff(added=1, changed=1, removed=1, unchanged=2, changed_bytes=13)


def test_without_a_serving_release_everything_is_added():
    assert Diff.between(None, manifest(file(size=9))) == Diff(
        added=1, changed=0, removed=0, unchanged=0, changed_bytes=9
    )
