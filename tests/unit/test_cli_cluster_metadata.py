"""`caxton cluster locks` and `config` against a server that answers as it was told."""

import pytest

from caxton_node.cli.client import path_of
from caxton_node.cli.cluster import status_facts
from tests.command_line import CommandLine
from tests.scripted_http import scripted_http

LOCK = {"name": "job", "holder": "n1", "fencing_token": 42, "lease_id": "c17", "waiting": 2}
SETTING = {
    "key": "log.level",
    "value": "debug",
    "set_by": "n1",
    "set_at": "2026-01-31T10:00:00.000Z",
    "revision": 7,
}
STATUS = {
    "state": "off",
    "label": "",
    "is_encrypted": False,
    "members": {"total": 1, "alive": 1, "suspect": 0, "dead": 0, "left": 0},
    "problems": [],
}


@pytest.fixture
def script():
    with scripted_http() as served:
        yield served


@pytest.fixture
def caxton(script, capsys, monkeypatch):
    for name in ("CAXTON_SERVER", "CAXTON_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return CommandLine(capsys, script.url)


def listed(*items):
    return {"items": list(items), "total": len(items), "next_cursor": None}


def test_locks_are_listed_with_their_tokens(caxton, script):
    script.on("GET", path_of("cluster", "locks"), listed(LOCK))
    assert caxton("cluster", "locks").out.splitlines()[1].split() == ["job", "n1", "42", "2", "c17"]
    script.on("GET", path_of("cluster", "locks"), listed())
    assert "Nobody holds a lock" in caxton("cluster", "locks").err


def test_locks_in_json_are_the_document(caxton, script):
    script.on("GET", path_of("cluster", "locks"), listed(LOCK))
    assert caxton("cluster", "locks", "--output", "json").documents == [listed(LOCK)]


def test_what_the_cluster_was_told_is_listed(caxton, script):
    script.on("GET", path_of("cluster", "config"), listed(SETTING))
    line = caxton("cluster", "config", "list").out.splitlines()[1]
    assert line.split()[:3] == ["log.level", "debug", "n1"]
    script.on("GET", path_of("cluster", "config"), listed())
    assert "each node follows its own" in caxton("cluster", "config", "list").err


def test_the_whole_cluster_is_told(caxton, script):
    script.on("PUT", path_of("cluster", "config", "log.level"), SETTING)
    ran = caxton("cluster", "config", "set", "log.level", "debug")
    assert script.received[-1].body == {"value": "debug"}
    assert ran.out == "✓ log.level is debug in the whole cluster\n"


def test_the_whole_cluster_is_told_no_more(caxton, script):
    script.on("DELETE", path_of("cluster", "config", "log.level"), None, status=204)
    assert "each node's own again" in caxton("cluster", "config", "unset", "log.level").out


def test_what_the_cluster_is_told_is_shown_as_it_happens(caxton, script):
    told = {"kind": "cluster.setting", "at": "2026-01-31T10:00:00Z", "key": "log.level"}
    script.events(
        "GET",
        path_of("events"),
        ("cluster.setting", told | {"value": "debug", "set_by": "n1"}),
        ("cluster.setting", told | {"value": None, "set_by": None}),
    )
    first, second = caxton("cluster", "config", "watch").out.splitlines()
    assert script.received[-1].query["kind"] == "cluster."
    assert first.endswith("log.level is debug, said n1")
    assert second.endswith("log.level is each node's own again")


def test_a_server_without_etcd_says_what_would_help(caxton, script):
    hint = "start it with --etcd"
    script.problem("GET", path_of("cluster", "locks"), "state_conflict", 409, hint=hint)
    ran = caxton("cluster", "locks")
    assert ran.code == 6
    assert hint in ran.err


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("off", "not configured", None),
        ("connected", "", "connected since"),
        ("degraded", "x", ": x"),
    ],
)
def test_the_status_tells_how_etcd_does(state, reason, said):
    metadata = {"state": state, "reason": reason, "since": "2026-01-31T10:00:00Z"}
    text = dict(status_facts(STATUS | {"metadata": metadata}))["etcd"]
    assert text is None if said is None else said in text
