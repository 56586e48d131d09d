"""`builderos serve`: its options. The server itself is in `builderos.server`."""

from __future__ import annotations

import argparse
import gc
from functools import partial
from pathlib import Path

import attrs

from builderos.options import UsageError, as_path, between, checked_url
from builderos.server.process.light_libraries import load_websockets, make_classes_light

__all__ = ["add_serve"]

LOG_LEVELS = ("debug", "info", "warning", "error")

LOADING = (2000, 5, 1000)
"""Thresholds of Python's collector while modules are loaded: what they make stays, so it is not searched as a whole."""


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=partial(between, low=0, high=65535),
        default=8080,
        help="port to bind; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--workspace",
        type=as_path,
        default=Path.cwd(),
        metavar="DIR",
        help="folder that agents work in (default: the current folder)",
    )
    parser.add_argument(
        "--config",
        type=as_path,
        metavar="FILE",
        help="TOML file, see docs/user/configuration.md (default: config.toml in the data folder, if it is there)",
    )
    parser.add_argument("--tls-cert", type=as_path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=as_path, metavar="FILE", help="private key of the certificate, PEM")
    parser.add_argument(
        "--log-level", type=str.lower, choices=LOG_LEVELS, default="info", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="PostgreSQL instead of SQLite: postgresql://role@host/name (without a password)",
    )
    parser.add_argument(
        "--move-here", action="store_true", help="take a PostgreSQL that belongs to another data folder"
    )
    parser.add_argument(
        "--node", metavar="NAME", help="share the PostgreSQL with other machines, as the one of this name"
    )
    parser.add_argument("--take-over", action="store_true", help="stop the server that uses the data folder")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    make_classes_light()
    load_websockets()
    thresholds = gc.get_threshold()
    gc.set_threshold(*LOADING)
    from builderos.server.parts import ServeOptions
    from builderos.server.run import start_server

    gc.freeze()
    gc.set_threshold(*thresholds)
    options = ServeOptions(
        **{field.name: getattr(arguments, field.name) for field in attrs.fields(ServeOptions)}
    )
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if options.database is not None:
        checked_url("--database", options.database)
    if not options.workspace.is_dir():
        raise UsageError(f"--workspace: {options.workspace} is not a directory")
    return start_server(options)
