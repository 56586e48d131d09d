"""What a crash, an end and a restart must not cost, with every device on the other node than its session.

The tests are those of `tests/e2e/test_promises.py`, unchanged. Their server is a node whose agents run there; their devices
are connected to another one. A crash is that of the sessions' home: the other node lives on, and its devices lose their
connections at that moment. An end in order is that of both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.e2e import test_promises as promises
from tests.e2e.conftest import place  # noqa: F401 - a fixture
from tests.e2e.shared_server import open_http
from tests.e2e.test_promises import *  # noqa: F403
from tests.postgres.cluster import Cluster
from tests.postgres.nodes.pair import open_pair
from tests.support.device import Device, Json, open_device
from tests.support.server import Server


@attrs.define(eq=False)
class OtherNode:
    """A server as the promises use it: its sessions are at home on one node, and its devices on the other."""

    home: Server
    gateway: Server
    devices: list[Device] = attrs.field(factory=list)
    made: set[str] = attrs.field(factory=set)
    making: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def data(self) -> Path:
        return self.home.data

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def key(self) -> str:
        return self.gateway.key

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Device]:
        async with open_device(self.url, self.key) as device:
            self.devices.append(device)
            try:
                yield device
            finally:
                self.devices.remove(device)

    async def make(self, session_id: str, agent: str) -> None:
        """Make a session at its home, unless it is there."""
        async with self.making:
            if session_id not in self.made:
                async with self.home.device() as device:
                    await device.attach(session_id, agent=agent)
                self.made.add(session_id)

    async def kill9(self) -> None:
        await self.home.kill9()
        for device in tuple(self.devices):
            await device.drop()

    async def terminate(self) -> int:
        return await self._end(Server.terminate)

    async def interrupt(self) -> int:
        return await self._end(Server.interrupt)

    async def _end(self, how: Any) -> int:
        status = await how(self.gateway)
        return int(status or await how(self.home))

    async def restart(self) -> None:
        async with trio.open_nursery() as nursery:
            for server in (self.home, self.gateway):
                if not server.runs:
                    nursery.start_soon(server.restart)


@pytest.fixture(autouse=True)
def _on_the_other_node(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """Let every server of these tests be two nodes."""
    open_now: list[OtherNode] = []
    attach = Device.attach

    @asynccontextmanager
    async def opened(folder: Path, *, config: str = "") -> AsyncIterator[OtherNode]:
        async with open_pair(cluster.new_database(), config=config, folder=folder) as nodes:
            open_now.append(OtherNode(nodes.a, nodes.b))
            yield open_now[0]
            assert await _homes(open_now[0]) == {"a"}, "the devices were all at the other node"

    async def attach_there(self: Device, session_id: str, *, agent: str | None = None, **more: Any) -> Json:
        node = open_now[0]
        if agent is not None and self in node.devices:
            await node.make(session_id, agent)
        return await attach(self, session_id, agent=agent, **more)

    monkeypatch.setattr(promises, "open_server", opened)
    monkeypatch.setattr(Device, "attach", attach_there)


async def _homes(node: OtherNode) -> set[str]:
    if not node.gateway.runs:
        await node.restart()
    async with open_http(node) as http:
        return {one["machine"]["id"] for one in (await http.get("/api/sessions")).json()["sessions"]}
