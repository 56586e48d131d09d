"""The server does what its own description says, for any input that schemathesis thinks of.

Whether input that the description does not allow is refused is not asked for: unknown fields are ignored,
and several calls take more than they say.
"""

from __future__ import annotations

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.e2e.world import Shared
from transport.authorize import HTTP_SCOPES
from transport.http_app import OPEN_PATHS
from transport.openapi import describe

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


def test_every_call_is_described() -> None:
    paths = describe("1")["paths"]
    described = {f"{method.upper()} {path}" for path, calls in paths.items() for method in calls}
    assert described == set(HTTP_SCOPES) | {f"GET {path}" for path in OPEN_PATHS}


def test_the_description_is_served(shared: Shared) -> None:
    told = httpx.get(f"{shared.url}/api/openapi.json", headers={"X-API-Key": shared.key}).json()
    assert told == describe(told["info"]["version"])


schema = schemathesis.openapi.from_dict(describe("1"))


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_server_is_as_described(case: schemathesis.Case[Any], shared: Shared) -> None:
    case.call_and_validate(base_url=shared.url, headers={"X-API-Key": shared.key}, checks=CHECKS)
