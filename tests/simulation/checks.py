"""What must be true of every history once it has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import (
    Complete,
    Delivery,
    Message,
    Thinking,
    TurnError,
    UserMessage,
)
from actors.events.invariants import violations
from tests.simulation.agent import OWN_BLOCK
from tests.simulation.checks_steering import check_answers, check_later, check_settings
from tests.simulation.device import SimDevice
from tests.simulation.view import DeviceView
from tests.support.invariants import accepted_problems, committed_of, view_problems
from transport.v3.events import encode_event

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["check_all", "unrest"]

PIECES = (Message, Thinking)
Texts = dict[tuple[str, str], str]


def unrest(world: World) -> list[str]:
    """Return what is not yet at rest: turns that run, messages that wait, devices that are behind."""
    found = [f"no server serves of {len(world.servers)}"] if not world.open_servers() else []
    found += world.unrest()
    for session_id in world.plan.sessions:
        record = world.store.record(session_id)
        if record is None or record.summary is None:
            continue
        if record.summary.unfinished:
            found.append(f"{session_id} is {record.summary.state}")
        due_at_ms = record.summary.due_at_ms
        if due_at_ms is not None and due_at_ms <= world.chaos.now_ms():
            found.append(f"{session_id} has a message whose time has come")
        for device in world.devices:
            view = device.views[session_id]
            if (view.epoch, view.position) != (record.epoch, record.head_seq):
                found.append(f"{device.plan.name} is at {view.position} of {record.head_seq} in {session_id}")
    for device in world.devices:
        waiting = [key for key, one in device.outgoing.items() if one.accepted is None and not one.refused]
        if waiting:
            found.append(f"{device.plan.name} has no answer to {waiting}")
    return found


def check_all(world: World) -> None:
    """Complain of whatever is wrong with the journals, the devices' views and what reached the agents."""
    complain = world.chaos.complain
    for session_id in world.plan.sessions:
        items = world.store.items(session_id)
        for one in violations(items):
            complain(f"journal of {session_id}: {one.seq}: {one.rule}: {one.detail}")
        frames = _frames(world, session_id, items)
        _check_promises(world, session_id, frames)
        _check_turns(world, session_id, items)
        check_settings(world, session_id, items)
        check_answers(world, session_id, items)
        check_later(world, session_id, items)
        for device in world.devices:
            _check_view(world, device, session_id, items, frames)
    _check_messages(world)
    for server in world.servers:
        server.count()
        if server.crash_count or server.failed_count:
            complain(f"server {server.life.number}: {server.crash_count} crashes of sessions")


def texts_of(items: list[Committed], turn_id: str) -> Texts:
    """Return a turn's texts by kind and block, held against the offsets."""
    texts: Texts = {}
    for item in items:
        event = item.event
        if item.turn_id == turn_id and isinstance(event, PIECES):
            key = (event.kind, event.block)
            if event.offset != len(texts.get(key, "")):
                texts[key] = "(offsets do not fit)"
                break
            texts[key] = texts.get(key, "") + event.content
    return texts


def _check_turns(world: World, session_id: str, items: list[Committed]) -> None:
    """Hold each turn against what its agent really said and how it ended."""
    ends = {item.turn_id: item.event for item in items if item.event.kind in TURN_ENDS and item.turn_id}
    known = {item.turn_id for item in items}
    for turn_id, taken in world.log.turns.items():
        if turn_id not in known or turn_id not in ends:
            continue
        end, texts = ends[turn_id], texts_of(items, turn_id)
        where = f"turn {turn_id} of {taken.message_id} in {session_id}"
        texts = {key: text for key, text in texts.items() if key[1] != OWN_BLOCK}
        if isinstance(end, Complete):
            if taken.ended != "done":
                world.chaos.complain(f"{where} is complete, and its agent did not end")
            if texts != taken.texts:
                world.chaos.complain(f"{where}: {texts} is not what was said, {taken.texts}")
        for key, text in texts.items():
            if not taken.texts.get(key, "").startswith(text):
                world.chaos.complain(f"{where}: {text!r} was never said, {taken.texts}")
        process = world.machine.processes[taken.hub_id]
        if isinstance(end, TurnError) and end.code == "agent_protocol" and not process.garbled:
            world.chaos.complain(f"{where}: {end.content}")
    for item in items:
        told = isinstance(item.event, Delivery) and item.event.state in ("consumed", "answered")
        if told and item.turn_id not in world.log.turns:
            world.chaos.complain(f"{item.event} in turn {item.turn_id}, which no agent had")


