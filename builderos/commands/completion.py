"""`builderos completion`: prints the completion of a shell, for all commands and their options."""

from __future__ import annotations

import argparse
import os
import sys

from builderos.exit_status import OK

__all__ = ["add_completion", "run_completion"]

SHELLS = ("bash", "fish", "tcsh", "zsh")


def run_completion(shell: str) -> int:
    """Print the script of a shell; return the exit status."""
    import shtab

    from builderos.cli import COMMANDS, make_parser

    # Defaults from this environment would stand in the script.
    home = {"HOME": os.environ.get("HOME", "")}
    sys.stdout.write(shtab.complete(make_parser(home, COMMANDS), shell=shell) + "\n")
    return OK


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the options of `completion`."""
    parser.epilog = 'In bash: eval "$(builderos completion bash)"'
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.set_defaults(run=lambda arguments: run_completion(arguments.shell))
