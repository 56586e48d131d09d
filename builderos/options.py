"""The parser, the options and the checked values that commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from builderos.exit_status import MISUSED

__all__ = [
    "SESSION_ID",
    "Parser",
    "UsageError",
    "as_path",
    "between",
    "checked_url",
    "data_options",
    "no_options",
    "options_of_acts",
    "server_options",
]

DEFAULT_DATA = "~/.builderos"
SESSION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class UsageError(Exception):
    """An option is wrong; the text is one line for a person."""


class Parser(argparse.ArgumentParser):
    """Prints an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISUSED, f"{self.prog}: {message}; see {self.prog} --help\n")


def as_path(text: str) -> Path:
    """Return an absolute path; `~` is the home folder."""
    return Path(text).expanduser().absolute()


def between(text: str, low: int, high: int) -> int:
    """Return a whole number. Raises ArgumentTypeError if it is not within the bounds."""
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between {low} and {high}")
    return int(text)


def no_options(_: Mapping[str, str]) -> Parser:
    """Return no options, for a command that needs no data folder."""
    return Parser(add_help=False)


def data_options(environment: Mapping[str, str]) -> Parser:
    """Return the options of a command that works on a data folder."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "--data",
        type=as_path,
        default=as_path(environment.get("BUILDEROS_DATA") or DEFAULT_DATA),
        metavar="DIR",
        help="data folder (default: BUILDEROS_DATA, else ~/.builderos)",
    )
    return parser


def server_options(environment: Mapping[str, str]) -> Parser:
    """Return the options of a command that talks to a server."""
    parser = Parser(add_help=False, parents=[data_options(environment)])
    parser.add_argument("--url", help="server address, instead of the server that uses the data folder")
    parser.add_argument("--key", help="device key, instead of the one in the data folder")
    return parser


def options_of_acts(*, key: str, url: str = "server address") -> Parser:
    """Return the same options for below an act, without defaults: those would overwrite what was given before the act.

    Args:
        key, url: help texts.
    """
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--data", type=as_path, metavar="DIR", help="data folder")
    parser.add_argument("--url", help=url)
    parser.add_argument("--key", help=key)
    return parser


def checked_url(name: str, url: str) -> str:
    """Return the URL of a PostgreSQL database.

    Raises:
        UsageError: it is none, or has a password, which every process of the machine could see.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise UsageError(f"{name}: must begin with postgresql://")
    if ":" in parts.netloc.rpartition("@")[0] or "password=" in parts.query:
        raise UsageError(f"{name}: no password here, others can read it; use ~/.pgpass, or the config file")
    return url
