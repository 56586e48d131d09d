"""The files of `deploy/` start the server as it wants to be started, and a restart through them harms no turn.

Tests have no service manager. What each of them does to a service is done by hand, as its own manual says it:
systemd with `KillMode=process` and launchd with `AbandonProcessGroup` signal the main process and no other, wait, and
start the same command again; without these, everything that the service ever started is killed.
"""

from __future__ import annotations

import os
import plistlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from configparser import ConfigParser
from pathlib import Path

import attrs
import psutil
import pytest
import trio

from builderos.server.server import SHUTDOWN_S
from tests.e2e.shared_server import ENDLESS, end_turn, hubs_of, words_of
from tests.support.server import ROOT, open_server

UNIT = ROOT / "deploy" / "builderos.service"
PLIST = ROOT / "deploy" / "app.builderos.server.plist"


@attrs.frozen
class Service:
    """What a service file says: the command's words, the signal that ends it, and how long that may take."""

    command: tuple[str, ...]
    stop_signal: signal.Signals
    stop_s: float
    path: str
    only_main: bool


def read_unit() -> Service:
    parser = ConfigParser(interpolation=None, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    service = parser["Service"]
    return Service(
        command=tuple(service["ExecStart"].split()),
        stop_signal=signal.Signals[service["KillSignal"]],
        stop_s=float(service["TimeoutStopSec"]),
        path=service["Environment"].removeprefix("PATH="),
        only_main=service["KillMode"] == "process",
    )


def read_plist() -> Service:
    body = plistlib.loads(PLIST.read_bytes())
    return Service(
        command=tuple(body["ProgramArguments"]),
        stop_signal=signal.SIGTERM,  # launchd knows no other
        stop_s=body["ExitTimeOut"],
        path=body["EnvironmentVariables"]["PATH"],
        only_main=body["AbandonProcessGroup"] is True,
    )


SERVICES = pytest.mark.parametrize("read", [read_unit, read_plist], ids=["systemd", "launchd"])


@SERVICES
def test_only_the_server_is_ended_and_in_time(read: Callable[[], Service]) -> None:
    service = read()
    assert service.only_main
    assert service.stop_signal == signal.SIGTERM
    assert service.stop_s > SHUTDOWN_S
    assert service.command[0].endswith("/.venv/bin/builderos")
    assert service.command[1] == "serve"
    assert "/usr/bin" in service.path.split(":")


def test_the_key_goes_into_no_log() -> None:
    """The first start prints it to stdout."""
    assert "\nStandardOutput=null\n" in UNIT.read_text()
    assert plistlib.loads(PLIST.read_bytes())["StandardOutPath"] == "/dev/null"


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """By systemd's own judgement where it is installed; else at least each name is one that it has."""
    checker = shutil.which("systemd-analyze")
    text = UNIT.read_text().replace("%h/builderos-mobile/.venv/bin/builderos", "/bin/true")
    if checker is None:
        known = {
            "Type",
            "ExecStart",
            "KillMode",
            "KillSignal",
            "TimeoutStopSec",
            "Restart",
            "RestartSec",
            "OOMPolicy",
        }
        known |= {"UMask", "StandardOutput", "LimitNOFILE", "Environment"}
        names = {
            line.partition("=")[0] for line in text.partition("[Service]")[2].splitlines() if "=" in line
        }
        assert {name for name in names if not name.startswith("#")} <= known | {"WantedBy"}
        return
    (tmp_path / UNIT.name).write_text(text)
    command = [checker, "--user", "verify", str(tmp_path / UNIT.name)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def arguments_of(service: Service, workspace: Path) -> Sequence[str]:
    """The words after `serve`, for this machine."""
    homes = ("%h", "/Users/me")
    return [str(workspace) if word in homes else word for word in service.command[2:]]


@SERVICES
async def test_a_restart_in_mid_turn_loses_nothing(tmp_path: Path, read: Callable[[], Service]) -> None:
    service = read()
    arguments = arguments_of(service, tmp_path)
    environment = {"PATH": service.path}
    async with open_server(tmp_path, arguments=arguments, environment=environment) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            accepted = await device.send("trip", ENDLESS)
            await device.wait_for("message")
            after = device.after("trip")
        hub = (await trio.to_thread.run_sync(hubs_of, server.data))["trip"]
        assert service.only_main
        os.kill(server.pid, service.stop_signal)
        with trio.fail_after(service.stop_s):
            assert await server.wait() == 0  # a good end: neither manager starts it again by itself
        assert hub.is_running()
        assert hub.status() != psutil.STATUS_ZOMBIE
        await server.restart()
        async with server.device() as device:
            await device.attach("trip", after=after)
            await device.wait_for("message")
            end = await end_turn(device, "trip")
            async with server.device() as late:
                await late.attach("trip")
                await late.wait_for("interrupted", start=0)
                assert words_of(late.text("trip", end["turn_id"])) > 1
            again = await device.send("trip", ENDLESS, message_id=accepted["message_id"])
            assert again["duplicate"] is True
        assert (await trio.to_thread.run_sync(hubs_of, server.data))["trip"] == hub
