"""The command line: reads options, calls one command, turns its end into an exit status and at most one
line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import attrs

from builderos import VERSION
from builderos.commands.devices import add_devices
from builderos.exit_status import INTERRUPTED, MISUSED, fail

__all__ = ["ServeOptions", "UsageError", "main"]

DEFAULT_DATA = "~/.builderos"
LOG_LEVELS = ("debug", "info", "warning", "error")


class UsageError(Exception):
    """An option makes no sense; the text is one line for a person."""


@attrs.frozen(kw_only=True)
class ServeOptions:
    """What `builderos serve` was told, checked as far as it can be without starting anything."""

    host: str
    port: int
    data: Path
    workspace: Path
    config: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    log_level: str
    take_over: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = _make_parser(os.environ)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except UsageError as error:
        return fail(str(error), MISUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if isinstance(_first(error), BrokenPipeError):
            # Whoever read us has enough; the interpreter's own flush at its end must not find the pipe again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return fail("the output was closed before its end")
        if os.environ.get("BUILDEROS_TRACEBACK"):
            raise
        return fail(f"unforeseen: {_first(error)!r}; BUILDEROS_TRACEBACK=1 tells more")
    return status


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISUSED, f"{self.prog}: {message}; see {self.prog} --help\n")


def _make_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="builderos",
        description="Talk to the coding agents on your own machine from several devices at once.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"builderos {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    data = _Parser(add_help=False)
    data.add_argument(
        "--data",
        type=_folder,
        default=_folder(environment.get("BUILDEROS_DATA") or DEFAULT_DATA),
        metavar="DIR",
        help="the data folder (default: BUILDEROS_DATA, else ~/.builderos)",
    )
    server = _Parser(add_help=False, parents=[data])
    server.add_argument("--url", help="a server's address, instead of the one that holds the data folder")
    server.add_argument("--key", help="a device's key, instead of the one in the data folder")
    _add_serve(commands, data)
    _add_sessions(commands, server)
    _add_send(commands, server)
    _add_attach(commands, server)
    _add_bridgehub(commands, data)
    _add_import(commands, data)
    _add_export(commands, server)
    add_devices(commands, server, _folder)
    _add_backup(commands, data)
    audit = commands.add_parser("audit", parents=[data], help="who came in, who tried to, and who did what")
    audit.add_argument("--session", metavar="ID", help="only what was done in this session")
    audit.add_argument("--since", metavar="TIME", help="a time in ISO 8601, or how long ago: 30m, 24h, 7d")
    audit.add_argument("--json", action="store_true", help="JSON lines, with the chain of hashes")
    audit.set_defaults(run=_audit)
    doctor = commands.add_parser("doctor", parents=[data], help="say what is missing and what mends it")
    doctor.add_argument("--config", type=_folder, metavar="FILE", help="the server's config file")
    doctor.add_argument(
        "--verify", action="store_true", help="check all that the data folder keeps instead; may take long"
    )
    doctor.set_defaults(run=_doctor)
    return parser


_Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_serve(commands: _Commands[_Parser], data: _Parser) -> None:
    serve = commands.add_parser("serve", parents=[data], help="run the server", allow_abbrev=False)
    serve.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8080, help="0 takes a free one (default: %(default)s)")
    serve.add_argument(
        "--workspace",
        type=_folder,
        default=Path.cwd(),
        metavar="DIR",
        help="where agents work (default: the current folder)",
    )
    serve.add_argument(
        "--config", type=_folder, metavar="FILE", help="a TOML file, see docs/user/configuration.md"
    )
    serve.add_argument("--tls-cert", type=_folder, metavar="FILE", help="certificate chain, PEM")
    serve.add_argument("--tls-key", type=_folder, metavar="FILE", help="its private key, PEM")
    serve.add_argument(
        "--log-level", type=str.lower, choices=LOG_LEVELS, default="info", help="(default: %(default)s)"
    )
    serve.add_argument("--take-over", action="store_true", help="end the server that holds the data folder")
    serve.set_defaults(run=_serve)


def _add_sessions(commands: _Commands[_Parser], server: _Parser) -> None:
    sessions = commands.add_parser("sessions", parents=[server], help="list the sessions, newest first")
    sessions.add_argument(
        "--limit", type=_limit, default=100, help="how many, 1 to 500 (default: %(default)s)"
    )
    sessions.set_defaults(run=_sessions)


def _add_send(commands: _Commands[_Parser], server: _Parser) -> None:
    send = commands.add_parser(
        "send",
        parents=[server],
        help="send one message",
        epilog="Exit status: 0 accepted (with --wait: complete), 1 refused or error, 3 interrupted, 4 taken "
        "back, 5 nobody knows whether the agent had it.",
    )
    send.add_argument("session", metavar="SESSION")
    send.add_argument("text", metavar="TEXT")
    send.add_argument("--agent", help="make the session with this agent where it is not there")
    send.add_argument("--device", metavar="NAME", help="the label to send as")
    send.add_argument(
        "--message-id", metavar="ID", help="the same id again is the same message: it runs once"
    )
    send.add_argument("--wait", action="store_true", help="print the answer and wait for its end")
    send.set_defaults(run=_send)


def _add_attach(commands: _Commands[_Parser], server: _Parser) -> None:
    attach = commands.add_parser("attach", parents=[server], help="follow a session and write to it")
    attach.add_argument("session", metavar="SESSION")
    attach.add_argument("--agent", help="make the session with this agent where it is not there")
    attach.add_argument("--device", metavar="NAME", help="the label that others see")
    attach.add_argument("--observe", action="store_true", help="watch only")
    attach.add_argument(
        "--history", type=_history, default=50, help="turns to show first (default: %(default)s)"
    )
    attach.set_defaults(run=_attach)


def _add_bridgehub(commands: _Commands[_Parser], data: _Parser) -> None:
    bridgehub = commands.add_parser(
        "bridgehub",
        parents=[data],
        help="answer one call of the old relay (bridgehub/1.0)",
        description="Prints one line JARVIS_PAYLOAD=… and ends with exit status 0, also where the line says "
        "that it failed. Needs no server; nothing is kept in the data folder.",
    )
    bridgehub.add_argument("--config", type=_folder, metavar="FILE", help="the server's config file")
    bridgehub.add_argument("--request", required=True, metavar="JSON", help="the call")
    bridgehub.set_defaults(run=_bridgehub)


def _add_import(commands: _Commands[_Parser], data: _Parser) -> None:
    imports = commands.add_parser(
        "import",
        parents=[data],
        help="bring in the conversations of the old server",
        epilog="Needs no running server. All files or none; a second import adds nothing.",
    )
    imports.add_argument(
        "files", nargs="+", type=_folder, metavar="FILE", help="a sessions.db of the old server"
    )
    imports.add_argument(
        "--zone",
        metavar="ZONE",
        help="where the old server ran, like Europe/Berlin (default: this machine's)",
    )
    imports.add_argument(
        "--workspace",
        type=_folder,
        default=Path.cwd(),
        metavar="DIR",
        help="where agents go on with these conversations (default: the current folder)",
    )
    imports.add_argument("--dry-run", action="store_true", help="say what it would do, and change nothing")
    imports.set_defaults(run=_import)


def _add_export(commands: _Commands[_Parser], server: _Parser) -> None:
    export = commands.add_parser(
        "export",
        parents=[server],
        help="write a conversation to stdout",
        epilog="Reads the data folder, with a server or without; with --url a server's.",
    )
    export.add_argument("session", metavar="SESSION")
    export.add_argument("--format", choices=("md", "json"), default="md", help="(default: %(default)s)")
    export.set_defaults(run=_export)


def _add_backup(commands: _Commands[_Parser], data: _Parser) -> None:
    backup = commands.add_parser(
        "backup",
        parents=[data],
        help="write the whole data folder into one file",
        epilog="With a running server or without. The file holds the first device's key: keep it as safe as that.",
    )
    backup.add_argument("file", type=_folder, metavar="FILE", help="replaced once the new one is whole")
    backup.set_defaults(run=_backup)
    restore = commands.add_parser(
        "restore",
        parents=[data],
        help="put a backup into the data folder",
        epilog="Needs no running server. All or nothing; the database that was there is kept beside the new one.",
    )
    restore.add_argument("file", type=_folder, metavar="FILE", help="what `builderos backup` wrote")
    restore.set_defaults(run=_restore)


# ---- what options may be ----


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _port(text: str) -> int:
    return _between(text, 0, 65535)


def _limit(text: str) -> int:
    return _between(text, 1, 500)


def _history(text: str) -> int:
    return _between(text, 0, 1000)


def _between(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {low} to {high}")
    return int(text)


# ---- the commands; each loads only what it needs ----


def _serve(arguments: argparse.Namespace) -> int:
    from builderos.server.run import start_server

    options = ServeOptions(
        **{field.name: getattr(arguments, field.name) for field in attrs.fields(ServeOptions)}
    )
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if not options.workspace.is_dir():
        raise UsageError(f"--workspace: {options.workspace} is no folder")
    return start_server(options)


def _sessions(arguments: argparse.Namespace) -> int:
    from builderos.commands.session import run_sessions

    return run_sessions(arguments.data, arguments.url, arguments.key, limit=arguments.limit)


def _send(arguments: argparse.Namespace) -> int:
    from builderos.commands.session import Target, run_send

    target = Target(arguments.session, arguments.agent, arguments.device)
    return run_send(
        (arguments.data, arguments.url, arguments.key),
        target,
        arguments.text,
        message_id=arguments.message_id,
        wait=arguments.wait,
    )


def _attach(arguments: argparse.Namespace) -> int:
    from builderos.commands.session import Target, run_attach

    target = Target(arguments.session, arguments.agent, arguments.device)
    where = (arguments.data, arguments.url, arguments.key)
    return run_attach(where, target, observe=arguments.observe, history=arguments.history)


def _bridgehub(arguments: argparse.Namespace) -> int:
    from builderos.commands.bridgehub import run_bridgehub

    return run_bridgehub(arguments.request, arguments.config)


def _import(arguments: argparse.Namespace) -> int:
    from builderos.commands.import_ import ImportOptions, run_import

    if not arguments.workspace.is_dir():
        raise UsageError(f"--workspace: {arguments.workspace} is no folder")
    options = ImportOptions(
        files=tuple(arguments.files),
        data=arguments.data,
        workspace=arguments.workspace,
        zone=arguments.zone,
        dry_run=arguments.dry_run,
    )
    return run_import(options)


def _export(arguments: argparse.Namespace) -> int:
    from builderos.commands.export import run_export

    where = (arguments.data, arguments.url, arguments.key)
    return run_export(where, arguments.session, arguments.format)


def _backup(arguments: argparse.Namespace) -> int:
    from builderos.commands.backup import run_backup
    from builderos.ids import wall_clock_ms

    return run_backup(arguments.file, arguments.data, now_ms=wall_clock_ms())


def _restore(arguments: argparse.Namespace) -> int:
    from builderos.commands.backup import run_restore
    from builderos.ids import wall_clock_ms

    return run_restore(arguments.file, arguments.data, now_ms=wall_clock_ms())


def _audit(arguments: argparse.Namespace) -> int:
    from builderos.commands.audit import run_audit

    return run_audit(arguments.data, arguments.session, arguments.since, as_json=arguments.json)


def _doctor(arguments: argparse.Namespace) -> int:
    if arguments.verify:
        from builderos.commands.verify import run_verify

        return run_verify(arguments.data)
    from builderos.commands.doctor import run_doctor

    return run_doctor(arguments.data, arguments.config)
