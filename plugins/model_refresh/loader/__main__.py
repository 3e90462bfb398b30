"""``python -m model_refresh.loader``: one step of a refresh, from the request in the pod's environment.

Exit codes: 0 done; 10 and above a reason, as ``model_refresh.contract.EXIT_CODES`` lists them.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from model_refresh.contract import (
    EXIT_CODES,
    REQUEST,
    REQUEST_VARIABLE,
    TERMINATION_PATH,
    VOLUME_PATH,
    AnyRequest,
    AnyResult,
    CopyRequest,
    Failure,
    PlanRequest,
    PublishRequest,
    VerifyRequest,
    dump_result,
)
from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.loader.bucket import CloudBucket
from model_refresh.loader.volume import Volume, note

VOLUME_VARIABLE = "MODEL_REFRESH_VOLUME"
TERMINATION_VARIABLE = "MODEL_REFRESH_TERMINATION_LOG"

# errno(3) of a volume's own troubles; any other OSError is a surprise.
_VOLUME_TROUBLES = {
    errno.ENOSPC: Reason.NO_SPACE,
    errno.EDQUOT: Reason.NO_SPACE,
    errno.EROFS: Reason.READ_ONLY_VOLUME,
    errno.EACCES: Reason.PERMISSION_DENIED,
    errno.EPERM: Reason.PERMISSION_DENIED,
}


def main(arguments: Sequence[str]) -> int:
    """Do what the request says, leave the result in the termination message, and return the exit code."""
    signal.signal(signal.SIGTERM, _end)
    # Published files are for every user that serves them.
    os.umask(0o022)
    result: AnyResult
    code = 0
    try:
        result = _dispatch(_request(arguments))
        message = dump_result(result)
    except BaseException as error:  # noqa: BLE001 - whatever it is, Airflow must learn of it
        # From here on there is nothing to end any more.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        result = Failure.of(_refresh_error(error))
        message = dump_result(result)
        code = EXIT_CODES.get(result.reason, EXIT_CODES[Reason.UNEXPECTED])
    note("result", **result.model_dump(mode="json"))
    _leave(message)
    return code


def _request(arguments: Sequence[str]) -> AnyRequest:
    text = os.environ.get(REQUEST_VARIABLE)
    if text is None:
        raise RefreshError(
            Reason.BAD_REQUEST,
            f"The environment has no {REQUEST_VARIABLE}.",
            mend="Airflow starts the loader and gives it a request as JSON; see model_refresh.contract.",
        )
    try:
        request = REQUEST.validate_json(text)
    except ValidationError as error:
        raise RefreshError(Reason.BAD_REQUEST, f"{REQUEST_VARIABLE} is not understood: {error}.") from error
    if arguments and list(arguments) != [request.command]:
        raise RefreshError(
            Reason.BAD_REQUEST, f"Told to {' '.join(arguments)}, but the request says {request.command}.", mend=""
        )
    return request


def _dispatch(request: AnyRequest) -> AnyResult:
    volume = Volume(Path(os.environ.get(VOLUME_VARIABLE, VOLUME_PATH)))
    # Each step is imported by itself: pods are started often, and most steps need little.
    if isinstance(request, PlanRequest):
        from model_refresh.loader import plan  # noqa: PLC0415 - see above

        return plan.run(request, volume=volume, bucket=CloudBucket())
    if isinstance(request, CopyRequest):
        from model_refresh.loader import copy  # noqa: PLC0415 - see above

        return copy.run(request, volume=volume, bucket=CloudBucket())
    if isinstance(request, VerifyRequest):
        from model_refresh.loader import verify  # noqa: PLC0415 - see above

        return verify.run(request, volume=volume)
    if isinstance(request, PublishRequest):
        from model_refresh.loader import publish  # noqa: PLC0415 - see above

        return publish.run(request, volume=volume, bucket=CloudBucket())
    from model_refresh.loader import prune  # noqa: PLC0415 - see above

    return prune.run(request, volume=volume)


def _refresh_error(error: BaseException) -> RefreshError:
    if isinstance(error, RefreshError):
        return error
    traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno in _VOLUME_TROUBLES:
        where = f" at {error.filename}" if error.filename else ""
        return RefreshError(_VOLUME_TROUBLES[error.errno], f"{error.strerror}{where}.")
    return RefreshError(Reason.UNEXPECTED, f"{type(error).__name__}: {error}.")


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what a signal handler gets
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise RefreshError(Reason.KILLED, "The pod was told to end (SIGTERM) before the step was done.")


def _leave(message: bytes) -> None:
    path = Path(os.environ.get(TERMINATION_VARIABLE, TERMINATION_PATH))
    try:
        path.write_bytes(message)
    except OSError as error:
        note("termination_message_lost", path=str(path), error=str(error))


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that hangs on a dead NFS server must not keep the pod.
    os._exit(exit_code)
