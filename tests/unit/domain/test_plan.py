"""Every file is carried exactly once, and no pod carries much more than it must."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.manifest import Manifest
from model_refresh.domain.plan import CopyPlan, make_plan, split
from model_refresh.domain.receipt import Receipt
from tests.unit.given import NOON, PREFIX, crc, file, file_lists, manifest

pods = st.integers(min_value=1, max_value=64)


def receipt(*files, release_id="old-000000000000"):
    held = manifest(*files, prefix="gs://bucket/llama/old/")
    return Receipt(
        model="llama",
        release_id=release_id,
        digest=held.digest,
        manifest=held,
        run_id="before",
        published_at=NOON,
        copied_bytes=held.size,
        reused_bytes=0,
        checks=(),
        seconds={},
    )


def plan(pinned, *receipts, pods=4):
    return make_plan(pinned, model="llama", run_id="run", on_volume=receipts, pods=pods)


@given(file_lists, pods)
def test_split_carries_each_file_exactly_once_in_no_empty_shard(files, count):
    shards = split(files, count)
    assert sorted((each for shard in shards for each in shard.files), key=lambda f: f.path) == sorted(
        files, key=lambda f: f.path
    )
    assert [shard.index for shard in shards] == list(range(min(count, len(files))))
    assert all(shard.files for shard in shards)


@given(file_lists, pods)
def test_no_shard_is_heavier_than_the_longest_processing_time_rule_allows(files, count):
    shards = split(files, count)
    # A lower bound of the best split; LPT's makespan is at most the mean plus one file's size besides.
    mean = sum(each.size for each in files) / len(shards)
    largest = max(each.size for each in files)
    assert max(shard.size for shard in shards) <= mean + largest * (1 - 1 / len(shards)) + 1e-6 * mean


@given(st.lists(st.integers(min_value=0, max_value=50), min_size=1, max_size=6), st.integers(min_value=1, max_value=3))
def test_the_heaviest_shard_is_at_most_four_thirds_of_the_best_split(sizes, count):
    files = [file(f"{index}.bin", size=size) for index, size in enumerate(sizes)]
    best = min(
        max(sum(size for size, pod in zip(sizes, choice, strict=True) if pod == each) for each in range(count))
        for choice in itertools.product(range(count), repeat=len(sizes))
    )
    assert max(shard.size for shard in split(files, count)) * 3 <= best * 4


@given(file_lists, pods, st.randoms())
def test_split_does_not_depend_on_the_order_of_files(files, count, random):
    shuffled = list(files)
    random.shuffle(shuffled)
    assert split(shuffled, count) == split(files, count)


def test_files_of_no_size_spread_over_the_pods_too():
    shards = split([file(f"{index}.bin", size=0) for index in range(8)], 4)
    assert [len(shard.files) for shard in shards] == [2, 2, 2, 2]


def test_nothing_to_copy_still_leaves_one_pod_to_link():
    assert [shard.files for shard in split([], 8)] == [()]


@given(file_lists, file_lists, pods)
def test_a_plan_copies_or_reuses_every_file_and_verifies_all(wanted, held, count):
    pinned = Manifest.pin(PREFIX, wanted)
    made = plan(pinned, receipt(*held), pods=count)
    copied = [each for shard in made.copy_shards for each in shard.files]
    reused = [each.file for each in made.reuse]
    assert sorted([*copied, *reused], key=lambda f: f.path) == list(pinned.files)
    verified = [each for shard in made.verify_shards for each in shard.files]
    assert sorted(verified, key=lambda f: f.path) == list(pinned.files)
    assert made.copied_bytes + made.reused_bytes == pinned.size
    on_volume = {(each.path, each.crc32c, each.size) for each in held}
    assert all((each.path, each.file.crc32c, each.file.size) in on_volume for each in made.reuse)
    assert not any((each.crc32c, each.size) in {(crc, size) for _, crc, size in on_volume} for each in copied)
    assert len(made.copy_shards) >= 1


def test_a_renamed_file_is_reused_from_where_it_lies():
    made = plan(manifest(file("new.bin")), receipt(file("old.bin")))
    assert [(each.file.path, each.release_id, each.path) for each in made.reuse] == [
        ("new.bin", "old-000000000000", "old.bin")
    ]
    assert [shard.files for shard in made.copy_shards] == [()]


@pytest.mark.parametrize("other", [file(crc32c=crc(2)), file(size=11)])
def test_equal_checksum_or_equal_size_alone_is_not_the_same_file(other):
    assert plan(manifest(file()), receipt(other)).reuse == ()


def test_without_a_receipt_nothing_is_reused():
    assert plan(manifest(file())).reuse == ()


@given(file_lists, pods)
def test_a_plan_survives_the_volume(wanted, count):
    made = plan(Manifest.pin(PREFIX, wanted), pods=count)
    assert CopyPlan.model_validate_json(made.model_dump_json()) == made
