"""The figures of sessions and storage, for `/metrics`."""

from __future__ import annotations

from actors.supervisor import Supervisor
from storage.store import Store
from transport.metrics import Figure, lags_of

__all__ = ["server_figures"]


def server_figures(store: Store, supervisor: Supervisor) -> list[Figure]:
    """Return them as they are now."""
    sessions, writer = supervisor.statistics(), store.statistics().writer
    lags = lags_of(supervisor.listeners())
    return [
        Figure("gauge", "builderos_sessions_live", "Sessions in memory.", sessions.live_count),
        Figure("gauge", "builderos_sessions_failed", "Sessions that were given up.", sessions.failed_count),
        Figure(
            "counter", "builderos_session_crashes_total", "Crashes of session actors.", sessions.crash_count
        ),
        Figure("gauge", "builderos_device_lag", "Positions that a device is behind.", lags, "device"),
        Figure("gauge", "builderos_writer_waiting", "Jobs that wait for the writer.", writer.waiting),
        Figure("counter", "builderos_writer_jobs_total", "Jobs that the writer has done.", writer.jobs),
        Figure("counter", "builderos_commits_total", "Transactions committed.", writer.commits),
        Figure("counter", "builderos_synced_commits_total", "Of these, with fsync.", writer.synced),
    ]
