"""A manifest's digest is its identity, and no name that it accepts can leave or confuse a folder."""

from __future__ import annotations

import itertools
import json
import os
import unicodedata
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.manifest import Manifest, check_paths
from tests.unit.given import PREFIX, crc, file, file_lists, files, manifest

NASTY = st.text(
    alphabet=st.sampled_from("ab.\u2024\u2025\uff0e/\uff0f\\\0\n\u200d\ufe0fA\xc5\xe5\u212b\xdf\u017f*#~"), max_size=8
)


@given(file_lists, st.randoms())
def test_digest_is_independent_of_the_listings_order(listing, random):
    shuffled = list(listing)
    random.shuffle(shuffled)
    assert Manifest.pin(PREFIX, shuffled).digest == Manifest.pin(PREFIX, listing).digest


@given(files, files)
def test_digest_changes_with_any_field(one, other):
    assert (manifest(one).digest == manifest(other).digest) == (one == other)


@pytest.mark.parametrize(
    "change",
    [{"path": "b.bin"}, {"generation": 2}, {"size": 11}, {"crc32c": crc(2)}],
    ids=lambda change: next(iter(change)),
)
def test_digest_changes_with_each_field(change):
    assert manifest(file()).digest != manifest(file().model_copy(update=change)).digest


def test_digest_changes_with_the_prefix_and_with_one_more_file():
    assert manifest().digest != manifest(prefix="gs://bucket/llama/v2/").digest
    assert manifest().digest != manifest(file(), file("b.bin")).digest


@given(file_lists)
def test_digest_is_of_canonical_json_and_survives_a_round_trip(listing):
    pinned = Manifest.pin(PREFIX, listing)
    plain = {"prefix": PREFIX, "files": [member.model_dump() for member in sorted(listing, key=lambda f: f.path)]}
    assert pinned.digest == sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert Manifest.model_validate_json(pinned.model_dump_json(indent=2)).digest == pinned.digest


def test_release_id_is_the_folder_and_twelve_hex_digits():
    assert manifest().release_id == f"v1-{manifest().digest[:12]}"


def test_a_release_without_a_file_is_no_release():
    with pytest.raises(RefreshError) as caught:
        Manifest.pin(PREFIX, [])
    assert caught.value.reason is Reason.SOURCE_MISSING


def accepted(*paths: str) -> bool:
    try:
        check_paths(paths)
    except RefreshError:
        return False
    return True


FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@given(NASTY | st.text(max_size=20))
def test_no_accepted_path_leaves_its_folder_under_any_normalisation(path):
    if not accepted(path):
        return
    for name in (path, *(unicodedata.normalize(form, path) for form in FORMS)):
        assert os.path.normpath(f"/volume/tree/{name}").startswith("/volume/tree/")
        assert os.path.normpath(f"/volume/tree/{name}") == f"/volume/tree/{name}"
        assert "\0" not in name
        assert len(os.fsencode(path)) <= 1024


@given(st.lists(NASTY, max_size=4))
def test_accepted_paths_stay_apart_under_any_case_and_canonical_form(paths):
    if not accepted(*paths):
        return
    for form, fold in itertools.product(("NFC", "NFD"), (str.lower, str.upper, str.casefold)):
        folded = [unicodedata.normalize(form, fold(unicodedata.normalize(form, path))) for path in paths]
        assert len(set(folded)) == len(paths)
        assert not any(one.startswith(f"{other}/") for one in folded for other in folded)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/passwd", "absolute"),
        ("../x", "leave its folder"),
        ("a/../x", "leave its folder"),
        ("a//x", "leave its folder"),
        ("./x", "leave its folder"),
        ("a/", "leave its folder"),
        ("", "leave its folder"),
        ("\uff0e\uff0e/x", "leave its folder"),
        ("a\u2025", None),
        ("\u2025/x", "leave its folder"),
        ("a\uff0f..\uff0fx", "leave its folder"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\\b", "backslash"),
        ("a\ud800b", "unprintable"),
        ("a\u202eb", "unprintable"),
        ("a*", "patterns"),
        ("a[0]", "patterns"),
        ("a#1", "patterns"),
        ("x" * 256, "longer"),
        ("é" * 128, "longer"),
        ("x" * 255, None),
        ("/".join(["x" * 100] * 11), "longer"),
        ("release.json", "receipt"),
        ("Release.JSON", "receipt"),
        ("release.json/x", "receipt"),
        ("a/release.json", None),
        ("a_.gstmp", "unfinished"),
        ("tokenizer/merges (1).txt", None),
        ("modèle/weights-00001-of-00002.safetensors", None),
    ],
)
def test_names_are_refused_by_what_is_wrong_with_them(path, said):
    if said is None:
        check_paths([path])
        return
    with pytest.raises(RefreshError, match=said) as caught:
        check_paths([path])
    assert caught.value.reason is Reason.UNSAFE_FILE


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("a.bin", "A.bin", "case or Unicode"),
        ("é", "e\u0301", "case or Unicode"),
        ("Å", "\u212b", "case or Unicode"),
        ("\u0390", "\u1fd3", "case or Unicode"),
        ("straße", "STRASSE", "case or Unicode"),
        ("a", "a/b", "is a file, and a folder"),
        ("A", "a/b", "is a file, and a folder"),
    ],
)
def test_names_that_collide_are_refused_in_either_order(one, other, said):
    for pair in ((one, other), (other, one)):
        with pytest.raises(RefreshError, match=said):
            check_paths(pair)


@pytest.mark.parametrize("folder", ["v*", "v[1]", "v#1", "v\n1", "..", "a\\b", "a\u202e", "x" * 243, "e\ud800"])
def test_a_folder_that_engines_or_the_volume_take_otherwise_is_refused(folder):
    with pytest.raises(RefreshError) as caught:
        manifest(prefix=f"gs://bucket/llama/{folder}/")
    assert caught.value.reason is Reason.UNSAFE_FILE


def test_the_longest_folder_still_gives_a_release_id_that_a_volume_can_hold():
    assert len(manifest(prefix=f"gs://bucket/{'x' * 242}/").release_id) == 255
