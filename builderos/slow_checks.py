"""Says for each device where its delay comes from, by the server's own figures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from builderos.agent_checks import Finding

__all__ = ["explain"]

SLOW_COMMIT_MS: Final = 50.0
"""A commit takes about a millisecond; a disk that is full, asleep or shared takes longer."""

SLOW_WRITE_MS: Final = 250.0
SLOW_PAINT_MS: Final = 500.0
"""From here on a person notices the delay."""

MUCH_BYTES: Final = 64 * 1024
"""A connection that works has less than this on its way."""

MANY_RECONNECTS: Final = 20


def explain(answer: Mapping[str, Any], busy: float | None) -> Iterable[Finding]:
    """Return what the figures say. `busy`: processes that want a processor, for each; None if it is not known."""
    yield _server(answer.get("committed"), busy)
    devices = [one for one in answer.get("devices") or () if isinstance(one, dict)]
    if not devices:
        yield Finding("note", "devices", "none has attached since the server's start")
    for device in sorted(devices, key=_delay_ms, reverse=True):
        yield _device(device)


def _server(committed: Mapping[str, Any] | None, busy: float | None) -> Finding:
    if not committed:
        return Finding("ok", "server", "nothing was committed since its start")
    most = committed["p95_ms"]
    detail = f"95 % of commits within {_ms(most)}"
    if busy is not None:
        detail += f", load {busy:.1f} a processor"
    if most > SLOW_COMMIT_MS:
        return Finding("note", "server", detail, "see whether its disk is full, asleep or busy")
    if busy is not None and busy > 1.5:
        return Finding("note", "server", detail, "its processors are busy: let fewer agents work at once")
    return Finding("ok", "server", detail)


def _device(one: Mapping[str, Any]) -> Finding:
    written, painted = one.get("written"), one.get("painted")
    about = f"device {one['device_id']}"
    facts = [f"{one['name']}, {one['connections']} connected, {one['reconnects']} reconnects"]
    facts.append(f"written within {_ms(written['p95_ms'])}" if written else "nothing written")
    facts.append(f"shown within {_ms(painted['p95_ms'])}" if painted else "it does not report what it shows")
    facts.append(f"{one['behind']} events behind, {_bytes(one['waiting_bytes'])} wait")
    facts.append(f"{one['joined']} pieces joined")
    fix = _fix(one, written, painted)
    return Finding("note" if fix else "ok", about, "; ".join(facts), fix)


def _fix(one: Mapping[str, Any], written: Mapping[str, Any] | None, painted: Mapping[str, Any] | None) -> str:
    if not one["connections"]:
        return "it is not connected: open it, and look at its network"
    if one["waiting_bytes"] > MUCH_BYTES:
        return "its connection takes less than comes: look at its network"
    if written and written["p95_ms"] > SLOW_WRITE_MS:
        return "it gets its events late: it asked for a pace, its network is slow, or the server is busy"
    if painted and painted["p95_ms"] > SLOW_PAINT_MS:
        return "it shows late what was written in time: its network or the device itself is slow"
    if one["reconnects"] > MANY_RECONNECTS:
        return "its connection breaks often: look at its network, or at a proxy between"
    return ""


def _delay_ms(one: Mapping[str, Any]) -> float:
    return max(
        (float(figure["p95_ms"]) for name in ("written", "painted") if (figure := one.get(name))), default=0.0
    )


def _ms(ms: float) -> str:
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count} bytes"
