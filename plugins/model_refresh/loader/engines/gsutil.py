"""Fetches with ``gsutil -m cp``: the older client, for those whose network or policy knows only that one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from model_refresh.domain.errors import Reason, RefreshError
from model_refresh.loader.engines import Batch, Command, processes_and_threads, sdk_environment

OPTIONS_VARIABLE = "MODEL_REFRESH_GSUTIL_OPTIONS"
"""A JSON list of boto options ("Section:name=value") for this place; gsutil knows no environment for them."""


class Gsutil:
    """See ``Engine``."""

    def command(self, batch: Batch, *, workers: int, scratch: Path) -> Command:
        """See ``Engine``.

        Raises:
            RefreshError: ``BadRequest`` when the pod's options are no JSON list of strings.
        """
        processes, threads = processes_and_threads(workers, os.cpu_count() or 1)
        options = (
            # One writer a file: several processes that write one file over Longhorn's NFS can hang.
            "GSUtil:sliced_object_download_threshold=0",
            "GSUtil:check_hashes=always",
            f"GSUtil:parallel_process_count={processes}",
            f"GSUtil:parallel_thread_count={threads}",
            f"GSUtil:state_dir={scratch / 'gsutil'}",
            "GSUtil:software_update_check_period=0",
            *_options_of_this_place(),
        )
        return Command(
            argv=(
                "gsutil",
                # The progress line, redrawn ten times a second, would be all of the log.
                "-q",
                "-m",
                *(part for option in options for part in ("-o", option)),
                "cp",
                "-I",
                f"{batch.folder}/",
            ),
            environment=sdk_environment(scratch),
            stdin=batch.sources,
        )


def _options_of_this_place() -> tuple[str, ...]:
    text = os.environ.get(OPTIONS_VARIABLE, "[]")
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise RefreshError(
            Reason.BAD_REQUEST,
            f"{OPTIONS_VARIABLE} is {text!r}.",
            mend='Make it a JSON list of boto options, like ["Boto:proxy=10.0.0.1"].',
        )
    return tuple(options)
