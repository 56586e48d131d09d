"""Downloads an export from a server, as it arrives."""

from __future__ import annotations

import codecs
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Final

from builderos.client.wire.connection import LinkLostError, Server
from builderos.client.wire.http import opener
from builderos.export.source import NoSessionError
from builderos.export.write import Form

__all__ = ["download_export"]

SILENCE_S: Final = 30.0
"""How long the server may send nothing."""

CHUNK_BYTES: Final = 64 * 1024


def download_export(server: Server, session_id: str, form: Form, write: Callable[[str], None]) -> None:
    """Pass an export to `write`, piece by piece. Blocks.

    Raises:
        NoSessionError: the server has no such session.
        LinkLostError: it cannot be reached, refuses, or the connection breaks; the written part is incomplete.
    """
    for text in _texts(server, session_id, form):  # only its errors are the server's, not those of `write`
        write(text)


def _texts(server: Server, session_id: str, form: Form) -> Iterator[str]:
    path = f"/api/sessions/{urllib.parse.quote(session_id, safe='')}/export?format={form}"
    request = urllib.request.Request(server.url + path, headers={"X-API-Key": server.key})
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        answer = opener(server).open(request, timeout=SILENCE_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                raise NoSessionError(f"there is no session {session_id} on {server.url}") from error
            raise LinkLostError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _lost(server, error) from error
    with answer:
        chunk = b"-"
        while chunk:
            try:
                chunk = answer.read1(CHUNK_BYTES)
                text = decoder.decode(chunk, final=not chunk)
            except (OSError, HTTPException, UnicodeDecodeError) as error:
                raise _lost(server, error) from error
            yield text


def _lost(server: Server, error: Exception) -> LinkLostError:
    reason = getattr(error, "reason", error)
    return LinkLostError(f"{server.url}: {getattr(reason, 'strerror', None) or reason}")
