"""`python -m bridgehub`: one hub as a program of its own, if forking is not to be had (macOS).

The spec comes as one line on stdin, the answer goes as one line to stdout; then both are let go.
"""

from __future__ import annotations

import os
import sys

from bridgehub.process import live_as_hub
from bridgehub.protocol.codec import decode_spec

__all__ = ["main"]


def main() -> int:
    """Read the spec, live as its hub, return the exit status."""
    line = sys.stdin.buffer.readline()
    return live_as_hub(decode_spec(line), os.dup(1))


if __name__ == "__main__":
    sys.exit(main())
