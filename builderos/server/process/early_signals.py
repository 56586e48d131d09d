"""Handles signals before a server is up and after it is down. Loads nothing that takes time."""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["end_on_signals"]


def end_on_signals() -> None:
    """Let SIGTERM and SIGINT end the process at once with status 0, until `Shutdown` of the server watches for them.

    At that time there is nothing to clean up: a lock ends with its process. An exception, raised wherever the program
    happens to be, would show as a traceback or as a failed import.
    """
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)
