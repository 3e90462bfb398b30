"""Lists a bucket by generation, the same way for Airflow and for the pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.domain.release import ListedObject, Source

if TYPE_CHECKING:
    from google.cloud.storage import Client

# Only what a manifest pins: a listing of many thousand objects stays small.
_FIELDS = "items(name,generation,size,crc32c,timeCreated),nextPageToken"


def list_objects(client: Client, source: Source) -> list[ListedObject]:
    """Everything below a source, live generations only.

    It lists objects and does not look at the bucket itself, which ``roles/storage.objectViewer`` may not.

    Raises:
        RefreshError: ``PermissionDenied`` or ``SourceMissing`` when the bucket says so, ``Unexpected`` otherwise.
    """
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    try:
        blobs = list(client.list_blobs(source.bucket, prefix=source.prefix, fields=_FIELDS))
    except NotFound as error:
        raise RefreshError(
            Reason.SOURCE_MISSING, f"Bucket gs://{source.bucket} does not exist, or is hidden from this account."
        ) from error
    except (Forbidden, Unauthorized, GoogleAuthError) as error:
        raise RefreshError(
            Reason.PERMISSION_DENIED,
            f"Listing {source} was refused: {error}",
            mend=f"Grant roles/storage.objectViewer on gs://{source.bucket} to the account named above.",
        ) from error
    except GoogleAPIError as error:
        raise RefreshError(Reason.UNEXPECTED, f"Listing {source} failed: {error}") from error
    return [
        ListedObject(
            name=blob.name,
            generation=blob.generation,
            size=blob.size,
            crc32c=blob.crc32c,
            created=blob.time_created,
        )
        for blob in blobs
    ]
