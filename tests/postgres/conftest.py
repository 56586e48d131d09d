"""Fixtures: one PostgreSQL for the run, and an empty database for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.cluster import Cluster, temporary_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server that is up for the whole run."""
    with temporary_cluster() as running:
        yield running


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A server of the test's own, which may be killed."""
    with temporary_cluster() as running:
        yield running


@pytest.fixture
def url(cluster: Cluster) -> str:
    """The URL of an empty database."""
    return cluster.new_database()
