"""Answers one request of an agent, as a notification's button does: by a key, or by a signed address."""

from __future__ import annotations

from typing import Any, Final

import orjson
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.commands import Attach, Author, Command, Decide, Envelope
from actors.events.permissions import Decision
from actors.ports import Clock, CommandBus
from actors.replies import Rejected, Reply
from storage.errors import SessionMissing
from transport.access.signed_urls import button_of
from transport.config import TransportConfig
from transport.http.requests import JsonBody, read_json
from transport.http.responses import HttpError, JsonAnswer
from transport.ports import Deps, Device
from transport.push.notifier import Notifier
from transport.v3.commands import to_command, with_rights
from transport.v3.decode import WireError, decode, is_id

__all__ = ["decide_by_button", "decide_request"]

MAX_NOTE: Final = 4096
MAX_LABEL: Final = 128
MAX_REQUEST: Final = 4096

_DECISIONS: Final[dict[str, Decision]] = {"allow": "allow", "deny": "deny", "allow_session": "allow_session"}
_STATUS: Final = {
    "unknown_request": 404,
    "already_resolved": 409,
    "forbidden": 403,
    "storage": 503,
    "shutting_down": 503,
    "machine_away": 503,
}


async def decide_request(config: TransportConfig, deps: Deps, request: Request, device: Device) -> Response:
    """Answer an open request. The first answer wins, from wherever it comes."""
    session_id, request_id = request.path_params["id"], request.path_params["request_id"]
    if not is_id(session_id) or len(request_id) > MAX_REQUEST:
        raise SessionMissing(session_id)
    body = await read_json(request)
    decision = _DECISIONS.get(body.text("decision", 16))
    if decision is None:
        raise HttpError(400, "bad_request", "decision must be allow, deny or allow_session.")
    note = body.text("note", MAX_NOTE) if body.has("note") else None
    label = await _label(deps, body, device)
    more = body.some("answers", "input", "mode")
    command = with_rights(_decision(session_id, request_id, decision, note, more), device.scope)
    await _submit(config, deps.bus, session_id, command, Author(device.id, label, device.name))
    deps.attention.use(label)
    return JsonAnswer({"ok": True, "decision": decision, "by_device": label})


async def _label(deps: Deps, body: JsonBody, device: Device) -> str:
    if not body.has("device_id"):
        return device.id
    label = deps.aliases.device(body.text("device_id", MAX_LABEL))
    if not is_id(label):
        raise HttpError(400, "bad_request", "device_id is not a valid id.")
    # A label that another key used first stays that key's; the decision still counts.
    return label if await deps.devices.claim_label(label, device.id) else device.id


def _decision(
    session_id: str, request_id: str, decision: Decision, note: str | None, more: dict[str, Any]
) -> Command:
    """Return the command of a decision. `more`: fields that are as in the frame `decide`. Raises HttpError."""
    if not more:
        return Decide(request_id, decision, note)
    said = {"session_id": session_id, "request_id": request_id, "decision": decision, "note": note, **more}
    try:
        return to_command(decode(orjson.dumps({"type": "decide", **said})))
    except WireError as error:
        raise HttpError(400, "bad_request", f"The body is wrong: {error}.") from None


async def decide_by_button(
    config: TransportConfig, bus: CommandBus, clock: Clock, notifier: Notifier, request: Request
) -> Response:
    """Give the answer of a signed address, if its channel still has buttons.

    `POST` only, since a preview of a link sends `GET`.
    """
    topics = notifier.settings.ntfy
    with_buttons = {f"ntfy.{name}" for name, topic in topics.items() if topic.actions}
    if not with_buttons:
        raise HttpError(401, "unauthorized", "This button is not valid any more.")
    act = button_of(request.scope["query_string"].decode("latin-1"), await notifier.secret())
    if act is None or act.until_ms <= clock() or act.channel_id not in with_buttons:
        raise HttpError(401, "unauthorized", "This button is not valid any more.")
    # The signature is over this very answer, so a denial may also be one of a folder's trust.
    command = Decide(act.request_id, act.decision, drives=act.decision == "deny")
    author = Author("", act.channel_id, act.channel_id)
    await _submit(config, bus, act.session_id, command, author)
    return JsonAnswer({"ok": True, "decision": act.decision, "by_device": act.channel_id})


async def _submit(
    config: TransportConfig, bus: CommandBus, session_id: str, command: Command, author: Author
) -> None:
    """Submit a decision. Only its refusal is answered, so an `Attach` behind it says the end.

    Raises:
        HttpError: it was refused.
    """
    refusals: list[Rejected] = []
    done = trio.Event()

    def answered(reply: Reply) -> None:
        if isinstance(reply, Rejected):
            refusals.append(reply)

    def reached(_: Reply) -> None:
        done.set()

    with trio.move_on_after(config.submit_s) as limit:
        await bus.submit(session_id, Envelope(command, author, answered))
        await bus.submit(session_id, Envelope(Attach(), author, reached))
        await done.wait()
    if limit.cancelled_caught:
        raise HttpError(503, "busy", "The session does not answer at the moment. Try again.")
    for refused in refusals:
        raise HttpError(
            _STATUS.get(refused.code, 409), refused.code, refused.content, by_device=refused.by_device
        )
