"""Web Push, APNs and ntfy on the wire, and the addresses that nobody may have the server call."""

from __future__ import annotations

import ssl
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import jwt
import orjson
import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from builderos.ids import wall_clock_ms
from storage.tables.notifications.channels import Channel
from transport.access.signed_urls import ButtonAct, button_of
from transport.push.senders.apns import Apns, read_key
from transport.push.senders.command import CommandSender
from transport.push.senders.endpoints import Allowed, is_public, origin_parts
from transport.push.senders.ntfy import MAX_BYTES, Buttons, Ntfy, Topic
from transport.push.senders.sending import Card
from transport.push.senders.services import Services, open_services
from transport.push.senders.web_push import MAX_PLAIN, WebPush, key_of, public_key, seal, unpadded
from transport.push.settings import ApnsSettings, CommandSettings, NtfySettings

LIMIT_S = 30.0

CARD = Card(
    alert_id="0" * 32,
    kind="decision",
    session_id="trip",
    title="Trip",
    body="claude asks: Bash",
    request_id="r",
)


def channel(kind: str, **more: Any) -> Channel:
    fields: dict[str, Any] = {
        "channel_id": "c",
        "owner": "first",
        "label": "phone",
        "address": "tok",
        "keys": b"{}",
    }
    times = {"retry_at_ms": None, "created_at_ms": 0, "seen_at_ms": 0}
    plain: dict[str, Any] = {
        "origin": "https://box.example.org",
        "wants": {},
        "state": "live",
        "problem": None,
        "person": "owner",
    }
    return Channel(**{**fields, **times, **plain, "kind": kind, **more})


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


# ---- encryption ----


def test_the_vector_of_rfc_8291() -> None:
    point = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    own = ec.derive_private_key(
        int.from_bytes(unb64("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    plain = b"When I grow up, I want to be a watermelon"
    auth, salt = unb64("BTBZMqHH6r4Tts7J_aSIgg"), unb64("DGv6ra1nlYgDCS1FRnbzlw")
    assert seal(plain, unb64(point), auth, own=own, salt=salt) == unb64(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
        "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_sizes_and_keys() -> None:
    key = key_of("ff" * 32)
    auth, point = b"a" * 16, public_key(key_of("11" * 32))
    assert len(point) == 65
    assert len(seal(b"x" * MAX_PLAIN, point, auth)) == 4096
    assert len({len(seal(b"x" * count, point, auth, pad_to=1024)) for count in (0, 1, 1024)}) == 1
    assert seal(b"x", point, auth) != seal(b"x", point, auth)
    assert key.private_numbers().private_value != int("ff" * 32, 16), "in the order of the curve"


# ---- addresses ----

ENDPOINT = "https://fcm.googleapis.com/fcm/send/abc"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "https://user@fcm.googleapis.com/x",
        "https://fcm.googleapis.com@evil.example/x",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evilfcm.googleapis.com.example/x",
        "https://notfcm.googleapis.com/x",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://push.example.org/x",
        "ftp://fcm.googleapis.com/x",
        "file:///etc/passwd",
        "https:fcm.googleapis.com/x",
        "//fcm.googleapis.com/x",
        "https://fcm.googleapis.com\\@127.0.0.1/x",
        "https://127.0.0.1\\.push.apple.com/x",
        "https://fcm.googleapis.com/ x",
        "https://fcm.googleapis.com/\r\nHost: a",
        "https://fcm.googleapis.com/" + "x" * 2048,
        "https://fcm.googleapis.com:x/",
        "https://[fcm.googleapis.com]/",
        "https://",
        "",
        "https://ﬁcm.googleapis.com/",
        "http://127.0.0.1:9001/x",
        "http://127.0.0.1:9000@fcm.googleapis.com/x",
    ],
)
def test_an_endpoint_that_is_refused(endpoint: str) -> None:
    named = origin_parts("http://127.0.0.1:9000")
    assert named is not None
    assert Allowed({named}).refusal(endpoint) is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        ENDPOINT,
        "https://updates.push.services.mozilla.com/wpush/v2/x",
        "https://web.push.apple.com/QAbc",
        "https://db5p.notify.windows.com/w/?token=x",
        "http://127.0.0.1:9000/x",
    ],
)
def test_an_endpoint_that_is_taken(endpoint: str) -> None:
    named = origin_parts("http://127.0.0.1:9000")
    assert named is not None
    assert Allowed({named}).refusal(endpoint) is None


PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"),
    *("240.0.0.1", "100.64.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::"),
    *("2001:0:1::1", "::7f00:1", "fe80::1%eth0", "nonsense"),
)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert all(map(is_public, ("1.1.1.1", "142.250.1.1", "2606:4700::1111", "::ffff:1.1.1.1")))


