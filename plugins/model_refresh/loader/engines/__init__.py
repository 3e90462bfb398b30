"""What moves bytes in a copy pod: a command line for a set of objects, one small module an engine.

An engine fetches objects by generation into one folder, each under the last part of its name, and lets a file
appear under that name only when it is complete (gcloud and gsutil write ``<name>_.gstmp`` first). It is never
believed: the loader hashes every file itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model_refresh.contract import EngineName
from model_refresh.domain.manifest import ManifestFile


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Files that one process may fetch: no two of one name, because the engines flatten folders.

    Attributes:
        prefix: ``gs://…/`` below which their paths stand.
        folder: where they go.
    """

    prefix: str
    files: tuple[ManifestFile, ...]
    folder: Path

    def landing(self, file: ManifestFile) -> Path:
        """Where a file appears when it is complete."""
        return self.folder / file.path.rsplit("/", 1)[-1]

    @property
    def sources(self) -> str:
        """The objects by generation, one URL a line."""
        return "".join(f"{self.prefix}{file.path}#{file.generation}\n" for file in self.files)


@dataclass(frozen=True, kw_only=True)
class Command:
    """How to run an engine.

    Attributes:
        environment: set on top of the pod's own.
        stdin: what it reads.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    stdin: str


class Engine(Protocol):
    """One way to fetch objects."""

    def command(self, batch: Batch, *, workers: int, scratch: Path) -> Command:
        """The command that fetches a batch.

        Args:
            batch: what, and where to.
            workers: files in flight at once.
            scratch: a folder of its own for what it wants to keep besides.
        """


def engine(name: EngineName) -> Engine:
    """The engine of that name."""
    if name == "gcloud":
        from model_refresh.loader.engines.gcloud import Gcloud  # noqa: PLC0415 - one pod uses one engine

        return Gcloud()
    from model_refresh.loader.engines.gsutil import Gsutil  # noqa: PLC0415 - one pod uses one engine

    return Gsutil()


def sdk_environment(scratch: Path) -> dict[str, str]:
    """What keeps either client of the Cloud SDK from writing to the read-only root file system, and from asking.

    One that stops to ask, for a component that it misses, say, waits for ever: nobody answers.
    """
    return {
        "HOME": str(scratch),
        "CLOUDSDK_CONFIG": str(scratch / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
    }


def processes_and_threads(workers: int, cores: int) -> tuple[int, int]:
    """How to spread files in flight over processes: Python's threads share one core, so processes come first."""
    processes = max(1, min(workers, cores))
    return processes, -(-workers // processes)
