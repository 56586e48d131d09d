"""What a fresh machine gets: pinned requirements that agree with each other and with pyproject.toml."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("push", "terminal", "claude", "codex", "dev", "audit")
FILES = ("requirements.txt", *(f"requirements-{extra}.txt" for extra in EXTRAS))

PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+]+( ; [^\\\\]+)?( --hash=sha256:[0-9a-f]{64})+")

HOLE = re.compile(
    r"^\| (?P<name>[a-z0-9-]+) \| (?P<ids>[A-Z0-9, -]+) \| (?P<fixed>[0-9.]+) \|$", re.MULTILINE
)
"""A line of the table of known holes in docs/internals/dependencies.md."""


def lines_of(file: str) -> list[str]:
    """Return the file's lines, each with those that continue it."""
    return re.sub(r" *\\\n *", " ", (ROOT / file).read_text()).splitlines()


def pins_of(file: str) -> list[Requirement]:
    return [Requirement(line.partition(" --hash")[0]) for line in lines_of(file)]


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
def test_holds_pins_with_hashes_and_nothing_else(file: str) -> None:
    assert [line for line in lines_of(file) if not PIN.fullmatch(line)] == []


def test_no_version_with_a_known_hole_is_allowed() -> None:
    holes = list(HOLE.finditer((ROOT / "docs" / "internals" / "dependencies.md").read_text()))
    assert len(holes) >= 8, "the table is read"
    bounds = {str(canonicalize_name(one.name)): one for extra in (None, *EXTRAS) for one in wanted(extra)}
    bounds |= {one.name: one for one in map(Requirement, build_requires())}
    pins = {str(canonicalize_name(pin.name)): pin for file in FILES for pin in pins_of(file)}
    for hole in holes:
        fixed = Version(hole["fixed"])
        least = [
            Version(one.version) for one in bounds[hole["name"]].specifier if one.operator in {">=", "=="}
        ]
        assert least, hole["name"]
        assert max(least) >= fixed, f"{hole['name']}: the bound lets in {hole['ids']}"
        assert Version(next(iter(pins[hole["name"]].specifier)).version) >= fixed, hole["name"]


def build_requires() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["build-system"]["requires"])


def test_the_makefile_installs_by_hash_only() -> None:
    installs = [line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line]
    assert installs
    assert [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line] == []


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
    assert set(asked["devDependencies"]) == {"axe-core", "prettier", "typescript"}
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