async def test_the_address_that_was_checked_is_the_one_that_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that leads to this machine at one look and to another at the next is called nowhere."""
    looked: list[str] = []

    async def find(host: str, port: int, **_: object) -> list[Any]:
        looked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", find)
    async with open_services(Allowed()) as services:
        answer = await services.request("POST", ENDPOINT, {"Host": "fcm.googleapis.com"}, b"x")
    assert (answer.status, answer.maybe, looked) == (None, False, ["fcm.googleapis.com"])
    assert "not public" in answer.text


# ---- services on loopback ----


@asynccontextmanager
async def serving(
    handler: Callable[[Request], Any],
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    protocol: str = "h2",
) -> AsyncIterator[tuple[str, Services]]:
    """Serve over TLS on loopback; yield the address and a client that trusts it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.certfile = config.keyfile = "given below"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols([protocol])
    config.create_ssl_context = lambda: context  # type: ignore[method-assign]
    app = Starlette(routes=[Route(path, handler, methods=["POST", "PUT"])])
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(serve, app, config))  # type: ignore[arg-type]
            base = "https://localhost:" + url.rpartition(":")[2]
            named = origin_parts(base)
            assert named is not None
            async with open_services(Allowed({named})) as services:
                yield base, services
            nursery.cancel_scope.cancel()


