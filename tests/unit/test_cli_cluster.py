"""`caxton cluster` against a server that answers as it was told."""

import pytest

from caxton_node.cli.client import path_of
from tests.command_line import CommandLine
from tests.scripted_http import scripted_http

MEMBER = {
    "name": "n1",
    "state": "alive",
    "incarnation": 17,
    "address": "10.0.0.1:7946",
    "tags": {"role": "caxton", "version": "0.1.0", "http": "10.0.0.1:8080"},
    "is_self": True,
    "local_health": 0,
    "round_trip_ms": None,
}
OTHER = {
    "name": "go0",
    "state": "suspect",
    "incarnation": 3,
    "address": "10.0.0.2:7946",
    "tags": {},
    "is_self": False,
    "local_health": None,
    "round_trip_ms": 12.4,
}
MEMBERS = {"items": [MEMBER, OTHER], "total": 2, "next_cursor": None}
STATUS = {
    "node": "n1",
    "state": "joined",
    "address": "10.0.0.1:7946",
    "label": "blue",
    "is_encrypted": True,
    "local_health": 0,
    "members": {"total": 2, "alive": 1, "suspect": 1, "dead": 0, "left": 0},
    "datagrams_dropped": 0,
    "problems": ["member x was refused: its versions"],
    "metadata": {
        "state": "degraded",
        "reason": "nobody answers",
        "since": "2026-01-31T10:00:00.000Z",
    },
    "failover": {"right": "degraded", "granted": 0, "refused": 0},
}
PARTITION = {
    "mode": "majority",
    "is_writable": True,
    "alive": 2,
    "expected": 3,
    "majority": 2,
    "since": "2026-01-31T10:00:00.000Z",
    "unreachable": ["n3"],
}
NODE = {
    "name": "n1",
    "mode": "majority",
    "agents": 4,
    "load": 2,
    "is_draining": False,
    "labels": {"zone": "eu"},
    "is_self": True,
    "is_linked": True,
    "round_trip_ms": None,
}
CLUSTER = {
    "node": "n1",
    "partition": PARTITION,
    "agents": 4,
    "is_draining": False,
    "waiting_for": [],
    "nodes": [NODE],
}
ALL = {"done": ["n1", "n2"], "failed": {}, "silent": [], "is_complete": True}
SOME = {"done": ["n1"], "failed": {"n3": "full"}, "silent": ["n2"], "is_complete": False}
KEY = {"fingerprint": "9f86d081884c7d65", "is_in_use": True, "held_by": 2, "used_by": 1}
CHANGE = {"fingerprint": "9f86d081884c7d65", "nodes": ALL}


@pytest.fixture
def script():
    with scripted_http() as served:
        yield served


