"""A listing carries what a manifest pins; a refusal says what to grant."""

from __future__ import annotations

import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable
from google.cloud.storage import Blob

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.release import Source
from model_refresh.hooks.bucket import BucketHook
from tests.unit.given import NOON, crc, listed

SOURCE = Source.parse("gs://bucket/llama")


def test_it_lists_what_is_below_the_source(outside):
    inside, beside = listed("llama/v1/a"), listed("llama2/v1/a")
    outside.buckets.buckets["bucket"] = [inside, beside]
    assert BucketHook("google_cloud_default").list_objects(SOURCE) == [inside]


def test_an_object_is_as_old_as_its_generation_whatever_happened_to_it_since(outside):
    class Blobs:
        def list_blobs(self, bucket, *, prefix, fields):
            assert "timeCreated" in fields
            assert "updated" not in fields
            # As the client reads it; a change of storage class moves "updated" only.
            properties = {
                "name": "llama/v1/a",
                "generation": "1",
                "size": "10",
                "crc32c": crc(10),
                "timeCreated": "2026-01-02T12:00:00Z",
                "updated": "2026-05-05T12:00:00Z",
            }
            blob = Blob("llama/v1/a", bucket=None)
            blob._set_properties(properties)
            return [blob]

    outside.buckets = Blobs()
    assert BucketHook("google_cloud_default").list_objects(SOURCE) == [listed("llama/v1/a", at=NOON)]


def test_a_bucket_that_is_not_there_is_named(outside):
    with pytest.raises(RefreshError, match="gs://elsewhere") as caught:
        BucketHook("google_cloud_default").list_objects(Source.parse("gs://elsewhere/llama"))
    assert caught.value.reason is Reason.SOURCE_MISSING


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Forbidden("x may not list"), Reason.PERMISSION_DENIED), (ServiceUnavailable("later"), Reason.UNEXPECTED)],
)
def test_the_buckets_own_words_are_kept(outside, error, reason):
    def refuse(bucket, *, prefix, fields):
        raise error

    outside.buckets.list_blobs = refuse
    with pytest.raises(RefreshError, match=error.message) as caught:
        BucketHook("google_cloud_default").list_objects(SOURCE)
    assert caught.value.reason is reason
