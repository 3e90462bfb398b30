"""The command line of the sandbox: `python -m sandbox up|stop|clean|status|env|demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from sandbox import bring_up, teardown
from sandbox.checkout import Checkout, cache_folder
from sandbox.errors import SandboxError
from sandbox.locks import locked

_COMMANDS: Mapping[str, Callable[[Checkout], None]] = {
    "up": bring_up.up,
    "stop": teardown.stop,
    "clean": teardown.clean,
    "status": bring_up.print_status,
    "env": bring_up.print_environment,
}


def main() -> int:
    """Runs one command; the exit code is 0 when it did what it says."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("command", choices=_COMMANDS)
    arguments = parser.parse_args()
    checkout = Checkout.here()
    try:
        with locked(cache_folder() / "checkouts" / f"{checkout.key}.lock", "this checkout's sandbox"):
            _COMMANDS[arguments.command](checkout)
    except SandboxError as error:
        print(f"\nsandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsandbox: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
