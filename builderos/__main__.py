"""`python -m builderos`: the same as `builderos`."""

from __future__ import annotations

import sys

from builderos.server.process.early_signals import end_on_signals

__all__ = ["main"]


def main() -> int:
    """Run the command line; return its exit status."""
    if sys.argv[1:2] == ["serve"]:
        end_on_signals()  # before the imports, which take most of a start
    from builderos.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