async def test_apns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The payload of the shipped app over HTTP/2, one token for many cards, both hosts, a dead token."""
    key = ec.generate_private_key(ec.SECP256R1())
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    got: list[tuple[str, str, dict[str, str], Any]] = []

    async def take(request: Request) -> Response:
        token, host = request.path_params["token"], request.path_params["host"]
        got.append((host, token, dict(request.headers), orjson.loads(await request.body())))
        assert request.scope["http_version"] == "2"
        if token == "dead":
            return JSONResponse({"reason": "Unregistered"}, 410)
        if token == "debug" and host == "live":
            return JSONResponse({"reason": "BadDeviceToken"}, 400)
        return Response()

    async with serving(take, "/{host}/3/device/{token}", monkeypatch, tmp_path) as (base, services):
        settings = ApnsSettings(
            key_file=tmp_path, key_id="K", team_id="T", topic="app.id", hosts=(f"{base}/live", f"{base}/box")
        )
        apns = Apns(services, settings, read_key(key.private_bytes(*kinds)), wall_clock_ms)
        assert (await apns.send(channel("apns"), CARD)).status == 200
        settled = attrs.evolve(CARD, settled=True, body="Allowed by ipad")
        assert (await apns.send(channel("apns"), settled)).status == 200
        assert (await apns.send(channel("apns", address="dead"), CARD)).status == 410
        for _ in range(2):
            assert (await apns.send(channel("apns", address="debug", channel_id="d"), CARD)).status == 200
    assert [(host, token) for host, token, _, _ in got] == [
        ("live", "tok"),
        ("live", "tok"),
        ("live", "dead"),
        ("live", "debug"),
        ("box", "debug"),
        ("box", "debug"),
    ]
    _, _, headers, body = got[0]
    assert body["aps"] == {
        "alert": {"title": "Trip", "body": "claude asks: Bash"},
        "badge": 0,
        "sound": "default",
    }
    assert (body["type"], body["sender"], body["preview"]) == ("new_message", "Trip", "claude asks: Bash")
    assert (headers["apns-topic"], headers["apns-push-type"], headers["apns-priority"]) == (
        "app.id",
        "alert",
        "10",
    )
    bearer = headers["authorization"].removeprefix("bearer ")
    claims = jwt.decode(bearer, key.public_key(), algorithms=["ES256"])
    assert (claims["iss"], jwt.get_unverified_header(bearer)["kid"]) == ("T", "K")
    assert abs(claims["iat"] - time.time()) < 60
    assert {one["authorization"] for _, _, one, _ in got} == {headers["authorization"]}, (
        "Apple refuses new ones"
    )
    _, _, later, replaced = got[1]
    assert later["apns-collapse-id"] == headers["apns-collapse-id"] == CARD.alert_id
    assert replaced["aps"]["interruption-level"] == "passive"
    assert "sound" not in replaced["aps"]


async def test_ntfy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    got: list[tuple[str, str, str, bytes]] = []

    async def take(request: Request) -> Response:
        body = await request.body()
        got.append((request.method, request.url.path, request.headers.get("authorization", ""), body))
        told = {"id": "x", "sequence_id": orjson.loads(body)["sequence_id"]} if body else {}
        return JSONResponse(told)

    async with serving(take, "/{rest:path}", monkeypatch, tmp_path) as (base, services):
        topic = Topic(NtfySettings(url=f"{base}/my-topic"), "tk_1")
        ntfy = Ntfy(services, {"phone": topic})
        assert (await ntfy.send(channel("ntfy"), CARD)).status == 200
        assert (await ntfy.send(channel("ntfy"), attrs.evolve(CARD, settled=True))).status == 200
        assert (await ntfy.send(channel("ntfy", label="other"), CARD)).status is None
        long = attrs.evolve(CARD, body="\U0001f600" * (MAX_BYTES // 4 + 1))
        assert (await ntfy.send(channel("ntfy"), long)).status == 413, "its server would hide the text"
    (method, path, token, body), cleared = got
    assert (method, path, token) == ("POST", "/", "Bearer tk_1")
    told = orjson.loads(body)
    assert (told["topic"], told["title"], told["sequence_id"]) == ("my-topic", "Trip", CARD.alert_id)
    assert cleared[:2] == ("PUT", f"/my-topic/{CARD.alert_id}/clear")


def test_a_button_of_ntfy_gives_one_answer_for_an_hour() -> None:
    buttons = Buttons("https://box.example.org", "secret", lambda: 1_000)
    card = attrs.evolve(CARD, buttons=("deny", "open"), ttl_s=90_000)
    deny, shown = buttons.actions(channel("ntfy", channel_id="ntfy.phone"), card)
    assert (deny["label"], deny["method"], deny["clear"]) == ("Deny", "POST", True)
    assert (shown["action"], shown["url"]) == ("view", "https://box.example.org/#/s/trip")
    path, _, query = deny["url"].partition("?")
    assert path == "https://box.example.org/api/act"
    assert button_of(query, "secret") == ButtonAct("ntfy.phone", "trip", "r", "deny", 3_601_000)
    assert button_of(query, "another server's") is None
    for spoiled in (
        query.replace("deny", "allow"),
        query.replace("until=3", "until=9"),
        query[:-1],
        "",
        "&sig=",
    ):
        assert button_of(spoiled, "secret") is None
    for bare in (attrs.evolve(card, repeat=True), attrs.evolve(card, request_id=None)):
        assert buttons.actions(channel("ntfy"), bare) == []


async def test_web_push_over_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No redirect is followed, a long answer is cut, and a card that is too long is not sent."""
    asked: list[str] = []

    async def take(request: Request) -> Response:
        asked.append(request.url.path)
        if request.url.path == "/long":
            return Response(b"x" * 1_000_000, 400)
        return Response(status_code=307, headers={"Location": "/elsewhere", "Retry-After": "7"})

    async with serving(take, "/{rest:path}", monkeypatch, tmp_path, "http/1.1") as (base, services):
        point = public_key(key_of("22" * 32))
        keys = {"p256dh": unpadded(point), "auth": unpadded(b"a" * 16)}
        push = WebPush(services, key_of("11" * 32), wall_clock_ms)
        to = partial(channel, "web", keys=orjson.dumps(keys))
        answer = await push.send(to(address=f"{base}/x"), CARD)
        assert (answer.status, answer.retry_s) == (307, 7)
        assert len((await push.send(to(address=f"{base}/long"), CARD)).text) == 4096
        assert (await push.send(to(address=f"{base}/y"), attrs.evolve(CARD, body="é" * 3000))).status == 413
        bad = orjson.dumps({**keys, "p256dh": unpadded(b"\x04" + b"\x01" * 64)})
        assert (await push.send(to(address=f"{base}/z", keys=bad), CARD)).status == 400, (
            "no point of the curve"
        )
    assert asked == ["/x", "/long"]


async def test_a_command_gets_json_and_is_not_waited_for_too_long(tmp_path: Path) -> None:
    file = tmp_path / "got"
    settings = {
        "phone": CommandSettings(
            command=(sys.executable, "-c", f"import sys; open({str(file)!r}, 'w').write(input())")
        ),
        "bad": CommandSettings(command=("/nonexistent",)),
        "fails": CommandSettings(command=("false",)),
    }
    commands = CommandSender(settings, {"PATH": "/usr/bin:/bin"})
    assert (await commands.send(channel("command"), CARD)).status == 200
    told = orjson.loads(file.read_bytes())
    assert (told["state"], told["title"], told["request_id"]) == ("open", "Trip", "r")
    assert (await commands.send(channel("command", label="bad"), CARD)).status is None
    assert (await commands.send(channel("command", label="fails"), CARD)).maybe
    assert (await commands.send(channel("command", label="gone"), CARD)).status is None


def test_nothing_of_it_is_loaded_before_the_first_channel() -> None:
    script = (
        "import sys, builderos.server.server;"
        "print([one for one in sys.modules if one.partition('.')[0] in ('cryptography', 'httpcore2')"
        " or one in ('transport.push.engine', 'transport.push.consumer', 'transport.push.courier')])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
