"""Fixtures: one PostgreSQL for the run, and an empty database for a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres.cluster import Cluster, run_cluster


@contextmanager
def _cluster() -> Iterator[Cluster]:
    # Not pytest's own folder: only its owner may enter that, and PostgreSQL runs as another user than root.
    # In memory if that is there: each database is 300 files.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="bos-pg-", dir=memory if memory.is_dir() else None))
    try:
        with run_cluster(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server that is up for the whole run."""
    with _cluster() as running:
        yield running


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A server of the test's own, which may be killed."""
    with _cluster() as running:
        yield running


@pytest.fixture
def url(cluster: Cluster) -> str:
    """The URL of an empty database."""
    return cluster.new_database()
