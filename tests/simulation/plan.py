"""What one history is made of: a small plan, drawn from a seed. Pure.

A plan is all that a run depends on: it can be printed, pasted into a test, and made smaller.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import attrs

__all__ = [
    "MODES",
    "Act",
    "ActKind",
    "DevicePlan",
    "Does",
    "Fault",
    "FaultKind",
    "Knobs",
    "MessagePlan",
    "Plan",
    "draw_act",
    "draw_fault",
    "draw_nodes_plan",
    "draw_plan",
]

Does = tuple[str, float]
"""One action of an agent: `take` `say` `think` `ask` `tool` `task` `background` `slow` `hang` `deaf` `die` `garbage`
`raise` `fail` `done` `remember` `history` `grant`, and a figure (seconds, or how much)."""

ActKind = Literal[
    "interrupt",
    "interrupt_this",
    "cancel",
    "decide",
    "resolve",
    "repeat",
    "rename",
    "mark_read",
    "draft",
    "detach",
    "attach",
    "stale_send",
    "close",
    "configure",
    "set_mode",
    "send_now",
    "warm",
]
FaultKind = Literal[
    "kill_server",
    "stop_server",
    "stop_all",
    "second_server",
    "kill_hub",
    "cut_link",
    "stall_link",
    "refuse_links",
    "fail_start",
    "slow_start",
    "storage_down",
    "storage_gone",
    "append_fails",
    "append_unknown_before",
    "append_unknown_after",
    "cut_device",
    "stall_device",
    "vanish_device",
    "clock_jump",
    "power_cut",
    "cut_node",
    "same_name",
    "import",
]


@attrs.frozen
class MessagePlan:
    """A message, and what an agent does with it each time that it gets it.

    Attributes:
        later_s: how long after it is sent its time comes; None: it has no time.
    """

    message_id: str
    session_id: str
    device: int
    at_s: float
    steer: bool
    script: tuple[Does, ...]
    later_s: float | None = None


@attrs.frozen
class Act:
    """What a person does besides; `target` picks among what there is."""

    at_s: float
    device: int
    session_id: str
    kind: ActKind
    target: int = 0


@attrs.frozen
class Fault:
    """What goes wrong, at the `at_tick`th use of a seam or at a time; `amount` is mostly how long."""

    kind: FaultKind
    at_tick: int = 0
    at_s: float = 0.0
    amount: float = 1.0


@attrs.frozen
class DevicePlan:
    """A device: how it attaches, and whether its person answers requests and resolves what is unknown.

    Attributes:
        mode: the mode that the person switches to with each answer that allows; None: answers have no mode.
    """

    name: str
    sessions: tuple[str, ...]
    history: int = 50
    pace_ms: int = 0
    observe: bool = False
    decides_s: float | None = None
    resolves: Literal["retry", "discard"] | None = None
    mode: str | None = None


@attrs.frozen
class Knobs:
    """Speeds and bounds of one history: small ones bring out what large ones hide.

    Attributes:
        mail_lost: how likely a mail between nodes is lost.
    """

    link_delay_s: float = 0.0
    device_delay_s: float = 0.0
    store_delay_s: float = 0.0
    start_s: float = 0.0
    hub_idle_s: float = 600.0
    actor_idle_s: float = 10.0
    tail_bytes: int = 256 * 1024
    page_rows: int = 256
    outbox_bytes: int = 1024 * 1024
    can_steer: bool = True
    steer_taken: bool = True
    gather_ms: int | None = None
    partial_writes: bool = False
    nodes: int = 1
    mail_lost: float = 0.04


@attrs.frozen
class Plan:
    """One history."""

    seed: int
    sessions: tuple[str, ...]
    devices: tuple[DevicePlan, ...]
    messages: tuple[MessagePlan, ...]
    acts: tuple[Act, ...] = ()
    faults: tuple[Fault, ...] = ()
    knobs: Knobs = attrs.field(factory=Knobs)


MODES = ("mode-0", "mode-1")
"""The modes of a planned agent; a request names the second one."""

_ACTS: tuple[ActKind, ...] = (
    *("interrupt", "interrupt", "interrupt_this", "cancel", "cancel", "decide", "resolve", "repeat"),
    *("rename", "mark_read", "draft", "detach", "attach", "stale_send", "close"),
    *("configure", "configure", "set_mode", "set_mode", "send_now", "send_now", "warm", "warm"),
)
_FAULTS: tuple[FaultKind, ...] = (
    *("kill_server", "kill_server", "kill_server", "stop_server", "stop_all", "second_server"),
    *(
        "kill_hub",
        "kill_hub",
        "cut_link",
        "cut_link",
        "stall_link",
        "refuse_links",
        "fail_start",
        "slow_start",
    ),
    *("storage_down", "storage_gone", "append_fails", "append_unknown_before", "append_unknown_after"),
    *("cut_device", "cut_device", "stall_device", "vanish_device", "clock_jump", "power_cut"),
)
_NODE_FAULTS: tuple[FaultKind, ...] = (
    *("kill_server", "kill_server", "kill_server", "stop_server", "cut_node", "cut_node", "power_cut"),
    *("kill_hub", "cut_link", "storage_down", "storage_gone", "append_fails", "append_unknown_before"),
    *("append_unknown_after", "cut_device", "stall_device", "vanish_device", "same_name", "import"),
)
_MIDDLES: tuple[str, ...] = (
    *("say", "say", "say", "say", "think", "ask"),
    *("tool", "task", "background", "slow", "slow", "grant"),
)
_ENDS: tuple[str, ...] = (
    *("done",) * 12,
    *("fail", "fail", "hang", "hang", "deaf", "die", "die", "garbage", "raise"),
)


def draw_plan(seed: int, *, large: bool | None = None) -> Plan:
    """Return the plan of a seed.

    Nine of ten are small, since most of what can go wrong goes wrong with one message and one fault, and the more of
    these run the better. `large` says which; None leaves it to the seed.
    """
    draw = Random(f"plan {seed}")
    if large is None:
        large = seed % 10 == 0
    return with_one_clock(_draw_large(seed, draw) if large else _draw_small(seed, draw))


def draw_nodes_plan(seed: int) -> Plan:
    """Return the plan of a seed for two nodes: what goes wrong between them, and with one of them."""
    draw = Random(f"nodes {seed}")
    plan = _draw_large(seed, draw)
    faults = tuple(
        Fault(
            draw.choice(_NODE_FAULTS),
            at_s=draw.choice((0.05, 0.3, 0.7, 1.2, 2.0, 3.0)),
            amount=draw.choice((0.1, 0.6, 2.0, 5.0)),
        )
        for _ in range(draw.choice((0, 1, 1, 2, 2, 3)))
    )
    return attrs.evolve(plan, faults=faults, knobs=attrs.evolve(plan.knobs, nodes=2))


def _draw_small(seed: int, draw: Random) -> Plan:
    sessions = ("s0",)
    devices = tuple(_device(draw, f"d{n}", sessions) for n in range(draw.choice((1, 1, 2))))
    drivers = [n for n, one in enumerate(devices) if not one.observe]
    counts = range(draw.choice((1, 1, 1, 2)))
    messages = tuple(_message(draw, n, sessions, draw.choice(drivers), most=3) for n in counts)
    acts = tuple(draw_act(draw, drivers, sessions) for _ in range(draw.choice((0, 0, 1))))
    faults = tuple(draw_fault(draw, 5.7) for _ in range(draw.choice((1, 1, 2))))
    knobs = _knobs(draw)
    if draw.random() < 0.7:
        knobs = attrs.evolve(knobs, link_delay_s=0.0, device_delay_s=0.0, store_delay_s=0.0)
    return Plan(seed, sessions, devices, messages, acts, faults, knobs)


def _draw_large(seed: int, draw: Random) -> Plan:
    sessions = tuple(f"s{n}" for n in range(draw.choice((1, 1, 1, 1, 1, 2, 2, 3))))
    devices = tuple(_device(draw, f"d{n}", sessions) for n in range(draw.choice((1, 1, 2, 2, 3))))
    drivers = [n for n, one in enumerate(devices) if not one.observe]
    counts = range(draw.choice((1, 1, 1, 2, 2, 3, 4, 6)))
    messages = tuple(_message(draw, n, sessions, draw.choice(drivers), most=5) for n in counts)
    acts = tuple(draw_act(draw, drivers, sessions) for _ in range(draw.choice((0, 0, 1, 1, 2, 4))))
    faults = tuple(draw_fault(draw, 9.0) for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5))))
    return Plan(seed, sessions, devices, messages, acts, faults, _knobs(draw))


def with_one_clock(plan: Plan) -> Plan:
    """Return the plan without messages for later if it has two servers at a time.

    Each of them would start the session by its clock, and take it from the other. Only the lock of the data folder
    prevents that, and the fault is that it does not.
    """
    if not any(fault.kind == "second_server" for fault in plan.faults):
        return plan
    return attrs.evolve(plan, messages=tuple(attrs.evolve(one, later_s=None) for one in plan.messages))


def draw_act(draw: Random, drivers: list[int], sessions: tuple[str, ...]) -> Act:
    """Return an act of one of the devices that may act."""
    return Act(
        _moment(draw), draw.choice(drivers), draw.choice(sessions), draw.choice(_ACTS), draw.randrange(6)
    )


def _moment(draw: Random) -> float:
    """Return a time; many of them are the same, so that things race."""
    return draw.choice((0.0, 0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0))


def _device(draw: Random, name: str, sessions: tuple[str, ...]) -> DevicePlan:
    return DevicePlan(
        name,
        sessions,
        history=draw.choice((50, 50, 50, 1, 0)),
        pace_ms=draw.choice((0, 0, 0, 100, 2000)),
        observe=name != "d0" and draw.random() < 0.1,
        decides_s=draw.choice((0.0, 0.0, 0.1, 1.0, None)),
        resolves=draw.choice((None, "retry", "discard")),
        mode=draw.choice((None, None, None, *MODES)),
    )


def _message(draw: Random, number: int, sessions: tuple[str, ...], device: int, *, most: int) -> MessagePlan:
    script: list[Does] = []
    if draw.random() < 0.9:
        if draw.random() < 0.2:
            script.append(("slow", 0.1))
        if draw.random() < 0.1:
            script.append(("history", 0))
        script.append(("take", 0))
        script += [
            (draw.choice(_MIDDLES), draw.choice((0.0, 0.1, 0.5))) for _ in range(draw.randint(0, most))
        ]
        if draw.random() < 0.1:
            script.append(("remember", 0))
    script.append((draw.choice(_ENDS), 0))
    steer = draw.random() < 0.15
    later_s = draw.choice((0.5, 2.0, 5.0)) if not steer and draw.random() < 0.15 else None
    return MessagePlan(
        f"m{number}", draw.choice(sessions), device, _moment(draw), steer, tuple(script), later_s
    )


def draw_fault(draw: Random, doublings: float) -> Fault:
    """Return a fault; one that strikes at a tick does so at the `2 ** doublings`th at the latest."""
    kind, amount = draw.choice(_FAULTS), draw.choice((0.0, 0.1, 0.6, 2.0, 5.0))
    if draw.random() < 0.75:
        return Fault(kind, at_tick=int(2 ** draw.uniform(1.5, doublings)), amount=amount)
    return Fault(kind, at_s=draw.choice((0.05, 0.3, 0.7, 1.2, 3.0)), amount=amount)


def _knobs(draw: Random) -> Knobs:
    return Knobs(
        link_delay_s=draw.choice((0.0, 0.0, 0.01, 0.3)),
        device_delay_s=draw.choice((0.0, 0.0, 0.02, 0.3)),
        store_delay_s=draw.choice((0.0, 0.0, 0.005, 0.2)),
        start_s=draw.choice((0.0, 0.1, 1.0)),
        hub_idle_s=draw.choice((600.0, 600.0, 1.0)),
        actor_idle_s=draw.choice((10.0, 0.5)),
        tail_bytes=draw.choice((256 * 1024, 600, 120)),
        page_rows=draw.choice((256, 3, 1)),
        outbox_bytes=draw.choice((1024 * 1024, 1024 * 1024, 900)),
        can_steer=draw.random() < 0.8,
        steer_taken=draw.random() < 0.7,
        gather_ms=draw.choice((None, 0, 3, 20)),
        partial_writes=draw.random() < 0.5,
    )