def _check_messages(world: World) -> None:
    """Each accepted message is there once, and each turn of it began by somebody's will."""
    for device in world.devices:
        for message_id, outgoing in device.outgoing.items():
            session_id = outgoing.frame["session_id"]
            items = world.store.items(session_id)
            events = [(one.seq, one.event) for one in items]
            seqs = [
                seq for seq, one in events if isinstance(one, UserMessage) and one.message_id == message_id
            ]
            if outgoing.accepted is not None and seqs != [outgoing.accepted]:
                world.chaos.complain(f"{message_id} was accepted as {outgoing.accepted} and is at {seqs}")
            if outgoing.accepted is None and outgoing.refused and not outgoing.lost and seqs:
                world.chaos.complain(f"{message_id} was refused ({outgoing.refused}) and is at {seqs}")
            states = [
                one.state for _, one in events if isinstance(one, Delivery) and one.message_id == message_id
            ]
            unknown = states.count("unknown")
            given = sum(one.message_id == message_id for one in world.log.turns.values())
            given += world.log.steered.get(message_id, 0)
            if given > 1 + unknown:
                world.chaos.complain(f"{message_id} reached agents {given} times: {states}")


def _check_view(
    world: World, device: SimDevice, session_id: str, items: list[Committed], frames: list[dict[str, Any]]
) -> None:
    """Hold what a device has against the journal: the same frames, and the same text."""
    view, record = device.views[session_id], world.store.record(session_id)
    if record is None or view.position is None:
        return
    where = f"{device.plan.name} in {session_id}"
    wanted = [
        frame
        for item, frame in zip(items, frames, strict=True)
        if item.seq > view.start and not isinstance(item.event, PIECES)
    ]
    got = [one for one in view.frames if one["type"] not in ("message", "thinking")]
    if [one for one in got if one["epoch"] == record.epoch] != wanted:
        world.chaos.complain(f"{where} has {_brief(got)} where the journal has {_brief(wanted)}")
    whole = {one["turn_id"] for one in got if one["type"] == "turn_started"}
    for turn_id in sorted(whole):
        shown = {key[1:]: text for key, text in view.texts.items() if key[0] == turn_id}
        texts = texts_of(items, turn_id)
        if shown != texts:
            world.chaos.complain(f"{where} shows {shown} for turn {turn_id}, the journal has {texts}")
    _check_hash(world, where, view, whole)


def _check_promises(world: World, session_id: str, wanted: list[dict[str, Any]]) -> None:
    """Hold each device to what the crash suite holds real ones to, in the words of frames."""
    record = world.store.record(session_id)
    if record is None:
        return
    journal = list(map(committed_of, wanted))
    for device in world.devices:
        frames = [one for one in device.views[session_id].frames if one["epoch"] == record.epoch]
        sent = [one for one in device.outgoing.items() if one[1].frame["session_id"] == session_id]
        accepted = {key: one.accepted for key, one in sent if one.accepted is not None}
        problems = view_problems(
            device.plan.name, journal, list(map(committed_of, frames)), to_the_end=bool(frames)
        )
        for problem in [*problems, *accepted_problems(journal, accepted)]:
            world.chaos.complain(f"{session_id}: {problem.kind}: {problem.about}")


def _check_hash(world: World, where: str, view: DeviceView, whole: set[str]) -> None:
    for frame in view.frames:
        if frame["type"] == "complete" and frame["turn_id"] in whole:
            blocks = [text for key, text in view.texts.items() if key[:2] == (frame["turn_id"], "message")]
            if sum(map(len, blocks)) != frame["text_length"]:
                world.chaos.complain(f"{where}: {blocks} is not {frame['text_length']} long")


def _frames(world: World, session_id: str, items: list[Committed]) -> list[dict[str, Any]]:
    """Return each event as the frame that every device should have."""
    record = world.store.record(session_id)
    epoch = 0 if record is None else record.epoch
    return [orjson.loads(encode_event(session_id, epoch, item)) for item in items]


def _brief(frames: list[dict[str, Any]]) -> str:
    return " ".join(f"{one['seq']}:{one['type']}" for one in frames)
