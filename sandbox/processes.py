"""Starts, watches and ends long-running programs by pid file, and never touches one that it did not start."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.checkout import Checkout
from sandbox.errors import SandboxError
from sandbox.progress import say

_LOG_LINES_SHOWN = 25
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Program:
    """A program that is to run, and how to know that it does its work."""

    name: str
    command: Sequence[str | Path]
    is_healthy: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    depends_on: str = ""
    """What else (a configuration file's text, say) must be unchanged for a running one to be left alone."""
    start_seconds: float = 60
    stop_seconds: float = 10

    def fingerprint(self) -> str:
        facts = json.dumps([[str(word) for word in self.command], dict(self.env), self.depends_on], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()


def ensure_started(checkout: Checkout, program: Program) -> bool:
    """Starts a program unless it runs already, with the same arguments; True if it was started now.

    It gets a session of its own, so that it outlives make and a Ctrl-C in the terminal.
    """
    record = _read_record(checkout, program.name)
    if record is not None and _is_alive(record):
        if record["fingerprint"] == program.fingerprint():
            return False
        say(f"{program.name}: its settings changed, starting it anew")
        end(checkout, program.name, seconds=program.stop_seconds)
    checkout.logs.mkdir(parents=True, exist_ok=True)
    checkout.pids.mkdir(parents=True, exist_ok=True)
    with _log(checkout, program.name).open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in program.command],
            env={**os.environ, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=checkout.state,
        )
    record = {**_identity(process.pid), "fingerprint": program.fingerprint()}
    _pid_file(checkout, program.name).write_text(json.dumps(record))
    return True


def wait_healthy(checkout: Checkout, program: Program) -> None:
    """Returns as soon as the program does its work.

    Raises:
        SandboxError: it ended, or does not answer in its time; the message ends with the last lines of its log.
    """
    deadline = time.monotonic() + program.start_seconds
    while not program.is_healthy():
        if not is_running(checkout, program.name):
            raise SandboxError(f"{program.name} ended right after its start.\n{log_tail(checkout, program.name)}")
        if time.monotonic() > deadline:
            raise SandboxError(
                f"{program.name} runs but does not answer after {program.start_seconds:.0f} s.\n"
                f"{log_tail(checkout, program.name)}"
            )
        time.sleep(_POLL_SECONDS)


def is_running(checkout: Checkout, name: str) -> bool:
    record = _read_record(checkout, name)
    return record is not None and _is_alive(record)


def end(checkout: Checkout, name: str, *, seconds: float = 10) -> None:
    """Ends a program and all of its session: politely, and after some seconds for good."""
    record = _read_record(checkout, name)
    if record is not None:
        session = int(record["pid"])
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5)):
            # The leader may be gone while its children live on, so that the session counts and not the leader.
            members = _session_members(session, not_before=int(record["start_time"]), boot=str(record["boot"]))
            for pid in members:
                _signal(pid, number)
            if _all_gone(members, patience):
                break
    _pid_file(checkout, name).unlink(missing_ok=True)


def log_tail(checkout: Checkout, name: str) -> str:
    """The end of a program's log, with the path of the whole, as an error message shows it."""
    file = _log(checkout, name)
    lines = file.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:] if file.exists() else []
    return f"The last lines of {file}:\n" + "\n".join(f"    {line}" for line in lines)


def kill_matching(is_ours: Callable[[list[str]], bool]) -> None:
    """Kills processes by their command line: for the children of a program that leave its session (shims)."""
    pids = [pid for pid in _all_pids() if is_ours(_command_line(pid))]
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    _all_gone(pids, 5)


def kill(pids: Sequence[int]) -> None:
    """Kills processes and waits until they are gone."""
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    _all_gone(list(pids), 5)


def _log(checkout: Checkout, name: str) -> Path:
    return checkout.logs / f"{name}.log"


def _pid_file(checkout: Checkout, name: str) -> Path:
    return checkout.pids / f"{name}.json"


def _read_record(checkout: Checkout, name: str) -> dict[str, str | int] | None:
    try:
        record: dict[str, str | int] = json.loads(_pid_file(checkout, name).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return record


def _identity(pid: int) -> dict[str, str | int]:
    """A pid alone is not a name: Linux gives it to another process later, so its start and boot belong to it."""
    return {"pid": pid, "start_time": _stat(pid).start_time, "boot": _boot()}


def _is_alive(record: Mapping[str, str | int]) -> bool:
    if record["boot"] != _boot():
        return False
    try:
        stat = _stat(int(record["pid"]))
    except ProcessLookupError:
        return False
    return stat.start_time == record["start_time"] and stat.state != "Z"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class _Stat:
    state: str
    session: int
    start_time: int
    """In clock ticks since the boot."""


def _stat(pid: int) -> _Stat:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return _Stat(state=fields[0], session=int(fields[3]), start_time=int(fields[19]))


def _session_members(session: int, *, not_before: int, boot: str) -> list[int]:
    if boot != _boot():
        return []
    members = []
    for pid in _all_pids():
        try:
            stat = _stat(pid)
        except ProcessLookupError:
            continue
        if stat.session == session and stat.start_time >= not_before and stat.state != "Z":
            members.append(pid)
    return members


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile, which is what was wanted


def _all_gone(pids: Sequence[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(_exists(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _exists(pid: int) -> bool:
    try:
        return _stat(pid).state != "Z"
    except ProcessLookupError:
        return False
