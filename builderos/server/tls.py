"""Certificate and key of the server's own TLS, and their reload while it serves."""

from __future__ import annotations

import logging
import signal
import ssl
from pathlib import Path

import attrs
import trio

__all__ = ["Tls", "TlsError"]

log = logging.getLogger("builderos.server")


class TlsError(Exception):
    """Certificate or key cannot be used; the text is one line for a person."""


@attrs.frozen(eq=False)
class Tls:
    """One context whose certificate may change; existing connections keep theirs."""

    certificate: Path
    key: Path
    context: ssl.SSLContext

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Tls:
        """Read both files. Raises TlsError."""
        return cls(certificate, key, _load(certificate, key))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read both files again at each SIGHUP, until cancelled."""
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                await self.reload()

    async def reload(self) -> None:
        """Read both files again. If they cannot be used, log it and keep the current certificate."""
        try:
            # First into another context: a pair that does not match would leave half of it in this one.
            await trio.to_thread.run_sync(_load, self.certificate, self.key)
            _fill(self.context, self.certificate, self.key)
        except TlsError as error:
            log.error("SIGHUP: keeping the current certificate: %s", error)
        else:
            log.info("SIGHUP: new connections get the certificate of %s", self.certificate)


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _fill(context, certificate, key)
    return context


def _fill(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # without a password OpenSSL would ask for one on the terminal, and the server would hang
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"{certificate} and {key} cannot be used: {error}") from error
