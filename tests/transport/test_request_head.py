"""Any bytes give a head or `HeadError`, however they are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.request_head import HeadError, find_end, parse_head, without_upgrade

UPGRADE = (
    b"GET /api/ws?x=1 HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Protocol: a, builderos.v3\r\n\r\n"
)


@given(st.binary())
def test_any_bytes_give_a_head_or_an_error(data: bytes) -> None:
    try:
        parse_head(data)
    except HeadError:
        return


@given(st.integers(0, len(UPGRADE)))
def test_the_end_is_found_however_it_is_split(cut: int) -> None:
    whole = bytearray(UPGRADE[:cut])
    first = find_end(whole)
    whole += UPGRADE[cut:] + b"more"
    assert first in (None, len(UPGRADE))
    assert find_end(whole, cut) == len(UPGRADE) or first == len(UPGRADE)


def test_an_upgrade_is_known() -> None:
    head = parse_head(UPGRADE)
    assert (head.method, head.path, head.is_websocket) == ("GET", "/api/ws", True)
    assert head.tokens(b"sec-websocket-protocol") == {"a", "builderos.v3"}


@pytest.mark.parametrize(
    "data",
    [
        UPGRADE.replace(b"GET", b"POST"),
        UPGRADE.replace(b"WebSocket", b"h2c"),
        UPGRADE.replace(b"keep-alive, Upgrade", b"keep-alive"),
    ],
)
def test_what_is_no_upgrade(data: bytes) -> None:
    assert not parse_head(data).is_websocket


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nx\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nContent-Length: 13\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n",
    ],
)
def test_what_is_no_head(data: bytes) -> None:
    with pytest.raises(HeadError):
        parse_head(data)


@pytest.mark.parametrize(
    ("more", "size"),
    [
        (b"", 0),
        (b"Content-Length: 12\r\n", 12),
        (b"Content-Length: 12\r\nContent-Length: 12\r\n", 12),
        (b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", None),
    ],
)
def test_how_long_the_body_is(more: bytes, size: int | None) -> None:
    assert parse_head(b"POST / HTTP/1.1\r\nHost: h\r\n" + more + b"\r\n").body_bytes == size


def test_another_protocol_is_not_asked_for() -> None:
    data = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nA: b\r\n\r\n"
    assert without_upgrade(data) == b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"
