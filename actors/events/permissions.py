"""What an agent asks a person, and what was decided."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs

__all__ = ["Decision", "PermissionRequested", "PermissionResolved", "RequestKind"]

Decision = Literal["allow", "deny", "allow_session", "cancelled"]


RequestKind = Literal["command", "edit", "read", "fetch", "mcp", "plan", "question", "trust", "other"]


@attrs.frozen
class PermissionRequested:
    """The agent waits for a person.

    Attributes:
        questions: if it asks something rather than for a right.
        grant: what `allow_session` allows from now on, in words; None: no more than this call.
        task_id: the delegated task that asks, None for the session's own agent.
        about: what the request is about; the `kind` of its frame.
        title: one line of plain words; empty in requests of earlier versions.
        modes: the modes under which the agent would not have asked.
        diff: what an edit changes, as file entries.
        editable: fields of `input` that a decision may change.
        denying: those of the agent's own options that deny; no device sees them.
    """

    kind: ClassVar[str] = "permission_requested"
    request_id: str
    tool: str
    input: Any
    options: tuple[str, ...]
    questions: Any = None
    grant: str | None = None
    task_id: str | None = None
    about: RequestKind = "other"
    title: str = ""
    modes: tuple[str, ...] = ()
    diff: Any = None
    editable: tuple[str, ...] = ()
    denying: tuple[str, ...] = ()


@attrs.frozen
class PermissionResolved:
    """A request is answered, or cancelled with its turn. `by_device` is None if nobody decided.

    Attributes:
        input: fields of the request's input as the person changed them; None: it ran as it was asked.
        mode: the mode that the person switched to along with the answer.
        option: the agent's own option that the person chose, by its label.
    """

    kind: ClassVar[str] = "permission_resolved"
    request_id: str
    decision: Decision
    by_device: str | None
    note: str | None = None
    answers: Any = None
    input: Any = None
    mode: str | None = None
    option: str | None = None
