"""The transport's configuration: frozen, with units in the names."""

from __future__ import annotations

from pathlib import Path

import attrs

from transport.http.static import WEB_FOLDER

__all__ = ["TransportConfig"]


@attrs.frozen(kw_only=True)
class TransportConfig:
    """The configuration of one server's transport.

    Attributes:
        host, port: the address to listen on; port 0 takes a free one.
        version: the server's version, sent to devices.
        agents: the names that `attach` may use, as in the config file.
        bypass_agents: those of them that may work without asking.
        workspace: where agents of new sessions work unless `settings` says otherwise.
        workspace_roots: folders that a device may name for a new session, and all below; None: whatever it names.
        worktrees: where worktrees of sessions are made; None: they are refused.
        features: what `/api/status` reports.
        web: the folder with the web client's files.
        max_connections: open connections of all kinds; more WebSockets are closed with 4429.
        max_waiting: connections without a key whose request is not answered, and, counted separately, WebSockets that
            have not signed in: the most that strangers can hold. Never more than a quarter of `max_connections`.
        head_bytes, head_s: how long a request head may be, and how long it may take.
        sign_in_s: how long a WebSocket may take to sign in.
        write_s: how long a socket may refuse a write before the connection is cut.
        body_s: how long a request's body may stall.
        max_sessions: the most sessions that may exist; a new one beyond that is refused.
        max_uploads, max_uploads_bytes: the most files that are kept, and their size together.
        trusted_proxies: addresses or networks of proxies that may name the client's address.
        heartbeat_s: time between heartbeats.
        close_s: how long a device may take to answer our close frame.
        app_sign_in_s, app_max_waiting, app_max_waiting_per_site: the same for the iOS app, and the most from one
            address. The app opens a socket that it never uses, and takes that one's end for the end of the other.
        app_resume_without_key: whether the app may reconnect without its key.
        attach_s, submit_s: how long a session's owner may take to answer an attach, or to accept a command.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    version: str = "0"
    agents: tuple[str, ...] = ("claude", "codex", "echo")
    bypass_agents: frozenset[str] = frozenset()
    workspace: str = "."
    workspace_roots: tuple[Path, ...] | None = None
    worktrees: Path | None = None
    features: tuple[tuple[str, bool], ...] = ()
    web: Path = WEB_FOLDER
    max_connections: int = 10_000
    max_waiting: int = 256
    head_bytes: int = 16 * 1024
    head_s: float = 10.0
    sign_in_s: float = 30.0
    write_s: float = 60.0
    body_s: float = 60.0
    max_sessions: int = 100_000
    max_uploads: int = 100_000
    max_uploads_bytes: int = 20_000_000_000
    trusted_proxies: tuple[str, ...] = ()
    heartbeat_s: float = 15.0
    close_s: float = 1.0
    app_sign_in_s: float = 60.0
    app_max_waiting: int = 64
    app_max_waiting_per_site: int = 16
    app_resume_without_key: bool = True
    attach_s: float = 30.0
    submit_s: float = 10.0

    @property
    def places(self) -> int:
        """The most strangers that may wait: `max_waiting`, or fewer if there are few connections."""
        return max(1, min(self.max_waiting, self.max_connections // 4))
