"""`python -m bench.peers [NAME…] [--quick]`: this server beside others, in one table; `make bench-peers` installs them.

It runs in a network of its own that has nothing but loopback, so that no program reaches anything else. Without
`unshare` it refuses, unless `--any-network` says that this does not matter.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import orjson
import trio

from bench.errors import BenchError, one_line
from bench.peers.kinds import PROGRAMS, Bare, BuilderOS, Hapi, OpenCode
from bench.peers.measure import Results, Sizes, measure
from bench.peers.servers import PeerServer, running
from bench.peers.table import markdown
from bench.processes import ROOT, environment, open_child
from tests.real_agents.rig import opencode_home
from tests.standin.anthropic import standin_env

__all__ = ["main"]

KINDS: dict[str, type[PeerServer]] = {
    "bare": Bare,
    "builderos": BuilderOS,
    "opencode": OpenCode,
    "hapi": Hapi,
}

_INSIDE = "BENCH_PEERS_INSIDE"
_PORT = 18_900


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*KINDS, []], help=", ".join(KINDS))
    parser.add_argument("--quick", action="store_true", help="few words, to see whether all works")
    parser.add_argument("--any-network", action="store_true", help="stay in this network")
    arguments = parser.parse_args(words)
    if not arguments.any_network and _INSIDE not in os.environ:
        return _inside(sys.argv[1:] if words is None else words)
    sizes = Sizes(60, 20, 20, 500, 2) if arguments.quick else Sizes()
    try:
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            results = trio.run(partial(_measure, arguments.names or list(KINDS), sizes, Path(folder)))
    except (BenchError, BaseExceptionGroup, OSError) as error:
        sys.stderr.write(f"bench: not measured: {one_line(error)}\n")
        return 1
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    sys.stdout.write(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors, load {load}\n\n")
    sys.stdout.write(markdown(list(results), results) + "\n")
    return 0


def _inside(words: Sequence[str]) -> int:
    """Run again in namespaces of its own: a network with loopback alone, and processes that end with it."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        sys.stderr.write("bench: unshare and ip are missing; --any-network measures without them\n")
        return 2
    again = 'ip link set lo up && exec "$0" -m bench.peers "$@"'
    spaces = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--map-root-user"]
    command = [*spaces, "sh", "-c", again, sys.executable, *words]
    return subprocess.run(command, env={**environment(), _INSIDE: "1"}, cwd=ROOT, check=False).returncode


async def _measure(names: Sequence[str], sizes: Sizes, folder: Path) -> dict[str, Results]:
    results = {}
    for number, name in enumerate(names):
        place = folder / name
        place.mkdir()
        log = place / "model.log"
        log.touch()
        async with open_child(f"{name} stand-in", ["-m", "bench.peers.standin", str(log)], place) as standin:
            url = await standin.line()
            async with running(KINDS[name](place, _env(name, place, url), _PORT + number)) as server:
                results[f"{name} {_version(name)}".strip()] = await measure(name, server, log, sizes, _say)
    return results


def _env(name: str, place: Path, url: str) -> dict[str, str]:
    home = place / "home"
    if name == "opencode":
        home.mkdir()
        return opencode_home(home, url)
    env = standin_env(url, str(home))
    return {**env, "PYTHONPATH": str(ROOT)} if name == "builderos" else env


def _version(name: str) -> str:
    package = {"opencode": "opencode-ai", "hapi": "@twsxtd/hapi"}.get(name)
    if package is None:
        return ""
    return str(orjson.loads((PROGRAMS / package / "package.json").read_bytes())["version"])


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


if __name__ == "__main__":
    sys.exit(main())
