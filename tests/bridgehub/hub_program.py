"""A hub as a program whose `unruly` kind is the tests' own agent. Spec on stdin, answer on stdout."""

from __future__ import annotations

import os
import sys

from bridgehub.agents import registry
from bridgehub.process import live_as_hub
from bridgehub.protocol.codec import decode_spec

if __name__ == "__main__":
    registry._MODULES["unruly"] = "tests.bridgehub.unruly_agent"
    sys.exit(live_as_hub(decode_spec(sys.stdin.buffer.readline()), os.dup(1)))
