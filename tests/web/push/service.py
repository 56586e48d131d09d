"""A push service on loopback: it keeps what it is sent, checks its headers, and answers as it is notified."""

from __future__ import annotations

import queue
import threading
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["PushService", "Pushed", "open_push_service"]

LIMIT_S = 30.0


@attrs.frozen
class Pushed:
    """One request. `path`: of the browser's endpoint; `body`: encrypted."""

    path: str
    headers: dict[str, str]
    body: bytes


@attrs.define(eq=False)
class PushService:
    """The service. `answers`: the status for a path; 201 for any other."""

    url: str
    answers: dict[str, int] = attrs.field(factory=dict)
    pushed: defaultdict[str, queue.Queue[Pushed]] = attrs.field(factory=lambda: defaultdict(queue.Queue))
    faults: list[str] = attrs.field(factory=list)

    def next(self, path: str) -> Pushed:
        """Return the next request for a path."""
        return self.pushed[path].get(timeout=LIMIT_S)

    def take(self, found: Pushed) -> int:
        """Keep a request; return the status of its answer."""
        self.faults += faults_of(self.url, found)
        self.pushed[found.path].put(found)
        return self.answers.get(found.path, 201)


def faults_of(origin: str, found: Pushed) -> list[str]:
    """Return what is wrong with a request by RFC 8030, 8188 and 8292."""
    faults = []
    told = found.headers
    if told.get("content-encoding") != "aes128gcm" or not told.get("ttl", "").isdigit():
        faults.append("encoding or TTL")
    if len(found.body) > 4096 or len(told.get("topic", "")) > 32:
        faults.append("too long")
    if told.get("urgency") not in ("high", "normal", "low", "very-low"):
        faults.append("urgency")
    scheme, _, rest = told.get("authorization", "").partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    point = urlsafe_b64decode(parts["k"] + "==")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    claims: dict[str, Any] = jwt.decode(parts["t"], key, algorithms=["ES256"], audience=origin)
    if scheme != "vapid" or urlsplit(claims["sub"]).scheme not in ("mailto", "https"):
        faults.append("VAPID")
    return faults


@contextmanager
def open_push_service() -> Iterator[PushService]:
    """Run one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(service.take(Pushed(self.path, headers, body)))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = PushService(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert service.faults == []