@pytest.fixture
def caxton(script, capsys, monkeypatch):
    for name in ("CAXTON_SERVER", "CAXTON_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return CommandLine(capsys, script.url)


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_members_are_listed_with_the_one_that_was_asked_marked(caxton, script):
    script.on("GET", path_of("cluster", "members"), MEMBERS)
    _, first, second = caxton("cluster", "members").out.splitlines()
    assert cells(first) == [
        "n1 *",
        "alive",
        "10.0.0.1:7946",
        "10.0.0.1:8080",
        "0.1.0",
        "-",
        "0",
        "17",
    ]  # fmt: skip -- a row of a table
    assert cells(second) == ["go0", "suspect", "10.0.0.2:7946", "-", "-", "12 ms", "-", "3"]


def test_a_round_trip_below_the_resolution_of_the_clock_is_no_zero(caxton, script):
    near = MEMBERS | {"items": [OTHER | {"round_trip_ms": 0.0}]}
    script.on("GET", path_of("cluster", "members"), near)
    assert "< 1 ms" in caxton("cluster", "members").out


def test_the_status_of_a_cluster_is_its_facts_and_its_members(caxton, script):
    script.on("GET", path_of("cluster", "status"), STATUS)
    script.on("GET", path_of("cluster", "members"), MEMBERS)
    script.on("GET", path_of("cluster"), CLUSTER)
    said = caxton("status", "--cluster").out
    assert "joined, at 10.0.0.1:7946" in said
    assert "2 nodes (1 alive, 1 suspect, 0 dead, 0 left)" in said
    assert "member x was refused" in said
    assert "n1 *" in said


def test_the_status_of_a_cluster_in_json_is_two_documents(caxton, script):
    script.on("GET", path_of("cluster", "status"), STATUS)
    script.on("GET", path_of("cluster", "members"), MEMBERS)
    ran = caxton("status", "--cluster", "--output", "json")
    assert ran.documents == [STATUS, MEMBERS]


def test_who_comes_and_goes_is_shown_as_it_happens(caxton, script):
    failed = {"kind": "member.failed", "at": "2026-01-31T10:00:00Z", "name": "n2", "address": "b:2"}
    script.events("GET", path_of("events"), ("member.failed", failed))
    ran = caxton("cluster", "watch")
    assert script.received[-1].query["kind"] == "member."
    assert cells(ran.out)[1:] == ["failed", "n2 at b:2"]


def test_who_is_not_let_in_is_shown_with_the_reason(caxton, script):
    refused = {"kind": "member.refused", "at": "2026-01-31T10:00:00Z", "name": "n2", "reason": "x"}
    script.events("GET", path_of("events"), ("member.refused", refused))
    assert cells(caxton("cluster", "watch").out)[1:] == ["refused", "n2: x"]


@pytest.mark.parametrize(
    ("is_announced", "said"), [(True, "the others know"), (False, "will find it gone")]
)
def test_leaving_tells_whether_the_others_know(caxton, script, is_announced, said):
    answer = {"is_announced": is_announced, "moved_agents": 2, "left": []}
    script.on("POST", path_of("cluster", "leave"), answer)
    assert said in caxton("cluster", "leave").out


@pytest.mark.parametrize("peers", [(), ("10.0.0.2:7946", "seed")])
def test_joining_names_who_answered(caxton, script, peers):
    script.on("POST", path_of("cluster", "join"), {"through": "10.0.0.2:7946"})
    assert "through 10.0.0.2:7946" in caxton("cluster", "join", *peers).out
    assert script.received[-1].body == ({"peers": list(peers)} if peers else None)


def test_keys_are_listed_by_fingerprint(caxton, script):
    document = {"items": [KEY], "total": 1, "next_cursor": None, "nodes": ALL}
    script.on("GET", path_of("cluster", "keys"), document)
    assert cells(caxton("cluster", "keys", "list").out.splitlines()[1]) == [
        "9f86d081884c7d65",
        "yes",
        "2 of 2",
        "1 of 2",
    ]


def test_a_ring_without_keys_says_that_nothing_is_encrypted(caxton, script):
    script.on("GET", path_of("cluster", "keys"), {"items": [], "total": 0, "next_cursor": None})
    assert "nothing is encrypted" in caxton("cluster", "keys", "list").err


def test_a_key_is_installed_from_its_file_and_not_shown(caxton, script, tmp_path):
    script.on("POST", path_of("cluster", "keys"), CHANGE, status=201)
    (tmp_path / "key").write_text("a2V5\n")
    ran = caxton("cluster", "keys", "install", str(tmp_path / "key"))
    assert script.received[-1].body == {"key": "a2V5"}
    assert ran.out == "✓ Key 9f86d081884c7d65 is installed on 2 nodes\n"


def test_a_change_of_keys_tells_who_did_not_take_part(caxton, script):
    path = path_of("cluster", "keys", KEY["fingerprint"], "use")
    script.on("POST", path, CHANGE | {"nodes": SOME})
    ran = caxton("cluster", "keys", "use", KEY["fingerprint"])
    assert "in use on 1 node" in ran.out
    assert "n3: full" in ran.err
    assert "n2 did not answer" in ran.err


def test_a_key_is_used_and_removed_by_its_fingerprint(caxton, script):
    fingerprint = KEY["fingerprint"]
    script.on("POST", path_of("cluster", "keys", fingerprint, "use"), CHANGE)
    script.on("DELETE", path_of("cluster", "keys", fingerprint), CHANGE)
    assert caxton("cluster", "keys", "use", fingerprint).out.endswith("in use on 2 nodes\n")
    assert caxton("cluster", "keys", "remove", fingerprint).out.endswith("forgotten on 2 nodes\n")
    assert script.received[-1].method == "DELETE"


def test_a_server_in_no_ring_says_how_to_be_in_one(caxton, script):
    script.problem(
        "POST", path_of("cluster", "leave"), "state_conflict", 409, hint="start it with --gossip"
    )
    ran = caxton("cluster", "leave")
    assert ran.code == 6
    assert "--gossip" in ran.err


def test_nodes_are_listed_with_what_they_do_and_who_has_the_majority(caxton, script):
    script.on("GET", path_of("cluster", "members"), MEMBERS)
    script.on("GET", path_of("cluster"), CLUSTER)
    head, first, second, _, quorum = caxton("cluster", "status").out.splitlines()
    assert cells(head)[:5] == ["NODE", "STATE", "MODE", "AGENTS", "LOAD"]
    assert cells(first) == ["n1 *", "alive", "majority", "4", "2/7", "0.1.0", "-", "zone=eu"]
    assert cells(second)[:4] == ["go0", "suspect", "-", "-"]
    assert quorum == "Quorum: majority (2 of 3 nodes, 2 make a majority): reads and writes"


def test_a_minority_says_what_it_does_not_do(caxton, script):
    alone = PARTITION | {"mode": "isolated", "is_writable": False, "alive": 1}
    script.on("GET", path_of("cluster", "members"), MEMBERS)
    script.on("GET", path_of("cluster"), CLUSTER | {"partition": alone})
    assert "changes are refused" in caxton("cluster", "status").out.splitlines()[-1]


def test_a_partition_names_who_cannot_be_reached(caxton, script):
    script.on("GET", path_of("cluster", "partition"), PARTITION)
    said = caxton("cluster", "partition").out
    assert "2 of 3 alive" in said
    assert "n3" in said


@pytest.mark.parametrize(("moves", "said"), [(3, "3 agents move"), (0, "nothing moves")])
def test_a_rebalancing_says_how_many_move(caxton, script, moves, said):
    script.on("POST", path_of("cluster", "rebalance"), {"moves": moves})
    assert said in caxton("cluster", "rebalance").out


def test_a_drain_that_left_agents_behind_fails_and_names_them(caxton, script):
    script.on("POST", path_of("cluster", "drain"), {"moved": 1, "left": ["Ada"]})
    ran = caxton("cluster", "drain", "--drain-timeout", "5s")
    assert script.received[-1].body == {"timeout_s": 5.0}
    assert ran.code == 1
    assert "1 agent moved" in ran.out
    assert "Ada" in ran.err


def test_a_dead_node_is_struck_off(caxton, script):
    script.on("DELETE", path_of("cluster", "members", "n3"), None, status=204)
    assert caxton("cluster", "remove", "n3").out == "✓ Node n3 is expected no more\n"


PLACED = {
    "name": "Ada",
    "node": "n2",
    "state": "running",
    "version": "1.0.0",
    "number": 1,
    "epoch": 3,
    "replicas": 2,
    "placement": "spread",
    "load": 0,
}


def test_agents_are_listed_by_node(caxton, script):
    items = [PLACED, PLACED | {"node": "n1"}, PLACED | {"name": "Bob", "node": "n1"}]
    document = {"items": items, "total": 3, "next_cursor": None}
    script.on("GET", path_of("cluster", "agents"), document)
    lines = caxton("agent", "list", "--by-node").out.splitlines()[1:]
    assert [cells(line)[:2] for line in lines] == [["n1", "Ada"], ["n1", "Bob"], ["n2", "Ada"]]
    [shown] = caxton("agent", "list", "--by-node", "--node", "n2", "--output", "json").documents
    assert shown["items"] == [PLACED]


def test_an_agent_is_scaled_and_moved(caxton, script):
    scaled = {"name": "Ada", "replicas": 3, "placement": "zone=eu", "nodes": ["n1"]}
    script.on("POST", path_of("agents", "Ada", "scale"), scaled)
    script.on("POST", path_of("agents", "Ada", "move"), None, status=202)
    said = caxton("agent", "scale", "Ada", "3", "--placement", "zone=eu").out
    assert said == "✓ Agent 'Ada' is to run on 3 nodes (zone=eu)\n"
    assert script.received[-1].body == {"replicas": 3, "placement": "zone=eu"}
    assert caxton("agent", "move", "Ada", "n2").out == "✓ Agent 'Ada' moves to n2\n"


def test_a_deployment_may_name_its_node_and_its_replicas(caxton, script, tmp_path):
    file = tmp_path / "ada.toml"
    file.write_text('name = "Ada"\n')
    deployed = {
        "name": "Ada",
        "version": "1.0.0",
        "number": 1,
        "is_new": True,
        "is_changed": True,
        "tools": [],
        "warnings": [],
    }
    script.on("POST", path_of("agents"), deployed, status=201)
    caxton("deploy", str(file), "--node", "n2", "--replicas", "3")
    assert script.received[-1].query == {"node": "n2", "replicas": "3"}
