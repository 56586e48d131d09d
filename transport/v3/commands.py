"""Turns a device's frame into a command for the session's owner, and refuses what is too large. Pure.

Ids of the iOS app's own form are replaced by their aliases (`storage.aliases`) first.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Final, TypeVar

import attrs
import orjson

from actors import commands as cmd
from actors.commands import Command
from actors.events.conversation import Attachment
from actors.events.pieces import MAX_PIECE_BYTES, fits
from actors.replies import IfHead, RejectCode, Rejected
from storage.aliases import Aliases
from transport.access.auth import DECIDE_MORE, authorize
from transport.v3 import client_frames as cf
from transport.v3.client_frames import AttachFrame, CommandFrame, Id

__all__ = ["MAX_TITLE", "aliased", "answers_to", "oversized", "refuse", "to_command", "with_rights"]

MAX_TITLE: Final = 500
"""Code points of a session's title; it is shown on one line and repeated in every list."""

_Frame = TypeVar("_Frame")


def refuse(frame: CommandFrame, code: RejectCode, content: str) -> Rejected:
    """Return the refusal of `frame`, with the id that it answers."""
    message_id, request_id = answers_to(frame)
    return Rejected(code, content, message_id=message_id, request_id=request_id)


def answers_to(frame: CommandFrame) -> tuple[str | None, str | None]:
    """Return the `message_id` and the `request_id` that a frame names."""
    if isinstance(frame, cf.SendFrame | cf.SendNowFrame | cf.CancelFrame | cf.ResolveFrame):
        return frame.message_id, None
    return None, frame.request_id if isinstance(frame, cf.DecideFrame) else None


def oversized(frame: CommandFrame) -> Rejected | None:
    """Refuse a frame that is too long to store: over 256 KiB as JSON, or a title of over 500 characters."""
    if isinstance(frame, cf.SendFrame | cf.DraftFrame) and not fits(frame.content):
        return refuse(frame, "too_large", "The text is over 256 KiB.")
    if isinstance(frame, cf.RenameFrame) and len(frame.title) > MAX_TITLE:
        return refuse(frame, "too_large", f"The title is over {MAX_TITLE} characters.")
    if isinstance(frame, cf.DecideFrame) and not _fits_with_answers(frame):
        return refuse(frame, "too_large", "The note and the answers are over 256 KiB.")
    return None


def _fits_with_answers(frame: cf.DecideFrame) -> bool:
    if frame.answers is None:
        return frame.note is None or fits(frame.note)
    return len(orjson.dumps([frame.note, frame.answers])) <= MAX_PIECE_BYTES


def with_rights(command: Command, scope: str) -> Command:
    """Return the command with the rights that its author's scope adds to the frame."""
    if isinstance(command, cmd.Decide):
        return attrs.evolve(command, drives=authorize(scope, DECIDE_MORE))
    return command


@singledispatch
def to_command(frame: Any, attachments: tuple[Attachment, ...] = ()) -> Command:
    """Return the command of `frame`. `attachments`: a message's files, looked up."""
    raise TypeError(f"{type(frame).__name__} is not a command")


@to_command.register
def _send(frame: cf.SendFrame, attachments: tuple[Attachment, ...] = ()) -> Command:
    head = frame.if_head
    if_head = None if head is None else IfHead(head.epoch, head.seq)
    return cmd.Send(frame.message_id, frame.content, attachments, if_head, frame.mode, frame.not_before)


@to_command.register
def _send_now(frame: cf.SendNowFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.SendNow(frame.message_id)


@to_command.register
def _cancel(frame: cf.CancelFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Cancel(frame.message_id)


@to_command.register
def _interrupt(frame: cf.InterruptFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Interrupt(frame.turn_id, frame.background)


@to_command.register
def _stop_task(frame: cf.StopTaskFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.StopTask(frame.task_id)


@to_command.register
def _decide(frame: cf.DecideFrame, _: tuple[Attachment, ...] = ()) -> Command:
    decision = frame.decision or "allow"
    return cmd.Decide(
        frame.request_id, decision, frame.note, frame.answers, frame.input, frame.mode, frame.option
    )


@to_command.register
def _configure(frame: cf.ConfigureFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Configure(frame.settings)


@to_command.register
def _revoke_grant(frame: cf.RevokeGrantFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.RevokeGrant(frame.grant)


@to_command.register
def _renew(_: cf.RenewFrame, __: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Renew()


@to_command.register
def _take_over(frame: cf.TakeOverFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.TakeOver(frame.force)


@to_command.register
def _organize(frame: cf.OrganizeFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Organize(frame.pinned, frame.archived)


@to_command.register
def _warm(_: cf.WarmFrame, __: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Warm()


@to_command.register
def _resolve(frame: cf.ResolveFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Resolve(frame.message_id, frame.action)


@to_command.register
def _rename(frame: cf.RenameFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Rename(frame.title)


@to_command.register
def _undo(frame: cf.UndoFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Undo(frame.turn_id, frame.undo_id, frame.force)


@to_command.register
def _mark_read(frame: cf.MarkReadFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.MarkRead(frame.seq)


@to_command.register
def _draft(frame: cf.DraftFrame, _: tuple[Attachment, ...] = ()) -> Command:
    return cmd.Draft(frame.content)


def aliased(frame: _Frame, aliases: Aliases) -> _Frame:
    """Return a device's frame with the app's own ids replaced by aliases."""
    session_id = getattr(frame, "session_id", None)
    if isinstance(session_id, str) and (alias := aliases.session(session_id)) != session_id:
        frame = attrs.evolve(frame, session_id=alias)  # type: ignore[misc]  # whatever has a field is a class of ours
    if isinstance(frame, AttachFrame) and frame.device_id is not None:
        frame = attrs.evolve(frame, device_id=Id(aliases.device(frame.device_id)))
    return frame
