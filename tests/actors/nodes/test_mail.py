"""What nodes tell each other arrives as it was, and whatever else is in the mail is left out."""

from __future__ import annotations

from typing import get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.commands import (
    AskAtDesk,
    Attach,
    Author,
    Cancel,
    Close,
    Command,
    Configure,
    Decide,
    Draft,
    GiveBack,
    Interrupt,
    MarkRead,
    Organize,
    Rename,
    Renew,
    Resolve,
    RevokeGrant,
    Send,
    SendNow,
    StopTask,
    TakeOver,
    Undo,
    Warm,
    WithdrawAtDesk,
)
from actors.events.conversation import Attachment
from actors.events.permissions import PermissionRequested
from actors.events.session import Held, SessionGrant, Settings
from actors.events.work import PlanEntry, TaskStarted
from actors.nodes.mail import (
    AnswerMail,
    BadMail,
    CallMail,
    ChangedMail,
    CommandMail,
    FollowingMail,
    FollowMail,
    MoreMail,
    NodeMail,
    NoteMail,
    PartMail,
    ReplyMail,
    TailMail,
    TakenMail,
    decode_mail,
    encode_mail,
)
from actors.offer import Mode, Model, Offer
from actors.replies import Accepted, Closed, IfHead, QueuedMessage, Rejected, Reply, SessionView
from actors.tail import (
    AttachedDevice,
    DraftChanged,
    GaugeMoved,
    OfferChanged,
    Presence,
    ReadMarkMoved,
    SessionProblem,
    ToolOutputs,
    TransientUpdate,
)
from bridgehub.desk.records import Where
from bridgehub.protocol.tool_events import ToolOutput

PRINTED = ToolOutputs("t1", (ToolOutput("x1", "Bash", "line", 3),))
DEVICE = AttachedDevice("phone", "Phone", observe=False)
COMMANDS: list[Command] = [
    Attach(),
    Send(
        "m1",
        "hello\0",
        (Attachment("u", "a.png", "image/png", 3, "image", "/uploads/u"),),
        IfHead(1, 2),
        "steer",
        5,
    ),
    SendNow("m1"),
    Cancel("m1"),
    Interrupt("t1", background=True),
    StopTask("k1"),
    Decide("r1", "allow", "why", {"a": [1, None]}, {"cmd": "ls"}, "plan", "Yes", drives=True),
    Configure({"model": None, "effort": "high"}),
    RevokeGrant("Bash"),
    Renew(),
    TakeOver(force=True),
    AskAtDesk("r1", "Bash", {"x": 1}, [{"q": "?"}], "command", "May I", [1]),
    WithdrawAtDesk("r1"),
    GiveBack(),
    Organize(pinned=True),
    Warm(),
    Resolve("m1", "retry"),
    Rename("Trip"),
    Undo(undo_id="u1", force=True),
    MarkRead(7),
    Draft("so far"),
    Close(),
]
VIEW = SessionView(
    epoch=2,
    head_seq=9,
    agent_type="echo",
    title="Trip",
    state="waiting",
    settings=Settings("/work", "m", "plan", "high"),
    queue=(QueuedMessage("m2", "phone", "later", 5, held=True),),
    pending=(PermissionRequested("r1", "Bash", {"x": 1}, ("allow", "deny")),),
    read_seq=3,
    draft="so far",
    grants=(SessionGrant("Bash", "phone", 5),),
    offer=Offer((Model("m", "M"),), (Mode("plan", "plan"),), applies={"model": "now"}),
    gauge={"context": {"used": 1}},
    plan=(PlanEntry("think", "completed"),),
    held=Held("limit", 7),
    background=(TaskStarted("k1", "work", "echo"),),
    where=Where("claude", 12, "busy", 3),
    printed=PRINTED,
)
REPLIES: list[Reply] = [
    Accepted("m1", 4, duplicate=True),
    Rejected(
        "stale_head",
        "no",
        "m1",
        "r1",
        IfHead(1, 2),
        "mac",
        "other",
        ("a.py",),
        Where("claude", 12, "busy", 3),
    ),
    VIEW,
    Closed(process_killed=True),
]
NEWS: list[TransientUpdate] = [
    Presence((DEVICE,)),
    DraftChanged("x", "phone"),
    ReadMarkMoved(4, "phone"),
    OfferChanged(VIEW.offer),
    GaugeMoved({"cost": 1.5}),
    PRINTED,
    SessionProblem(None, "it works again"),
]
MAILS: list[NodeMail] = [
    *[CommandMail("k", "b", "trip", Author("key", "phone", "Phone"), one) for one in COMMANDS],
    *[ReplyMail("k", one, (DEVICE,)) for one in REPLIES],
    TailMail("a", "trip", 2, 9, (DEVICE,), tuple(NEWS)),
    TakenMail("k", "failed", "too often", 3.5),
    FollowMail("b", "trip", over=False, devices=(DEVICE, DEVICE)),
    FollowingMail("b", ("trip", "work")),
    ChangedMail(("trip",)),
    NoteMail("b", "looks", {"looks": [["key", None, 5]]}),
    CallMail("k", "b", "http", {"after_turn": None}),
    AnswerMail("k", "busy", "no", {"status": 200}, is_whole=False),
    PartMail("k", 3, "last", b"\0\n{}\xff" * 3),
    MoreMail("k", 4, over=True),
]


@pytest.mark.parametrize("mail", MAILS, ids=lambda one: type(one).__name__)
def test_a_mail_arrives_as_it_was(mail: NodeMail) -> None:
    assert decode_mail(encode_mail(mail)) == mail


def test_every_kind_of_part_is_tried() -> None:
    """A new command, reply or news needs a sample here: else nobody knows that it crosses the mail."""
    for union, samples in ((Command, COMMANDS), (Reply, REPLIES), (TransientUpdate, NEWS), (NodeMail, MAILS)):
        assert {type(one) for one in samples} == set(get_args(union))
    for one in (*COMMANDS, *REPLIES):
        assert all(field.name.isidentifier() and field.name != "is" for field in attrs.fields(type(one)))


@given(st.binary())
def test_what_is_no_mail_is_left_out(body: bytes) -> None:
    with pytest.raises(BadMail):
        decode_mail(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"v":2,"mail":"TakenMail","key":"k"}',
        b'{"v":1,"mail":"os.system","key":"k"}',
        b'{"v":1,"mail":"ReplyMail","key":"k","reply":{"is":"Popen"}}',
        b'{"v":1,"mail":"ReplyMail","key":"k","reply":{"is":["Accepted"]}}',
        b'{"v":1,"mail":"CommandMail","key":"k"}',
        b'{"v":1,"mail":["TakenMail"],"key":"k"}',
        b'{"v":1,"mail":"TakenMail","key":"k"}\n{}',
        b'{"v":1,"mail":"PartMail","key":"k"}\n{}',
        b"[1]",
    ],
)
def test_a_mail_that_names_something_else_runs_nothing(body: bytes) -> None:
    with pytest.raises(BadMail):
        decode_mail(body)
