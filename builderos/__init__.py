"""The command line, the config file, the wiring of one server, and the terminal as a device."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
"""Sent to devices and printed by `--version`; the same as in pyproject.toml."""
