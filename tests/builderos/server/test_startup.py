"""What a person is warned of at the start."""

from __future__ import annotations

import pytest

from builderos.server.startup import warn_of_plain_text


@pytest.mark.parametrize(
    ("addresses", "warned"),
    [
        (["127.0.0.1"], ""),
        (["127.0.0.1", "::1"], ""),
        (["0.0.0.0"], "0.0.0.0"),
        (["::"], "::"),
        (["192.168.1.7", "127.0.0.1"], "192.168.1.7"),
    ],
)
def test_a_public_address_without_tls_is_warned_of(
    addresses: list[str], warned: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_plain_text(addresses)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (1 if warned else 0)
    assert all(f"listening on {warned} without TLS" in line for line in lines)
