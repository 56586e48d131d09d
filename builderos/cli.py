"""The command line: finds the command, reads its options, and returns its exit status.

A command's module is loaded only if the command is called, because imports take most of a start.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Final

import attrs

from bridgehub.protocol.errors import unwrap
from builderos import VERSION
from builderos.exit_status import INTERRUPTED, MISUSED, fail
from builderos.options import Parser, UsageError, data_options, no_options, server_options
from builderos.streams import finish_output, output_fault, prepare_streams

__all__ = ["COMMANDS", "main", "make_parser"]


@attrs.frozen
class Subcommand:
    """One command.

    Attributes:
        adder: `module:function`; the function adds the command's options to a parser.
        common: returns the options that it shares with others.
        help: one line for the list of commands.
    """

    adder: str
    common: Callable[[Mapping[str, str]], Parser]
    help: str

    def fill(self, parser: argparse.ArgumentParser) -> None:
        """Load the command and add its options."""
        module, _, function = self.adder.partition(":")
        getattr(import_module(f"builderos.commands.{module}"), function)(parser)


COMMANDS: Final[Mapping[str, Subcommand]] = {
    "serve": Subcommand("serve:add_serve", data_options, "run the server"),
    "sessions": Subcommand(
        "session:add_sessions", server_options, "list the sessions, newest first; move one"
    ),
    "nodes": Subcommand("session:add_nodes", server_options, "list the machines that share the sessions"),
    "send": Subcommand("session:add_send", server_options, "send one message"),
    "attach": Subcommand("session:add_attach", server_options, "follow a session and write to it"),
    "resume": Subcommand("resume:add_resume", server_options, "continue a session in this terminal"),
    "desk": Subcommand("desk:add_desk", data_options, "answer questions of plain terminals from any device"),
    "bridgehub": Subcommand(
        "bridgehub:add_bridgehub", data_options, "answer one call of the old relay (bridgehub/1.0)"
    ),
    "import": Subcommand("import_:add_import", data_options, "import conversations from the old server"),
    "export": Subcommand("export:add_export", server_options, "write a conversation to stdout"),
    "devices": Subcommand("devices:add_devices", server_options, "list, add, pair and revoke devices"),
    "notifications": Subcommand(
        "notifications:add_notifications", server_options, "list, test and switch notifications, and say why"
    ),
    "backup": Subcommand("backup:add_backup", data_options, "back up the data folder to one file"),
    "restore": Subcommand("backup:add_restore", data_options, "restore a backup into the data folder"),
    "copy-to": Subcommand("backup:add_copy_to", data_options, "copy the sessions into a PostgreSQL database"),
    "audit": Subcommand(
        "audit:add_audit", data_options, "list sign-ins, failed sign-ins and what each device did"
    ),
    "agents": Subcommand("agents:add_agents", data_options, "list known agents, add and check one"),
    "doctor": Subcommand("doctor:add_doctor", data_options, "check this machine and suggest fixes"),
    "completion": Subcommand("completion:add_completion", no_options, "print the completion of a shell"),
}


LIST_OPTIONS: Final = frozenset({"--data", "--url", "--key", "--observe"})
"""Options that may stand without a command, on a terminal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    prepare_streams()
    try:
        status = _run(words)
        finish_output()
    except UsageError as error:
        return fail(str(error), MISUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if isinstance(unwrap(error), BrokenPipeError):
            # The reader closed the pipe. The interpreter's own flush at exit must not hit it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return fail("the reader closed the output too early")
        if (fault := output_fault(unwrap(error))) is not None:
            return fail(str(fault))
        if os.environ.get("BUILDEROS_TRACEBACK"):
            raise
        return fail(f"unexpected error: {unwrap(error)!r} (set BUILDEROS_TRACEBACK=1 for details)")
    return status


def _run(words: Sequence[str]) -> int:
    if (not words or words[0] in LIST_OPTIONS) and sys.stdin.isatty():
        from builderos.terminal.run import can_run

        if can_run(os.environ):
            return _open_list(words)
    arguments = make_parser(os.environ, words[:1]).parse_args(words)
    status: int = arguments.run(arguments)
    return status


def _open_list(words: Sequence[str]) -> int:
    """Open the live list of sessions: what `builderos` without a command does on a terminal."""
    from builderos.commands.session import run_list

    parser = Parser(prog="builderos", parents=[server_options(os.environ)], allow_abbrev=False)
    parser.add_argument("--observe", action="store_true", help="watch only")
    found = parser.parse_args(words)
    return run_list((found.data, found.url, found.key), observe=found.observe)


def make_parser(environment: Mapping[str, str], load: Collection[str]) -> Parser:
    """Return the parser of the whole command line.

    Args:
        environment: the source of defaults.
        load: the commands whose options are needed; the others are only listed.
    """
    parser = Parser(
        prog="builderos",
        description="Talk to the coding agents on your own machine from several devices at once.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"builderos {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        is_wanted = name in load
        parents = [command.common(environment)] if is_wanted else []
        subparser = commands.add_parser(name, parents=parents, help=command.help, allow_abbrev=False)
        if is_wanted:
            command.fill(subparser)
    return parser
