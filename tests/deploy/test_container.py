"""The image's build file and the Compose file: their syntax, and that everything that they name is there.

No engine runs here. What the scripts of the database do is tested on a real PostgreSQL, in `tests/postgres/test_deploy.py`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml  # type: ignore[import-untyped]

from builderos.cli import COMMANDS
from builderos.config import parse_config
from builderos.server.server import SHUTDOWN_S
from tests.support.server import ROOT, open_server

DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "user" / "several-machines.md"

INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    """Return the lines of the build file: what each is, and the rest of it."""
    text = (DEPLOY / "Containerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def last(name: str) -> str:
    return [rest for word, rest in instructions() if word == name][-1]


def words_of(text: str) -> list[str]:
    """Return the words of an instruction in its JSON form, which no shell reads."""
    found: list[str] = yaml.safe_load(text)
    return found


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def options_of(words: list[str]) -> argparse.Namespace:
    """Return what our own command line understands."""
    command, *options = words
    subcommand = COMMANDS[command]
    parser = argparse.ArgumentParser(exit_on_error=False)
    subcommand.fill(parser)
    return parser.parse_args(options)


def nodes() -> dict[str, Any]:
    return {name: one for name, one in compose()["services"].items() if name.startswith("node")}


# ---- the image ----


def test_each_instruction_is_one_and_each_file_is_there() -> None:
    assert {word for word, _ in instructions()} <= INSTRUCTIONS
    copied = [rest.split() for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    sources = {source for *sources, _ in copied for source in sources}
    assert {name for name in sources if not (ROOT / name).exists()} == set()
    kept = (DEPLOY / "Containerfile.dockerignore").read_text().split()
    assert {one[1:] for one in kept if one.startswith("!")} == sources, "what is copied, and nothing else"


def test_what_a_server_imports_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {rest.split()[0] for word, rest in instructions() if word == "COPY"}
    assert packages <= copied
    assert project["project"]["readme"] in next(rest for _, rest in instructions() if "pyproject" in rest)


@pytest.mark.parametrize("agents", ["claude codex", "claude", ""])
def test_the_sets_that_are_installed(agents: str, tmp_path: Path) -> None:
    """The loop of the build, with a program in pip's place that prints what it is asked to install."""
    step = next(rest for word, rest in instructions() if word == "RUN" and "pip install" in rest)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" | grep "^requirements"\n')
    python.chmod(0o755)
    loop = step.partition("&&")[2].replace("/opt/builderos/bin/python", str(python))
    done = subprocess.run(
        ["sh", "-c", loop], env={**os.environ, "AGENTS": agents}, capture_output=True, text=True, check=True
    )
    sets = ["", "-push", "-postgres", "-terminal", *(f"-{name}" for name in agents.split())]
    assert done.stdout.split() == [f"requirements{one}.txt" for one in sets]
    assert all((ROOT / name).exists() for name in done.stdout.split())


def test_the_server_is_nobody_of_importance_and_ends_in_time() -> None:
    assert last("USER") == "builderos"
    assert last("STOPSIGNAL") == "SIGTERM"
    options = options_of(words_of(last("CMD")))
    assert (options.host, str(options.port)) == ("0.0.0.0", last("EXPOSE"))
    assert last("WORKDIR").startswith(last("VOLUME")), "the workspace is kept too"


def test_the_key_is_in_no_log_of_an_engine(tmp_path: Path) -> None:
    """What the server prints to stdout goes nowhere; its errors, options and signals pass."""
    server = tmp_path / "builderos"
    server.write_text('#!/bin/sh\necho the key\nprintf "%s|" "$@" $$ >&2\n')
    server.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [*words_of(last("ENTRYPOINT")), *words_of(last("CMD")), "two words"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        told, errors = process.communicate(timeout=30)
    assert told == b""
    assert errors.decode().split("|")[:-1] == [*words_of(last("CMD")), "two words", str(process.pid)]


async def test_the_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    command = words_of(last("HEALTHCHECK").partition("CMD ")[2])
    assert f":{last('EXPOSE')}/api/health" in command[-1]

    async def status(url: str) -> int:
        words = [one.replace("http://127.0.0.1:8080", url) for one in command]
        done = await trio.run_process(words, check=False, capture_stderr=True)
        return done.returncode

    async with open_server(tmp_path) as server:
        url = server.url
        assert await status(url) == 0
    assert await status(url) != 0


# ---- Compose ----


def test_everything_that_a_service_names_is_there() -> None:
    file = compose()
    services = file["services"]
    for name, one in services.items():
        assert set(one.get("depends_on", {})) <= set(services), name
        assert set(one["secrets"]) <= set(file["secrets"]), name
        for volume in one["volumes"]:
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in file["volumes"], volume
        if "build" in one:
            assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).is_file()
    assert (ROOT / ".gitignore").read_text().split().count("deploy/secrets/") == 1


def test_no_secret_is_in_a_command_or_the_environment() -> None:
    file = compose()
    for name, one in file["services"].items():
        for key, value in one.get("environment", {}).items():
            if re.search("PASS|KEY|SECRET|TOKEN", key):
                assert key.endswith("_FILE"), (name, key)
                assert value.removeprefix("/run/secrets/") in one["secrets"]
        assert not re.search(r"password=|://[^/]*:[^/]*@", str(one)), name
    assert all(set(one) == {"file"} for one in file["secrets"].values())


def test_services_have_no_rights_that_they_do_not_need() -> None:
    for name, one in compose()["services"].items():
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", ())), name
        assert "privileged" not in one
        assert one.get("user", "of the image") != "root", name


def test_the_commands_of_the_nodes() -> None:
    found = nodes()
    assert len(found) == 2
    for name, one in found.items():
        options = options_of(one["command"])
        assert options.node == name, "a name of its own"
        assert str(options.config).removeprefix("/run/secrets/") in one["secrets"]
        assert one["ports"][0].endswith(f":{options.port}")
        assert float(one["stop_grace_period"].removesuffix("s")) > SHUTDOWN_S
        assert one["init"] is True, "somebody must take what agents leave behind"
    hosts = {one["ports"][0].rpartition(":")[0] for one in found.values()}
    assert len(hosts) == 2


def commands() -> str:
    """Return the set-up of the page."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return next(one for one in blocks if "compose up" in one)


def test_the_secrets_are_made_as_the_page_says(tmp_path: Path) -> None:
    """With the page's own lines; the config that comes out of them is one, and leads to both databases."""
    if shutil.which("openssl") is None:
        (tmp_path / "openssl").write_text("#!/bin/sh\nod -An -tx1 -N24 /dev/urandom | tr -d ' \\n'\n")
        (tmp_path / "openssl").chmod(0o755)
    lines = [line for line in commands().splitlines() if "docker" not in line and "cd " not in line]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=tmp_path, env=environment, check=True)
    made = {one.name: one.read_text().strip() for one in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(compose()["secrets"])
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    database = parse_config(made["builderos.toml"]).database
    assert database.url == f"postgresql://builderos:{made['database_password']}@db1,db2/builderos"
    assert len({made[name] for name in made if name.endswith("password")}) == 3


@pytest.mark.parametrize("script", sorted((DEPLOY / "postgres").glob("*.sh")), ids=lambda one: one.name)
def test_bash_understands_the_scripts(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "set -euo pipefail" in script.read_text()
