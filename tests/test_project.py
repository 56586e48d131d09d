"""What a fresh machine gets: pinned requirements that agree with each other and with pyproject.toml."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("claude", "codex", "dev")
FILES = ("requirements.txt", *(f"requirements-{extra}.txt" for extra in EXTRAS))

PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+]+( ; .+)?")


def lines_of(file: str) -> list[str]:
    return (ROOT / file).read_text().splitlines()


def pins_of(file: str) -> list[Requirement]:
    return [Requirement(line) for line in lines_of(file)]


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def wanted(extra: str | None) -> list[Requirement]:
    table = project()
    lists = [table["dependencies"]]
    if extra is not None:
        extras = table["optional-dependencies"]
        assert isinstance(extras, dict)
        lists.append(extras[extra])
    return [Requirement(text) for names in lists if isinstance(names, list) for text in names]


@pytest.mark.parametrize("file", FILES)
def test_holds_pins_and_nothing_else(file: str) -> None:
    assert [line for line in lines_of(file) if not PIN.fullmatch(line)] == []


@pytest.mark.parametrize(
    ("file", "extra"),
    [("requirements.txt", None), *((f"requirements-{extra}.txt", extra) for extra in EXTRAS)],
)
def test_covers_pyproject(file: str, extra: str | None) -> None:
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)) for pin in pins_of(file)}
    for requirement in wanted(extra):
        pin = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version), requirement


def test_files_agree() -> None:
    versions: dict[str, set[str]] = {}
    for file in FILES:
        for pin in pins_of(file):
            versions.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier))
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_pins_the_build_backend() -> None:
    assert any(pin.name == "setuptools" for pin in pins_of("requirements.txt"))


def test_dev_tools_pin_what_the_makefile_calls() -> None:
    names = {canonicalize_name(pin.name) for pin in pins_of("requirements-dev.txt")}
    assert {"pytest", "pytest-trio", "mypy", "ruff", "flake8-async"} <= names


def test_npm_packages_are_pinned_and_name_no_address() -> None:
    asked = json.loads((ROOT / "package.json").read_text())
    assert set(asked["devDependencies"]) == {"typescript", "axe-core"}
    assert "dependencies" not in asked, "nothing of npm is served"
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for name, version in asked["devDependencies"].items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert name == "" or package["integrity"].startswith("sha512-"), name


def test_the_web_client_goes_into_a_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        tool = tomllib.load(file)["tool"]["setuptools"]
    assert tool["package-data"]["transport"] == ["web/**"]
    assert tool["packages"]["find"]["namespaces"] is False
