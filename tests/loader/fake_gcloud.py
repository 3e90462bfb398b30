"""Stands in for the Cloud SDK: ``gcloud storage cp -I`` from a local bucket, with the failures that users report.

Run as a program by ``World``; its instructions come in the environment variable FAKE_GCLOUD, as JSON:
``bucket`` (folder), ``log`` (file, a line a file begun), ``delay`` (seconds a block of 64 KiB),
``wrong`` (file names whose first byte is wrong), ``wrong_times`` (how often), ``hang`` (file name that never goes on),
``fail`` (words to say before exit 1), ``forget_last`` (of several files leave the last out, and end well).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

_BLOCK = 64 * 1024


def main() -> int:
    told = json.loads(os.environ["FAKE_GCLOUD"])
    folder = Path(sys.argv[-1])
    if "fail" in told:
        sys.stderr.write(f"ERROR: (gcloud.storage.cp) {told['fail']}\n")
        return 1
    code = 0
    lines = sys.stdin.read().splitlines()
    if "forget_last" in told and len(lines) > 1:
        lines.pop()
    for line in lines:
        url, _, generation = line.rpartition("#")
        _, _, name = url.removeprefix("gs://").partition("/")
        source = Path(told["bucket"], quote(name, safe=""), generation)
        if not source.exists():
            sys.stderr.write(f"ERROR: (gcloud.storage.cp) The following URLs matched no objects or files:\n{line}\n")
            code = 1
            continue
        with Path(told["log"]).open("a") as log:
            log.write(f"{os.getpid()} {name}\n")
        _copy(told, source, folder / name.rsplit("/", 1)[-1])
    return code


def _copy(told: dict[str, Any], source: Path, target: Path) -> None:
    temporary = target.with_name(f"{target.name}_.gstmp")
    content = source.read_bytes()
    times = Path(f"{told['log']}.wrong-{target.name}")
    if (
        target.name in told.get("wrong", ())
        and len(times.read_bytes() if times.exists() else b"") < told["wrong_times"]
    ):
        with times.open("ab") as count:
            count.write(b".")
        content = bytes([content[0] ^ 1]) + content[1:]
    with temporary.open("wb") as file:
        for start in range(0, len(content), _BLOCK):
            file.write(content[start : start + _BLOCK])
            file.flush()
            time.sleep(told.get("delay", 0))
            while target.name == told.get("hang"):
                time.sleep(1)
    temporary.rename(target)


if __name__ == "__main__":
    sys.exit(main())
