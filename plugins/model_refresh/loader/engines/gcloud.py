"""Fetches with ``gcloud storage cp``: Google's own client, and the faster of its two."""

from __future__ import annotations

import os
from pathlib import Path

from model_refresh.loader.engines import Batch, Command, processes_and_threads, sdk_environment


class Gcloud:
    """See ``Engine``. What the pod's environment says as CLOUDSDK_… goes through to it."""

    def command(self, batch: Batch, *, workers: int, scratch: Path) -> Command:
        """See ``Engine``."""
        processes, threads = processes_and_threads(workers, os.cpu_count() or 1)
        return Command(
            argv=(
                "gcloud",
                "storage",
                "cp",
                "--read-paths-from-stdin",
                # The manifest pins the bytes as they are stored.
                "--do-not-decompress",
                f"{batch.folder}/",
            ),
            environment={
                **sdk_environment(scratch),
                "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
                "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
                "CLOUDSDK_STORAGE_CHECK_HASHES": "always",
                # One writer a file: several processes that write one file over Longhorn's NFS can hang.
                "CLOUDSDK_STORAGE_SLICED_OBJECT_DOWNLOAD_THRESHOLD": "0",
                "CLOUDSDK_STORAGE_PROCESS_COUNT": str(processes),
                "CLOUDSDK_STORAGE_THREAD_COUNT": str(threads),
            },
            stdin=batch.sources,
        )
