"""What metrics count, and their text."""

from __future__ import annotations

from pathlib import Path

from actors.events.conversation import Complete, Message, TurnStarted
from tests.transport.http.calls import open_world
from transport.metrics import Figure, Histogram, Metrics, as_text


async def test_metrics_are_text_for_prometheus(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, world.served.client() as device:
        session = world.served.fakes.add_session("trip")
        await device.attach("trip")
        session.publish(TurnStarted("m"), Message("x", "b", 0), Complete(1, 0, "00"))
        got = await world.http.get("/metrics")
        assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = got.text.splitlines()
        assert "builderos_sessions 1.0" in lines
        assert 'builderos_connections{kind="waiting"} 0.0' in lines
        assert got.text.endswith("\n")
        for line in lines:
            assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2
        names = [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]
        assert len(names) == len(set(names))


async def test_what_metrics_count() -> None:
    metrics = Metrics()
    metrics.appended("trip", 3, 0.002, ["turn_started", "message"])
    metrics.taken("trip", 2)
    metrics.taken("trip", 3)
    metrics.taken("elsewhere", 3)
    metrics.appended("trip", 4, 20.0, ["complete"])
    for session_id in ("a", "b", "a"):
        metrics.hub_started(session_id)
    lines = as_text(metrics.figures()).decode().splitlines()
    for line in (
        "builderos_turns_started_total 1.0",
        'builderos_turns_ended_total{end="complete"} 1.0',
        'builderos_turns_ended_total{end="error"} 0.0',
        "builderos_hub_starts_total 3.0",
        "builderos_hub_restarts_total 1.0",
        "# TYPE builderos_append_seconds histogram",
        'builderos_append_seconds_bucket{le="0.001"} 0.0',
        'builderos_append_seconds_bucket{le="0.0025"} 1.0',
        'builderos_append_seconds_bucket{le="10.0"} 1.0',
        'builderos_append_seconds_bucket{le="+Inf"} 2.0',
        "builderos_append_seconds_sum 20.002",
        "builderos_append_seconds_count 2.0",
        "builderos_fan_out_seconds_count 1.0",
    ):
        assert line in lines, line
    assert Histogram().count == 0
    odd = as_text([Figure("gauge", "n", "a", {'a"\\\n': 1}, "k")]).decode()
    assert odd.splitlines()[-1] == 'n{k="a\\"\\\\\\n"} 1.0'
