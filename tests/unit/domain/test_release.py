"""Which folders count as releases, and which one is offered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.release import (
    ListedObject,
    Release,
    Sighting,
    Source,
    choose_release,
    find_releases,
    is_settled,
    named_release,
)
from tests.unit.given import NOON, crc, file, listed, manifest, moments

SOURCE = Source.parse("gs://bucket/llama")
folder_names = st.from_regex(r"[a-z][a-z0-9.-]{0,6}", fullmatch=True)
bad_files = st.sampled_from(["a\nb", "x*", "../x", "release.json", "a//b", "A\0"])


def complete(folder, at=NOON, generation=1):
    return [
        listed(f"llama/{folder}/model.bin", at=at),
        listed(f"llama/{folder}/_SUCCESS", at=at, generation=generation),
    ]


def found(objects, marker="_SUCCESS"):
    releases, errors = find_releases(SOURCE, objects, marker=marker)
    return [release.manifest.folder for release in releases], errors


@pytest.mark.parametrize(
    ("url", "prefix"),
    [("gs://bucket", ""), ("gs://bucket/", ""), ("gs://bucket/a/b", "a/b/"), ("gs://bucket/a/", "a/")],
)
def test_a_source_is_read_with_or_without_a_last_slash(url, prefix):
    assert Source.parse(url) == Source(bucket="bucket", prefix=prefix)


@pytest.mark.parametrize("url", ["bucket/a", "s3://bucket/a", "gs://", "gs:///a"])
def test_what_is_no_bucket_url_is_no_source(url):
    with pytest.raises(ValueError, match="gs://<bucket>"):
        Source.parse(url)


@given(st.dictionaries(folder_names, st.tuples(moments, st.booleans()), max_size=6))
def test_only_marked_folders_are_offered_newest_first(folders):
    objects = [
        each
        for folder, (at, marked) in folders.items()
        for each in complete(folder, at)
        if marked or not each.name.endswith("_SUCCESS")
    ]
    names, errors = found(objects)
    assert set(names) == {folder for folder, (_, marked) in folders.items() if marked}
    assert names == sorted(names, key=lambda folder: (folders[folder][0], folder), reverse=True)
    assert not errors


@given(st.sets(folder_names, min_size=1, max_size=4), folder_names, bad_files)
def test_one_bad_folder_neither_hides_nor_takes_away_the_others(good, bad, bad_file):
    objects = [each for folder in good - {bad} for each in complete(folder)]
    names, errors = found([*objects, *complete(bad), listed(f"llama/{bad}/{bad_file}")])
    assert set(names) == good - {bad}
    assert [refused.error.reason for refused in errors] == [Reason.UNSAFE_FILE]


@pytest.mark.parametrize("folder", ["v\n1", "v*", "v#2"])
def test_a_bad_folder_name_does_not_take_away_the_others(folder):
    names, errors = found([*complete("v1"), *complete(folder)])
    assert names == ["v1"]
    assert [refused.error.reason for refused in errors] == [Reason.UNSAFE_FILE]


def test_an_object_without_a_checksum_does_not_take_away_the_others():
    broken = ListedObject(name="llama/v2/b.bin", generation=1, size=1, crc32c=None, created=NOON)
    names, errors = found([*complete("v1"), *complete("v2"), broken])
    assert names == ["v1"]
    assert len(errors) == 1
    assert "llama/v2/" in errors[0].error.message
    assert (errors[0].folder, errors[0].published) == ("v2", NOON)


def test_a_folder_with_nothing_but_its_marker_is_an_error_not_a_release():
    names, errors = found([listed("llama/v1/_SUCCESS")])
    assert (names, [refused.error.reason for refused in errors]) == ([], [Reason.SOURCE_MISSING])


def test_objects_beside_folders_and_console_made_folders_carry_nothing():
    objects = [listed("llama/README"), listed("llama/", size=0), listed("llama/v1/sub/", size=0), *complete("v1")]
    releases, errors = find_releases(SOURCE, objects, marker="_SUCCESS")
    assert [[member.path for member in release.manifest.files] for release in releases] == [["model.bin"]]
    assert not errors


def test_the_marker_is_no_file_of_the_release_and_its_generation_is_kept():
    (release,), _ = find_releases(SOURCE, complete("v1", generation=7), marker="_SUCCESS")
    assert release.marker_generation == 7
    assert [member.path for member in release.manifest.files] == ["model.bin"]


def test_a_marker_in_a_sub_folder_completes_nothing():
    names, errors = found([listed("llama/v1/model.bin"), listed("llama/v1/sub/_SUCCESS")])
    assert (names, errors) == ([], [])


@pytest.mark.parametrize(("marked", "complete"), [(-1, []), (0, ["v1"]), (1, ["v1"])])
def test_a_folder_with_a_file_newer_than_its_marker_is_being_overwritten(marked, complete):
    objects = [listed("llama/v1/model.bin"), listed("llama/v1/_SUCCESS", at=NOON + timedelta(seconds=marked))]
    assert found(objects) == (complete, [])


def test_a_folder_that_is_being_overwritten_is_not_yet_refused():
    overwritten = [listed("llama/v1/a\nb", at=NOON + timedelta(seconds=1)), listed("llama/v1/_SUCCESS")]
    assert found(overwritten) == ([], [])


def test_without_a_marker_a_release_is_as_young_as_its_newest_object():
    later = NOON + timedelta(hours=1)
    objects = [listed("llama/v1/a.bin"), listed("llama/v1/b.bin", at=later)]
    (release,), _ = find_releases(SOURCE, objects, marker=None)
    assert (release.published, release.marker_generation) == (later, None)


@given(st.integers(min_value=-10, max_value=10), st.booleans())
def test_a_release_settles_only_when_unchanged_for_long_enough(minutes, same):
    offered = release("v1")
    sighting = Sighting(digest=offered.manifest.digest if same else "0" * 64, at=NOON)
    now = NOON + timedelta(minutes=minutes)
    settled = is_settled(sighting, offered, now=now, settle=timedelta(minutes=5))
    assert settled == (same and minutes >= 5)


def test_a_release_never_seen_before_is_not_settled():
    assert not is_settled(None, release("v1"), now=NOON, settle=timedelta())


def release(folder, *, at=NOON):
    pinned = manifest(file(crc32c=crc(len(folder))), prefix=f"gs://bucket/llama/{folder}/")
    return Release(manifest=pinned, marker_generation=1, published=at)


@given(st.data(), st.lists(folder_names, unique=True, max_size=8))
def test_what_is_chosen_is_newer_than_serving_and_undecided_and_the_newest_such(data, folders):
    releases = [release(folder, at=NOON - timedelta(minutes=age)) for age, folder in enumerate(folders)]
    digests = [each.manifest.digest for each in releases]
    decided = data.draw(st.sets(st.sampled_from(digests)) if digests else st.just(set()))
    serving = data.draw(st.none() | st.sampled_from([each.manifest.release_id for each in releases] or ["gone"]))
    chosen = choose_release(releases, serving=serving, decided=decided)
    newer = []
    for each in releases:
        if each.manifest.release_id == serving:
            break
        newer.append(each)
    assert chosen == next((each for each in newer if each.manifest.digest not in decided), None)


def test_nothing_is_offered_when_the_serving_release_is_gone_because_nothing_tells_what_is_older():
    assert choose_release([release("v2"), release("v1")], serving="v3-0123456789ab", decided=()) is None


def test_the_serving_folder_published_anew_is_offered_and_nothing_older_is():
    anew, old = release("v2"), release("old")
    assert choose_release([anew, old], serving="v2-0123456789ab", decided=()) is anew
    assert choose_release([anew, old], serving="v2-0123456789ab", decided={anew.manifest.digest}) is None


def test_a_person_names_a_release_by_folder_or_id_even_an_old_one():
    releases = [release("v2"), release("v1")]
    assert named_release(releases, "v1") is releases[1]
    assert named_release(releases, releases[0].manifest.release_id) is releases[0]


@pytest.mark.parametrize(("releases", "said"), [([], "none"), ([release("v1")], "v1")])
def test_a_name_that_nobody_published_is_answered_with_those_there_are(releases, said):
    with pytest.raises(RefreshError, match=f"complete ones: {said}") as caught:
        named_release(releases, "v9")
    assert caught.value.reason is Reason.SOURCE_MISSING
