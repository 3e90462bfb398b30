"""Runs other programs, and turns a failure into an error that shows what they said."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import SandboxError

_TAIL_LINES = 20


def output(
    *command: str | Path, env: Mapping[str, str] | None = None, stdin: str | None = None, cwd: Path | None = None
) -> str:
    """Standard output of a program that succeeds.

    Raises:
        SandboxError: it cannot be started or ends with a failure; the message holds the end of what it said.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            input=stdin,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SandboxError(f"`{words[0]}` is not on this machine; `make up` installs what it needs.") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise SandboxError(f"`{shlex.join(words)}` failed with exit code {done.returncode}:\n{said}")
    return done.stdout


def succeeds(*command: str | Path, env: Mapping[str, str] | None = None) -> bool:
    """Whether a program ends well; what it says is not shown."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env={**os.environ, **(env or {})}, capture_output=True, check=False)
    return done.returncode == 0
