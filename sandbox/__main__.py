"""The command line of the sandbox: `python -m sandbox up|stop|clean|status|env|demo|image-context`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from sandbox import bring_up, demo, teardown, wheels
from sandbox.checkout import Checkout, cache_folder
from sandbox.errors import SandboxError
from sandbox.locks import locked

_LOOKS: Mapping[str, Callable[[Checkout], None]] = {
    "status": bring_up.print_status,
    "env": bring_up.print_environment,
}
_CHANGES: Mapping[str, Callable[[Checkout], None]] = {
    "up": bring_up.up,
    "stop": teardown.stop,
    "clean": teardown.clean,
}


def main() -> int:
    """Runs one command; the exit code is 0 when it did what it says."""
    arguments = _parser().parse_args()
    try:
        _run(Checkout.here(), arguments)
    except SandboxError as error:
        print(f"\nsandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsandbox: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in (*_CHANGES, *_LOOKS):
        commands.add_parser(name)
    commands.add_parser("demo").add_argument("--approve", action="store_true", help="answer the approval as alice")
    context = commands.add_parser("image-context", help="write what `docker build` needs for the loader's image")
    context.add_argument("folder", type=Path)
    return parser


def _run(checkout: Checkout, arguments: argparse.Namespace) -> None:
    command = arguments.command
    if command in _CHANGES:
        with locked(cache_folder() / "checkouts" / f"{checkout.key}.lock", "this checkout's sandbox"):
            _CHANGES[command](checkout)
    elif command == "demo":
        # Not locked: it may wait for a person for days, and `stop` must not wait for it.
        demo.demo(checkout, approve=arguments.approve)
    elif command == "image-context":
        if arguments.folder.exists():
            raise SandboxError(f"{arguments.folder} exists already; it would be overwritten. Name another folder.")
        wheels.write_context(checkout, arguments.folder)
    else:
        _LOOKS[command](checkout)


if __name__ == "__main__":
    sys.exit(main())
