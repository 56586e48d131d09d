"""Commands find the server of a data folder, with its key; and what is lost is tried again, ever more rarely."""

from __future__ import annotations

import random
import ssl
from pathlib import Path

import psutil
import pytest

from builderos.client.wire.server import FIRST_S, LAST_S, Backoff, NoServerError, Server, find_server
from tests.builderos.held import hold


def test_a_server_is_found_by_its_folder(tmp_path: Path) -> None:
    own = psutil.Process()
    hold(tmp_path, pid=own.pid, started_at=own.create_time())
    assert find_server(tmp_path, None, None) == Server("http://127.0.0.1:1234", "k3y", is_own=True)
    assert find_server(tmp_path, "http://there:1/", "other") == Server("http://there:1", "other")
    assert find_server(tmp_path, None, "other").key == "other"
    assert "k3y" not in repr(find_server(tmp_path, None, None))


@pytest.mark.parametrize(
    ("url", "is_own", "is_checked"),
    [
        ("https://127.0.0.1:1", True, False),
        ("https://[::1]:1", True, False),
        ("https://localhost:1", True, False),
        ("https://192.0.2.7:1", True, True),
        ("https://box.example:1", True, True),
        ("https://127.0.0.1:1", False, True),
    ],
)
def test_only_the_own_server_over_loopback_is_not_checked(url: str, is_own: bool, is_checked: bool) -> None:
    context = Server(url, "k", is_own).ssl_context()
    assert context is not None
    assert (context.check_hostname, context.verify_mode == ssl.CERT_REQUIRED) == (is_checked, is_checked)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoServerError, match="no server runs"):
        find_server(tmp_path, None, None)
    own = psutil.Process()
    hold(tmp_path, pid=own.pid, started_at=own.create_time() - 100)
    with pytest.raises(NoServerError, match="no server runs"):
        find_server(tmp_path, None, None)
    (tmp_path / "api-key").unlink()
    with pytest.raises(NoServerError, match="--key"):
        find_server(tmp_path, "http://127.0.0.1:1", None)
    with pytest.raises(NoServerError, match="not an address"):
        find_server(tmp_path, "localhost:8080", "k")


def test_waits_grow_and_differ() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.next_s() for _ in range(10)]
    assert all(FIRST_S / 2 <= wait <= LAST_S for wait in waits)
    assert waits[-1] >= LAST_S / 2
    backoff.reset()
    assert backoff.next_s() <= FIRST_S
