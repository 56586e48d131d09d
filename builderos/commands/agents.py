"""`builderos agents`: lists known agents, writes the table of one into the config, starts one and says what it is."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from bridgehub.agents.acp.known import KNOWN, KnownAgent
from builderos.agent_checks import examine_agent
from builderos.client.terminal import one_line
from builderos.config import AcpAgent, Agent, ConfigError, config_path, load_config, parse_config
from builderos.exit_status import FAILED, MISUSED, OK, fail
from builderos.options import as_path

if TYPE_CHECKING:
    from bridgehub.agents.acp.offer import AcpOffer
    from bridgehub.agents.acp.start import Greeting
    from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["add_agents", "add_table", "check_agent", "list_agents"]

NAME_WIDTH: Final = max(map(len, KNOWN))

CHECK_S: Final = 90.0
"""How long an agent may take to say what it is."""

MAX_LISTED: Final = 20
"""Names in one line of the report."""


def add_agents(parser: argparse.ArgumentParser) -> None:
    """Add the options of `agents`."""
    parser.add_argument(
        "act", nargs="?", choices=("list", "add", "check"), default="list", help="(default: %(default)s)"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the agent, for add and check")
    parser.add_argument(
        "--config", type=as_path, metavar="FILE", help="config file (default: config.toml in the data folder)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.act == "list":
        if arguments.name is not None:
            return fail("agents list takes no name", MISUSED)
        return list_agents(os.environ)
    if arguments.name is None:
        return fail(f"agents {arguments.act} needs the name of an agent", MISUSED)
    try:
        if arguments.act == "add":
            return add_table(arguments.name, arguments.config or arguments.data / "config.toml")
        return check_agent(arguments.name, config_path(arguments.config, arguments.data), os.environ)
    except ConfigError as error:
        return fail(str(error), MISUSED)


# ---- list ----


def list_agents(environment: Mapping[str, str]) -> int:
    """Print a line for each known agent."""
    for one in KNOWN.values():
        found = shutil.which(one.command[0], path=environment.get("PATH"))
        state = "not installed" if found is None else "installed"
        sys.stdout.write(f"{one.name:{NAME_WIDTH}}  {state:13}  {one.install}  |  {one.line()}\n")
    return OK


# ---- add ----


def add_table(name: str, path: Path) -> int:
    """Write the table of a known agent into a config file, which is made if it is missing.

    Raises:
        ConfigError: the file as it is cannot be used.
    """
    known = KNOWN.get(name)
    if known is None:
        return fail(f"{one_line(name, 100)} is not among the known agents: {', '.join(KNOWN)}", MISUSED)
    before = ""
    if path.exists():
        if name in load_config(path).agents:
            return fail(f"{path} has a table agents.{name} already")
        before = path.read_text(encoding="utf-8")
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    text = before + gap + known.table()
    parse_config(text)
    try:
        _write(path, text)
    except OSError as error:
        return fail(f"{path}: {error.strerror}")
    sys.stdout.write(f"{path} now has the table agents.{name}. Start the server again to use it.\n")
    if shutil.which(known.command[0]) is None:
        sys.stdout.write(f"{known.command[0]} is not installed. Install it: {known.install}\n")
    return OK


def _write(path: Path, text: str) -> None:
    """Replace the file whole. It may hold secrets, so a new one is for its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if target.exists():
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# ---- check ----


def check_agent(name: str, path: Path | None, environment: Mapping[str, str]) -> int:
    """Start an agent and print what it is; return 1 if it cannot be used. Raises ConfigError."""
    agents = load_config(path).agents
    agent = agents.get(name) or _of_known(KNOWN.get(name))
    if agent is None:
        names = ", ".join(dict.fromkeys([*agents, *KNOWN]))
        return fail(f"there is no agent {one_line(name, 100)}; there are: {names}", MISUSED)
    if isinstance(agent, AcpAgent):
        return trio.run(_check, name, agent, dict(environment))
    findings = list(examine_agent(name, agent, {**environment, **agent.env}, Path.home()))
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    return FAILED if any(finding.fix for finding in findings) else OK


def _of_known(known: KnownAgent | None) -> Agent | None:
    return None if known is None else AcpAgent(command=known.command, env=dict(known.env))


async def _check(name: str, agent: AcpAgent, environment: dict[str, str]) -> int:
    from bridgehub.protocol.hub_spec import HubSpec
    from builderos.server.hub_specs import agent_environment

    with tempfile.TemporaryDirectory(prefix="builderos-check-") as folder:
        spec = HubSpec(
            hub_id=f"check-{os.getpid()}",
            session_id="check",
            agent=name,
            kind=agent.kind,
            folder=folder,
            socket="",
            workspace=folder,
            env={**agent_environment(environment), **agent.env},
            options={"command": list(agent.command)},
            agent_session_id="check",
            start_s=agent.start_s,
        )
        limit_s = max(CHECK_S, 2 * agent.start_s)  # a start and a new conversation
        with trio.move_on_after(limit_s):
            return await _look(spec)
    return fail(f"{name} did not answer within {limit_s:g} s")


async def _look(spec: HubSpec) -> int:
    from bridgehub.agents.acp.offer import AcpOffer
    from bridgehub.agents.acp.start import greet, new_session, open_program
    from bridgehub.agents.errors import NotSignedIn, ProgramError

    try:
        program = await open_program(spec, spec.hub_id, lambda message: None)
    except ProgramError as error:
        return fail(str(error))
    try:
        greeting = await greet(program, spec)
        _say_greeting(spec, greeting)
        _, told = await new_session(program, spec, greeting, [])
        offer = AcpOffer()
        offer.read_session(told)
        offer.note_defaults()
        _say_offer(offer)
    except NotSignedIn as error:
        return fail(str(error))
    except ProgramError as error:
        return fail(f"{spec.agent} cannot be used: {error}")
    finally:
        with trio.move_on_after(5.0, shield=True):
            await program.aclose()
    return OK


def _say_greeting(spec: HubSpec, greeting: Greeting) -> None:
    info = greeting.info
    version = info.text("version") or "of a version that it does not tell"
    _say(f"{spec.agent}: {info.text('title') or info.text('name') or spec.agent} {version}")
    _say(f"protocol: version {greeting.version}")
    later = "resumed" if greeting.resumes else "loaded" if greeting.loads else "given again as text"
    _say(f"earlier conversations: {later}")
    takes = [
        word for word, kind in (("images", "image"), ("files", "embeddedContext")) if greeting.takes(kind)
    ]
    _say(f"takes: {', '.join(['text', *takes])}")


def _say_offer(offer: AcpOffer) -> None:
    _say("signed in: yes, it began a conversation")
    told = offer.told()
    for name, entries in (("modes", told["modes"]), ("models", told["models"])):
        listed = [str(one["name"]) for one in entries]
        more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
        _say(f"{name}: {', '.join(listed[:MAX_LISTED]) or 'no choice'}{more}")


def _say(line: str) -> None:
    sys.stdout.write(f"{one_line(line, 1000)}\n")
