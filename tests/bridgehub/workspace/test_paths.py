"""A path below a workspace leads to what lies there, and never out of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bridgehub.workspace.paths import PathRefused, open_file, open_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with traps, and secrets beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "workspace-other").mkdir()
    (tmp_path / "workspace-other" / "secret.txt").write_text("secret")
    made = tmp_path / "workspace"
    (made / "src" / "deep").mkdir(parents=True)
    (made / "src" / "a.txt").write_text("inside")
    links = {
        "up": "..",
        "file_out": "../secret.txt",
        "absolute": str(tmp_path / "secret.txt"),
        "root": "/",
        "proc": "/proc",
        "etc": "/etc/passwd",
        "loop": "loop",
        "loop_a": "loop_b",
        "loop_b": "loop_a",
        "chain1": "chain2",
        "chain2": "src/deep/chain3",
        "src/deep/chain3": "../../../secret.txt",
        "src/deep/up": "../../..",
        "beside": str(tmp_path / "workspace-other"),
        "self": "/proc/self/root",
        "dangling": "nowhere",
        "null": "/dev/null",
        "inside": "src/a.txt",
        "inside_absolute": str(made / "src"),
        "src/deep/back": "../../src/a.txt",
    }
    for name, target in links.items():
        (made / name).symlink_to(target)
    os.mkfifo(made / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(made)
        try:
            listener.bind("socket")
        finally:
            os.chdir(before)
    return made


def content(root: Path, path: str) -> bytes:
    descriptor, _ = open_file(str(root), path)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


WRONG = {
    "..": "outside",
    "../": "outside",
    "../secret.txt": "outside",
    "src/../../secret.txt": "outside",
    "./../secret.txt": "outside",
    "src/deep/../../../secret.txt": "outside",
    "../workspace/src/a.txt": "outside",
    "/": "outside",
    "/etc/passwd": "outside",
    "//etc/passwd": "outside",
    "/proc/self/environ": "outside",
    "up/secret.txt": "outside",
    "up": "outside",
    "file_out": "outside",
    "absolute": "outside",
    "root/etc/passwd": "outside",
    "root": "outside",
    "proc/self/environ": "outside",
    "etc": "outside",
    "loop": "outside",
    "loop_a": "outside",
    "chain1": "outside",
    "src/deep/chain3": "outside",
    "src/deep/up/secret.txt": "outside",
    "beside/secret.txt": "outside",
    "self/etc/passwd": "outside",
    "null": "outside",
    "src\0/a.txt": "bad_path",
    "\0": "bad_path",
    "a/" * 2048 + "b": "bad_path",
    "dangling": "missing",
    "nothing": "missing",
    "src/nothing": "missing",
    "src/a.txt/b": "missing",
    "src/a.txt/": "missing",
    "src/a.txt/..": "missing",
    "n" * 300: "missing",
    "...": "missing",
    "src": "not_a_file",
    "": "not_a_file",
    ".": "not_a_file",
    "fifo": "not_a_file",
    "socket": "not_a_file",
    "inside_absolute": "not_a_file",
}


assert len(WRONG) >= 40


@pytest.mark.parametrize(("path", "code"), WRONG.items(), ids=lambda one: one[:30].replace("\0", "NUL"))
def test_a_wrong_path_is_refused_in_words(root: Path, path: str, code: str) -> None:
    with pytest.raises(PathRefused) as refused:
        content(root, path)
    assert refused.value.code == code
    assert str(refused.value).endswith(".")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "path",
    ["src/a.txt", "./src//a.txt", "src/deep/../a.txt", "inside", "inside_absolute/a.txt", "src/deep/back"],
)
def test_a_path_that_stays_inside_leads_to_its_file(root: Path, path: str) -> None:
    assert content(root, path) == b"inside"


def test_a_workspace_behind_a_link_is_followed(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    assert content(root.parent / "link", "src/a.txt") == b"inside"


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = sorted(os.listdir("/dev/fd"))
    for path in [*WRONG, "inside"]:
        try:
            content(root, path)
        except PathRefused:
            continue
    with open_folder(str(root), "inside_absolute"):
        pass
    assert sorted(os.listdir("/dev/fd")) == before


def test_a_file_is_no_folder(root: Path) -> None:
    with pytest.raises(PathRefused) as refused, open_folder(str(root), "src/a.txt"):
        pass
    assert refused.value.code == "not_a_folder"
