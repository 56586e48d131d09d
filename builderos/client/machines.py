"""Where a session runs, in the words that people read: several servers may share one list of sessions. Pure.

A machine is what lists, `attached` and `GET /api/nodes` have of it: `id`, perhaps a `name`, and its `state`, which is
`here`, `there` or `away`. None is a server that has all sessions for itself; of that nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

__all__ = [
    "at_machine",
    "is_away",
    "machine_rows",
    "machine_words",
    "machines_of",
    "wait_words",
    "with_machines",
]

Machine = Mapping[str, Any]


def machines_of(answer: Mapping[str, Any]) -> list[Machine]:
    """Return the machines of an answer to `GET /api/nodes`; empty if there is nothing to choose."""
    nodes = answer.get("nodes")
    found = nodes if isinstance(nodes, list) else []
    known: list[Machine] = [one for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)]
    return known if len(known) > 1 else []


def machine_rows(machines: Sequence[Machine]) -> list[tuple[str, str, Machine]]:
    """Return the machines that one can choose now: what each is called, a hint, and the machine."""
    alive = [one for one in machines if not is_away(one)]
    return [(_name(one), "this server" if one.get("state") == "here" else "", one) for one in alive]


def at_machine(path: str, machine: Machine | None, **query: object) -> str:
    """Return a path of the HTTP API with its query, for one machine if one was chosen."""
    fields = query | ({"node": machine["id"]} if machine else {})
    return f"{path}?{urlencode(fields)}" if fields else path


def with_machines(
    headings: Sequence[str], rows: Sequence[Sequence[Any]], sessions: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Return a table of sessions with a column for the machine before the last one, if several share the list."""
    if not any(one.get("machine") for one in sessions):
        return headings, rows
    words = [machine_words(one.get("machine")) for one in sessions]
    cells = [[*row[:-1], word, row[-1]] for row, word in zip(rows, words, strict=True)]
    return [*headings[:-1], "MACHINE", headings[-1]], cells


def machine_words(machine: object) -> str:
    """Return what to say of a session's machine; empty if the server has all sessions for itself."""
    name = _name(machine)
    return f"{name} is away" if name and is_away(machine) else name


def wait_words(machine: object) -> str:
    """Return what to say of a message that the server does not have yet."""
    return f"waits for {_name(machine)}" if is_away(machine) else "waiting to send"


def is_away(machine: object) -> bool:
    """Return whether a machine does not run, or cannot be reached."""
    return isinstance(machine, Mapping) and machine.get("state") == "away"


def _name(machine: object) -> str:
    return str(machine.get("name") or machine.get("id") or "") if isinstance(machine, Mapping) else ""
