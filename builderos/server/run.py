"""`builderos serve` around the event loop: options and files before it, exit status and one line after it.

With `--take-over` it ends the server that holds the data folder, and no other process.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import attrs
import psutil
import trio

from bridgehub.protocol.errors import unwrap
from builderos.config import Config, ConfigError, config_path, load_config
from builderos.exit_status import MISUSED, OK, fail
from builderos.server.parts import ServeOptions, ServerContext
from builderos.server.process.early_signals import end_on_signals
from builderos.server.process.logs import FILE_ONLY, open_logs
from builderos.server.process.resources import connections_for, raise_file_limit
from builderos.server.server import ServeError, run_server
from builderos.server.tls import Tls, TlsError
from storage.data_folder import open_data_folder, read_holder
from storage.errors import StorageError, StorageLocked
from storage.records import NODE_NAME, is_node_name

__all__ = ["end_holder", "start_server"]

GRACE_S = 15.0
"""How long the holder may take to shut down: it closes its devices, releases busy hubs and writes its database."""

LOOK_S = 0.02
"""Poll interval: the end of a process that is not our child can only be polled."""

KILL_S = 5.0
"""How long a killed process may take to end."""

log = logging.getLogger("builderos.server")


def start_server(options: ServeOptions) -> int:
    """Run a server until a signal; return its exit status.

    0 after a signal, 2 for a config or certificate that cannot be used, 1 for any other failure; 1 and 2 with one line
    on stderr. The first device's key is removed from the process's environment before anything else starts.
    """
    key = os.environ.pop("BUILDEROS_API_KEY", "").strip() or None
    end_on_signals()
    try:
        config = load_config(config_path(options.config, options.data))
        if options.database is not None:
            config = attrs.evolve(config, database=attrs.evolve(config.database, url=options.database))
        if options.node is not None:
            if not is_node_name(options.node):
                raise ConfigError("--node", f"must be {NODE_NAME}")
            config = attrs.evolve(config, database=attrs.evolve(config.database, node=options.node))
        if config.database.node and not config.database.url:
            raise ConfigError("--node", "needs a PostgreSQL: --database, or url under [database]")
        tls = _load_tls(options)
    except ConfigError as error:
        return fail(str(error), MISUSED)
    try:
        return _hold_and_run(options, config, tls, key)
    except StorageLocked as error:
        return fail(f"{options.data} is in use by {error.holder}; use --take-over to stop it")
    except (StorageError, OSError) as error:
        return fail(str(error))


def _hold_and_run(options: ServeOptions, config: Config, tls: Tls | None, key: str | None) -> int:
    if options.take_over:
        end_holder(options.data)
    status = OK
    with open_data_folder(options.data) as folder, open_logs(folder.log_path, options.log_level):
        for warning in config.warnings():
            log.warning("%s", warning)
        config = _fitting(config)
        try:
            trio.run(run_server, ServerContext(options, config, folder, tls, key))
        except* (ServeError, StorageError) as group:
            status = fail(str(unwrap(group)))
        except* Exception as group:
            status = _fail_unforeseen(group)
    return status


def end_holder(data: Path) -> None:
    """End the server that holds `data`, by SIGTERM and then by force; return once it has ended. Blocks.

    The holder is found by its process id and start time; if it no longer runs, nothing is done. Its hubs are left
    alone, so turns continue.

    Raises:
        PermissionError: the process belongs to another user.
    """
    holder = read_holder(data)
    if holder is None or not holder.is_running():
        return
    try:
        process = psutil.Process(holder.pid)
        if not holder.is_running():
            return
        process.terminate()  # psutil compares the start time once more before each signal
        if not _wait_gone(process, GRACE_S):
            process.kill()
            if not _wait_gone(process, KILL_S):
                raise PermissionError(f"{holder} cannot be stopped")
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise PermissionError(f"{holder} belongs to another user") from error


def _wait_gone(process: psutil.Process, limit_s: float) -> bool:
    """Wait until the process has ended. A zombie counts as ended."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(LOOK_S)
    return False


def _fitting(config: Config) -> Config:
    """Return the config with `max_connections` lowered to the limit of open files."""
    open_files = raise_file_limit()
    connections = connections_for(config.max_connections, open_files)
    if connections < config.max_connections:
        is_asked_for = config.max_connections != Config().max_connections
        level = logging.WARNING if is_asked_for else logging.INFO
        text = "max_connections is %d, not %d: this process may open %d files (ulimit -n)"
        log.log(level, text, connections, config.max_connections, open_files)
    return attrs.evolve(config, max_connections=connections)


def _fail_unforeseen(group: BaseExceptionGroup[Exception]) -> int:
    """Write the traceback to the log file, and one line to the screen."""
    log.error("the server failed", exc_info=group, extra=FILE_ONLY)
    first = unwrap(group)
    return fail(f"{type(first).__name__}: {first} (see server.log for details)")


def _load_tls(options: ServeOptions) -> Tls | None:
    if options.tls_cert is None or options.tls_key is None:
        return None
    try:
        return Tls.load(options.tls_cert, options.tls_key)
    except TlsError as error:
        raise ConfigError("--tls-cert, --tls-key", str(error)) from error
