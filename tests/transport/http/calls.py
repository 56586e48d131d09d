"""A port with all services of the routes, and a client with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx

from tests.transport.client import LIMIT_S, Served, open_server
from tests.transport.services import open_services
from transport.access.proxies import LOOPBACK
from transport.http.services import HttpServices


@attrs.frozen
class World:
    services: HttpServices
    served: Served
    http: httpx.AsyncClient


@asynccontextmanager
async def open_world(folder: Path, **changes: Any) -> AsyncIterator[World]:
    async with open_services(folder) as services:
        changed = attrs.evolve(services, **changes)
        async with (
            open_server(changed, trusted_proxies=LOOPBACK) as served,
            httpx.AsyncClient(
                base_url=served.base, headers={"X-API-Key": "key-of-phone"}, timeout=LIMIT_S
            ) as http,
        ):
            yield World(changed, served, http)


def error(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json()["error"]["message"], str)
    return answer.status_code, answer.json()["error"]["code"]
