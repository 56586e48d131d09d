"""What nodes say to each other, and its form: JSON, so that who can write to the mail can name things but run nothing.
The bytes of a part stand behind its JSON, on a line of their own.

A mail that cannot be read raises `BadMail`; its reader leaves it out.
"""

from __future__ import annotations

from typing import Any, Final, get_args

import attrs
import orjson

from actors.commands import Author, Command
from actors.events.codec import CONVERTER
from actors.replies import Reply
from actors.tail import AttachedDevice, TransientUpdate

__all__ = [
    "AnswerMail",
    "BadMail",
    "CallMail",
    "ChangedMail",
    "CommandMail",
    "FollowMail",
    "FollowingMail",
    "MoreMail",
    "NodeMail",
    "NoteMail",
    "PartMail",
    "ReplyMail",
    "TailMail",
    "TakenMail",
    "decode_mail",
    "encode_mail",
]

VERSION: Final = 1


class BadMail(Exception):
    """These bytes are not a mail of this version."""


@attrs.frozen
class CommandMail:
    """A command for the home of a session. `key`: of this mail; the home does a command once, however often it comes."""

    key: str
    node: str
    session_id: str
    author: Author
    command: Command


@attrs.frozen
class TakenMail:
    """The home's owner of the session has a command, or refused it: `failure` says why.

    `failure`: empty, `missing`, `failed`, `shutting_down`, or `storage`; `retry_in_s` goes with `failed`.
    """

    key: str
    failure: str = ""
    content: str = ""
    retry_in_s: float = 0.0


@attrs.frozen
class ReplyMail:
    """The direct answer to a command. `others`: beside the view of a session, the devices of other nodes."""

    key: str
    reply: Reply
    others: tuple[AttachedDevice, ...] = ()


@attrs.frozen
class FollowMail:
    """Which devices of a node follow a session. `over`: it follows no more."""

    node: str
    session_id: str
    over: bool = False
    devices: tuple[AttachedDevice, ...] = ()


@attrs.frozen
class FollowingMail:
    """The sessions that a node follows, repeated while it does."""

    node: str
    session_ids: tuple[str, ...]


@attrs.frozen
class TailMail:
    """How far a session is at its home `node`, and what is new beside its events. `others`: the devices of other nodes.

    A session that moves has two homes one after the other, whose mail may come in any order.
    """

    node: str
    session_id: str
    epoch: int
    head_seq: int
    others: tuple[AttachedDevice, ...] = ()
    news: tuple[TransientUpdate, ...] = ()


@attrs.frozen
class ChangedMail:
    """Sessions whose entry in a list may have changed."""

    session_ids: tuple[str, ...]


@attrs.frozen
class NoteMail:
    """Something that a node lets others know (`actors.nodes.notes`)."""

    node: str
    what: str
    fields: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class CallMail:
    """A node call: what a node asks of another one beside commands. It is done once, however often it comes."""

    key: str
    node: str
    name: str
    fields: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class AnswerMail:
    """The answer to a call, or how it begins. `code`: empty, or why it was refused. `is_whole`: no part follows."""

    key: str
    code: str = ""
    content: str = ""
    head: dict[str, Any] = attrs.field(factory=dict)
    is_whole: bool = True


@attrs.frozen
class PartMail:
    """A part of an answer's body, the first one is number 0. `end`: empty, `last`, or `failed` if the rest is missing."""

    key: str
    number: int
    end: str = ""
    data: bytes = b""


@attrs.frozen
class MoreMail:
    """The asking node has room for what follows the first `taken` parts. `over`: it wants nothing any more."""

    key: str
    taken: int = 0
    over: bool = False


NodeMail = (
    CommandMail
    | TakenMail
    | ReplyMail
    | FollowMail
    | FollowingMail
    | TailMail
    | ChangedMail
    | NoteMail
    | CallMail
    | AnswerMail
    | PartMail
    | MoreMail
)

_MAILS: Final[dict[str, type[Any]]] = {cls.__name__: cls for cls in get_args(NodeMail)}
_UNIONS: Final = (Command, Reply, TransientUpdate)


def _read_member(union: Any, body: Any) -> Any:
    cls = _MEMBERS[union].get(body["is"])
    if cls is None:
        raise BadMail("it has a part that this version does not know")
    return _CONVERTER.structure(body, cls)


_MEMBERS: Final = {union: {cls.__name__: cls for cls in get_args(union)} for union in _UNIONS}
_CONVERTER: Final = CONVERTER.copy()
for _union in _UNIONS:
    _CONVERTER.register_structure_hook(_union, lambda body, union: _read_member(union, body))


def encode_mail(mail: NodeMail) -> bytes:
    """Return a mail's bytes."""
    if isinstance(mail, PartMail):
        named = {"key": mail.key, "number": mail.number, "end": mail.end}
        return orjson.dumps({"v": VERSION, "mail": "PartMail", **named}) + b"\n" + mail.data
    body = CONVERTER.unstructure(mail)
    if isinstance(mail, CommandMail):
        body["command"]["is"] = type(mail.command).__name__
    elif isinstance(mail, ReplyMail):
        body["reply"]["is"] = type(mail.reply).__name__
    elif isinstance(mail, TailMail):
        for written, news in zip(body.get("news", ()), mail.news, strict=True):
            written["is"] = type(news).__name__
    return orjson.dumps({"v": VERSION, "mail": type(mail).__name__, **body})


def decode_mail(body: bytes) -> NodeMail:
    """Return the mail of these bytes. Raises BadMail."""
    try:
        line, newline, data = body.partition(b"\n")
        fields = orjson.loads(line)
        if fields["v"] != VERSION:
            raise BadMail(f"it is of version {fields['v']}")
        made: NodeMail = _CONVERTER.structure(fields, _MAILS[fields["mail"]])
        if isinstance(made, PartMail):
            made = attrs.evolve(made, data=data)
        elif newline:
            raise BadMail("it has more than one line")
    except BadMail:
        raise
    except Exception as error:  # whatever it is, it comes from outside
        raise BadMail(type(error).__name__) from error
    return made
