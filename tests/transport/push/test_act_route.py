"""The address of a card's button is open to anybody, and costs a stranger's request next to nothing."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.transport.client import open_server
from tests.transport.services import open_services
from transport.access.signed_urls import ACT_PATH
from transport.push.settings import NtfySettings, PushSettings


@pytest.mark.parametrize("has_buttons", [False, True])
async def test_strangers_have_at_most_one_secret_made(tmp_path: Path, has_buttons: bool) -> None:
    made: list[str] = []

    async def settle(name: str, value: str) -> str:
        made.append(name)
        return value

    async with open_services(tmp_path) as services:
        notifier = services.notifier
        notifier.settle = settle
        topic = NtfySettings(url="https://ntfy.example.org/t", actions=True)
        notifier.settings = PushSettings(ntfy={"phone": topic} if has_buttons else {})
        async with open_server(services=services) as served, httpx.AsyncClient() as http:
            for query in ("decision=allow&sig=0", "decision=allow&sig=%ff", ""):
                answer = await http.post(f"{served.base}{ACT_PATH}?{query}")
                assert answer.status_code == 401
    assert len(made) == has_buttons
