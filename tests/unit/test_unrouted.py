"""Suggestions for addresses that do not exist."""

import pytest

from caxton_node.api.routes import ENDPOINTS
from caxton_node.api.unrouted import nearest_address

ROUTES = [endpoint.path for endpoint in ENDPOINTS]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("/api/v1/agentz", "/api/v1/agents"),
        ("/api/v1/agents/", "/api/v1/agents"),
        ("/api/v1//agents", "/api/v1/agents"),
        ("/api/v1/message", "/api/v1/messages"),
        ("/api/v1/agents/Greeter/chatt", "/api/v1/agents/Greeter/chat"),
        ("/api/v1/agent/Greeter", "/api/v1/agents/Greeter"),
        ("/API/V1/Agents", "/api/v1/agents"),
        ("/api/v1/dead_letters", "/api/v1/dead-letters"),
        ("/agents", "/api/v1/agents"),
        ("/v1/agents/Greeter", "/api/v1/agents/Greeter"),
        ("/api/agents", "/api/v1/agents"),
        ("/api/v2/agents", "/api/v1/agents"),
        ("/healthz", "/health"),
        ("/metric", "/metrics"),
    ],
)
def test_what_was_probably_meant_is_named(asked, meant):
    assert nearest_address(asked, ROUTES) == meant


@pytest.mark.parametrize(
    "asked",
    ["/", "", "/api/v1/", "/api/v1", "/api/v1/foo/bar", "/wp-admin.php", "/agents/a/b/c/d",
     "/" + "a" * 100, "/a" * 100],
)  # fmt: skip
def test_where_nothing_resembles_nothing_is_suggested(asked):
    assert nearest_address(asked, ROUTES) is None


def test_no_address_is_suggested_to_who_asked_for_it():
    assert nearest_address("/api/v1/agents", ["/api/v1/agents"]) is None
