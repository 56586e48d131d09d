"""`python -m bench [PART…] [--check] [--json FILE] [--quick]`, and `python -m bench profile`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import apsw
import attrs
import orjson
import trio

from bench.agents.cold import measure_cold
from bench.agents.warm_turns import measure_claude, measure_codex
from bench.boot import measure_boot
from bench.errors import BenchError, NotInstalled, one_line
from bench.many.measure import measure_many
from bench.memory.idle import measure_hubs, measure_memory
from bench.memory.work import measure_after_work
from bench.nodes.measure import measure_nodes
from bench.path import measure_path
from bench.plan import Plan
from bench.profile.run import profile
from bench.report import Row, as_json, missed, table
from bench.terminal.measure import measure_terminal

__all__ = ["main"]

PARTS = {
    "path": measure_path,
    "claude": measure_claude,
    "codex": measure_codex,
    "boot": measure_boot,
    "memory": measure_memory,
    "after-work": measure_after_work,
    "hub": measure_hubs,
    "cold": measure_cold,
    "many": measure_many,
    "terminal": measure_terminal,
    "nodes": measure_nodes,
}

EXIT_BROKEN = 1
EXIT_MISSED = 3

_LIBRARIES = ("trio", "trio-websocket", "apsw", "attrs", "cattrs", "orjson")
_AGENTS = ("claude-agent-sdk", "openai-codex-cli-bin")


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 1 where something could not be measured, with one line."""
    arguments = _parser().parse_args(words)
    plan = Plan.quick() if arguments.quick else Plan()
    if arguments.pairs is not None:
        plan = attrs.evolve(plan, pairs=arguments.pairs)
    if arguments.words is not None:
        plan = attrs.evolve(plan, words=arguments.words)
    named = bool(arguments.parts)
    parts = arguments.parts or list(PARTS)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            if "profile" in parts:
                sys.stdout.write(trio.run(partial(profile, plan, folder, arguments.how, _say)) + "\n")
                return 0
            rows, left_out = trio.run(partial(_measure, parts, plan, folder, skip=not named))
        return _report(rows, left_out, arguments)
    except (BenchError, BaseExceptionGroup, OSError) as error:
        sys.stderr.write(f"bench: not measured: {one_line(error)}\n")
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_BROKEN


async def _measure(
    parts: Sequence[str], plan: Plan, folder: Path, *, skip: bool
) -> tuple[list[Row], list[NotInstalled]]:
    """Return the rows of all parts, and why parts were left out; without `skip` none may be."""
    await trio.lowlevel.checkpoint()
    rows: list[Row] = []
    left_out: list[NotInstalled] = []
    for part in parts:
        try:
            rows += await PARTS[part](plan, folder, _say)
        except NotInstalled as error:
            if not skip:
                raise
            left_out.append(error)
    return rows, left_out


def _report(rows: Sequence[Row], left_out: Sequence[NotInstalled], arguments: argparse.Namespace) -> int:
    machine = _machine()
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in machine.items()) + "\n\n")
    sys.stdout.write(table(rows) + "\n")
    if arguments.json is not None:
        Path(arguments.json).write_bytes(orjson.dumps(as_json(rows, machine), option=orjson.OPT_INDENT_2))
    for error in left_out:
        sys.stderr.write(f"bench: left out: {one_line(error)}\n")
    names = missed(rows)
    if names and arguments.check:
        sys.stderr.write(f"bench: missed: {'; '.join(names)}\n")
        return EXIT_MISSED
    return EXIT_BROKEN if left_out and arguments.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure this server in one run.")
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        choices=[*PARTS, "profile", []],
        help=f"{', '.join(PARTS)}, profile",
    )
    parser.add_argument("--check", action="store_true", help="exit status 3 where a target is missed")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see whether all works")
    parser.add_argument("--pairs", type=int, metavar="N", help="counted pairs of runs (default 5)")
    parser.add_argument("--words", type=int, metavar="N", help="pieces of a throughput run (default 20,000)")
    parser.add_argument("--how", choices=["calls", "samples"], default="calls", help="for profile")
    return parser


def _machine() -> dict[str, str]:
    """Return what the figures depend on. No names: they are published."""
    load = os.getloadavg()[0]
    return {
        "cores": str(os.cpu_count()),
        "load at the end": f"{load:.2f}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        **{library: version(library) for library in _LIBRARIES},
        **{agent: found for agent in _AGENTS if (found := _version(agent))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _say(what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{what}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
