"""Classes are lighter, and mean the same. A new version of attrs that looks otherwise inside fails here."""

from __future__ import annotations

import linecache
import subprocess
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attr._make
import attrs
import pytest

from builderos.server.process.light_libraries import SourcesOfFiles, make_classes_light

_COUNT = """
import linecache
import attrs
from builderos.server.process.light_libraries import load_websockets, make_classes_light
make_classes_light()
load_websockets()
before = set(linecache.cache)
import builderos.server.run
from builderos.config import Config
print(sum(name.startswith("<") for name in set(linecache.cache) - before))
print(Config.__repr__.__code__.co_filename.endswith("light_libraries.py"), type(attrs.fields(Config)).__name__)
print("importlib.metadata" in __import__("sys").modules, __import__("importlib.metadata").metadata.version("attrs"))
"""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> SourcesOfFiles:
    made = SourcesOfFiles()
    monkeypatch.setattr(linecache, "cache", made)
    return made


def test_no_generated_source_is_kept(cache: SourcesOfFiles) -> None:
    @attrs.frozen
    class Point:
        x: int
        y: int = 2

    assert Point(1) == Point(1, 2)
    assert cache == {}


def test_a_traceback_through_generated_code_shows_files(cache: SourcesOfFiles) -> None:
    def refuse(_self: Any, _attribute: Any, _value: Any) -> None:
        raise ValueError("refused")

    @attrs.define
    class Checked:
        x: int = attrs.field(validator=refuse)

    with pytest.raises(ValueError, match="refused") as raised:
        Checked(1)
    text = "".join(traceback.format_exception(raised.value))
    assert 'raise ValueError("refused")' in text
    assert "in __init__" in text


def test_lines_of_files_are_kept(cache: SourcesOfFiles, tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("first\nsecond\n")
    assert linecache.getline(str(file), 2) == "second\n"
    assert list(cache) == [str(file)]


def test_the_server_s_modules_have_light_classes() -> None:
    found = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True)
    assert found.stdout == f"0\nTrue _Fields\nFalse {version('attrs')}\n"


def make_all() -> list[type[Any]]:
    """Return classes of each kind that a server has, made by attrs as it is now."""

    @attrs.frozen
    class Base:
        x: int
        key: str = attrs.field(default="secret", repr=False)

    @attrs.define
    class More(Base):
        y: object = attrs.field(factory=list, repr=lambda value: f"<{value}>")

    @attrs.define(eq=False)
    class Owner:
        _name: str
        made: int = attrs.field(init=False)
        other: object = None

    @attrs.frozen(repr=False)
    class Hidden(Base):
        password: str = "geheim"

    class Plain(Base):
        pass

    return [Base, More, Owner, Hidden, Plain]


def show_all(classes: list[type[Any]]) -> list[object]:
    base, more, owner, hidden, plain = classes
    loop = owner("a")
    loop.made, loop.other = 1, [loop]
    fields = attrs.fields(more)
    return [
        *map(repr, (base(1), more(2, y={}), owner("b", 3), loop, hidden(4), plain(5), base([base(6)]))),
        *(field.name for field in fields),
        (fields.y.name, fields.key.repr, hasattr(fields, "z"), fields[0] is fields.x),
        (
            base(1) == base(1),
            hash(base(1)) == hash(base(1)),
            attrs.asdict(more(1)),
            attrs.evolve(base(1), x=2).x,
        ),
        sorted(attrs.fields_dict(hidden)),
    ]


def test_light_classes_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = show_all(make_all())
    monkeypatch.setattr(linecache, "cache", linecache.cache)
    for place, name in ((attr._make, "_make_attr_tuple_class"), (attr._make._ClassBuilder, "add_repr")):
        monkeypatch.setattr(place, name, getattr(place, name))
    make_classes_light()
    classes = make_all()
    assert show_all(classes) == before
    assert {type(attrs.fields(one)).__name__ for one in classes} == {"_Fields"}
    assert classes[0].__repr__.__code__ is classes[1].__repr__.__code__
    assert "geheim" not in repr(classes[3](4))
