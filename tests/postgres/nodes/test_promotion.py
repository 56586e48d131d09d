"""The database fails in the middle of a turn, and its synchronous standby takes its place: nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
import trio

from storage.errors import StorageUnavailable
from tests.e2e.shared_server import ENDLESS, all_events, end_turn, open_http, story_of, words_of
from tests.postgres.cluster import Cluster, temporary_folder
from tests.postgres.nodes.pair import open_pair
from tests.postgres.nodes.test_opening import opened_as
from tests.postgres.standby import promote, run_standby, url_of_both
from tests.support.device import Json
from tests.support.server import Server

HEARD_AGAIN_S = 20.0
"""On a quiet machine it takes about a second; `-s` prints it."""

ENOUGH = 5

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


@attrs.define(eq=False)
class Talker:
    """A person who sends one message after the other, and keeps the answers. `enough`: set after some."""

    session_id: str
    answers: list[Json] = attrs.field(factory=list)
    enough: trio.Event = attrs.field(factory=trio.Event)

    @property
    def accepted(self) -> dict[str, int]:
        """The places of the messages that were accepted."""
        return {one["message_id"]: one["seq"] for one in self.answers if one["type"] == "accepted"}

    async def talk(self, server: Server) -> None:
        """Send until cancelled."""
        async with server.device() as device:
            await device.attach(self.session_id, agent="echo")
            while True:
                self.answers.append(await device.send(self.session_id, "hello"))
                if len(self.accepted) >= ENOUGH:
                    self.enough.set()


async def test_a_standby_that_nobody_waits_for_is_refused(own_cluster: Cluster, tmp_path: Path) -> None:
    url = own_cluster.new_database()
    with temporary_folder() as folder, run_standby(own_cluster, folder):
        with own_cluster.connected() as connection:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")
            while connection.execute("SHOW synchronous_standby_names").fetchone() != ("",):
                pass
        with pytest.raises(
            StorageUnavailable, match="it has a standby, but synchronous_standby_names is empty"
        ):
            async with opened_as(url, tmp_path, "a"):
                pass
        with own_cluster.connected(url) as connection:
            assert connection.execute(TABLES).fetchone() == (0,), "nothing was made"
        assert list((tmp_path / "a").iterdir()) == []


async def test_a_promoted_standby_has_all_that_was_acknowledged(own_cluster: Cluster) -> None:
    with temporary_folder() as folder, run_standby(own_cluster, folder) as standby:
        url = url_of_both(own_cluster, standby, urlsplit(own_cluster.new_database()).path[1:])
        async with open_pair(url) as nodes, nodes.a.device() as here, nodes.b.device() as there:
            await here.attach("trip", agent="echo")
            await there.attach("trip")
            talkers = [Talker("mine"), Talker("yours")]
            async with trio.open_nursery() as nursery:
                for server, talker in zip((nodes.a, nodes.b), talkers, strict=True):
                    nursery.start_soon(talker.talk, server)
                    await talker.enough.wait()
                await there.send("trip", ENDLESS)
                await there.wait_for("message", start=0)
                await trio.to_thread.run_sync(own_cluster.kill)
                accepted = [talker.accepted for talker in talkers]
                began = trio.current_time()
                await trio.to_thread.run_sync(promote, standby)
                promoted = trio.current_time()
                for name, device in (("home", here), ("other node", there)):
                    await device.wait_for("message", start=len(device.frames), limit_s=HEARD_AGAIN_S)
                    heard = trio.current_time()
                    print(f"{name}: {heard - began:.2f} s after the kill, {heard - promoted:.2f} s after")
                nursery.cancel_scope.cancel()
            end = await end_turn(there, "trip")
            await here.wait_for("interrupted", start=0, turn_id=end["turn_id"])
            async with open_http(nodes.b) as http:
                text = story_of(await all_events(http, "trip")).text(end["turn_id"])
                assert words_of(text) > 2
                assert {device.text("trip", end["turn_id"]) for device in (here, there)} == {text}
                for talker, known in zip(talkers, accepted, strict=True):
                    events = await all_events(http, talker.session_id)
                    said = [one for one in events if one["type"] == "user_message"]
                    found = {one["message_id"]: one["seq"] for one in said}
                    assert len(found) == len(said)
                    assert found.items() >= talker.accepted.items() >= known.items()
            for device in (here, there):
                assert (await device.ask("trip", "and now"))["type"] == "complete"
