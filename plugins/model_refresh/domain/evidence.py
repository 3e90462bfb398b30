"""What the approver sees before answering."""

from __future__ import annotations

from datetime import timedelta

from model_refresh.domain.document import Document
from model_refresh.domain.manifest import Digest, Manifest
from model_refresh.domain.receipt import Check

MIB = 1024 * 1024


class Diff(Document):
    """How a release differs from the serving one, by path and crc32c."""

    added: int
    changed: int
    removed: int
    unchanged: int
    changed_bytes: int

    @classmethod
    def between(cls, serving: Manifest | None, offered: Manifest) -> Diff:
        """Compare by content; without a serving release everything is added."""
        before = {file.path: file.crc32c for file in serving.files} if serving else {}
        after = {file.path: file for file in offered.files}
        added = [file for path, file in after.items() if path not in before]
        changed = [file for path, file in after.items() if path in before and before[path] != file.crc32c]
        return cls(
            added=len(added),
            changed=len(changed),
            removed=len(before.keys() - after.keys()),
            unchanged=len(after) - len(added) - len(changed),
            changed_bytes=sum(file.size for file in (*added, *changed)),
        )


class Space(Document):
    """Bytes of the volume, as the file system counts them."""

    total: int
    free_before: int
    free_after: int


class Forecast(Document):
    """What the switch will do to those who are served.

    Attributes:
        strategy: the Deployment's, in Kubernetes' words, with its numbers.
        downtime: for a person: none, or why some.
        load: how long one replica may take to read the release, by the speed measured here.
    """

    replicas: int
    strategy: str
    downtime: str
    load: timedelta


class Evidence(Document):
    """Everything on the approval card, bound to one digest.

    Attributes:
        serving: release id that the Deployment names now; also where a rollback goes. None before the first.
        copy_seconds: wall time of the slowest copy pod; verify_seconds likewise.
    """

    model: str
    deployment: str
    release_id: str
    digest: Digest
    source: str
    files: int
    size: int
    copied_bytes: int
    reused_bytes: int
    serving: str | None
    diff: Diff
    checks: tuple[Check, ...]
    copy_seconds: float
    verify_seconds: float
    space: Space
    forecast: Forecast

    def markdown(self) -> str:
        """The card's text."""
        diff = self.diff
        rows = [
            ("Release", _code(self.source)),
            ("Digest", _code(self.digest)),
            ("Size", f"{self.files} files, {human_bytes(self.size)}"),
            (
                "Against the serving release",
                (
                    f"{diff.added} added, {diff.changed} changed, {diff.removed} removed, "
                    f"{diff.unchanged} unchanged; {human_bytes(diff.changed_bytes)} new"
                ),
            ),
            (
                "Copied",
                (
                    f"{human_bytes(self.copied_bytes)} in {_human_time(self.copy_seconds)}"
                    f"{_speed(self.copied_bytes, self.copy_seconds)}; "
                    f"{human_bytes(self.reused_bytes)} were on the volume already"
                ),
            ),
            (
                "Read back from the volume",
                (
                    f"{human_bytes(self.size)} in {_human_time(self.verify_seconds)}"
                    f"{_speed(self.size, self.verify_seconds)}"
                ),
            ),
            *((_plain(check.name), _plain(check.outcome)) for check in self.checks),
            (
                "Space free",
                (
                    f"{human_bytes(self.space.free_before)} before, {human_bytes(self.space.free_after)} now, "
                    f"of {human_bytes(self.space.total)}"
                ),
            ),
            ("Rollout", f"{self.forecast.replicas} replicas, {_plain(self.forecast.strategy)}"),
            ("Downtime", _plain(self.forecast.downtime)),
            ("A replica reads it in", f"about {_human_time(self.forecast.load.total_seconds())}"),
            ("Rolls back to", _code(self.serving) if self.serving else "nothing: this is the first release"),
        ]
        lines = [
            (
                f"**{_plain(self.serving or 'nothing')} → {_plain(self.release_id)}** "
                f"on Deployment {_code(self.deployment)}"
            ),
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
        ]
        return "\n".join(lines)


def human_bytes(count: int) -> str:
    """Bytes in the binary unit that leaves one to four digits before the point."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004 - the step between binary units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _plain(text: str) -> str:
    """Text that stays in its cell: a name from a bucket or an engine's message may hold a bar or a new line."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_plain(text).replace('`', '')}`"


def _speed(count: int, seconds: float) -> str:
    return f" ({count / MIB / seconds:.0f} MiB/s)" if count and seconds > 0 else ""


def _human_time(seconds: float) -> str:
    if seconds < 10:  # noqa: PLR2004 - below, the tenths tell
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004 - two minutes still read better in seconds
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
