"""Commands against a server that answers as it was told: what is asked, what is printed."""

import io
import json
import sys

import pytest

from caxton_node.cli.client import path_of
from caxton_node.cli.main import main
from tests.command_line import CommandLine
from tests.scripted_http import scripted_http

SUMMARY = {
    "name": "Ada",
    "kind": "llm",
    "state": "running",
    "version": "1.2.0",
    "number": 3,
    "description": "Counts.",
    "capabilities": ["counting", "maths"],
    "tools": ["echo"],
    "nodes": ["n1"],
    "replicas": 1,
    "queued": 0,
    "turns_under_way": 0,
    "uptime_s": 3700.0,
    "last_activity_at": None,
}
DEPLOYED = {
    "name": "Ada",
    "state": "running",
    "version": "1.0.0",
    "number": 1,
    "is_new": True,
    "is_changed": True,
    "capabilities": ["counting"],
    "tools": ["echo", "csv_parser"],
    "warnings": [],
}
AGENT_TOML = 'name = "Ada"\ncapabilities = ["counting"]\nsystem_prompt = "Count."\n'


def answer(text="Three.", performative="inform"):
    return {
        "conversation_id": "conv-1",
        "message_id": "msg-1",
        "reply": {"performative": performative, "content": text},
        "text": text,
        "performative": performative,
        "metadata": None,
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


def items(*found):
    return {"items": list(found), "total": len(found), "next_cursor": None}


def piped(monkeypatch, data: bytes):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# Agents


def test_agents_are_listed_with_a_count_of_their_states(caxton, script):
    script.on("GET", path_of("agents"), items(SUMMARY, SUMMARY | {"name": "B", "state": "failed"}))
    ran = caxton("agent", "list")
    head, first, _ = ran.out.splitlines()
    assert head.split() == (
        ["NAME", "STATE", "VERSION", "NODE", "CAPABILITIES", "TOOLS", "QUEUED", "UPTIME"]
    )
    assert first.split("  ")[0] == "Ada"
    assert "counting, maths" in first
    assert "1h 1m" in first
    assert ran.err.strip() == "2 agents (1 running, 1 failed)"


def test_json_is_the_document_of_the_api_on_one_line(caxton, script):
    script.on("GET", path_of("agents"), items(SUMMARY))
    ran = caxton("agents", "list", "--output", "json")
    assert ran.documents == [items(SUMMARY)]
    assert ran.err == ""


def test_pages_of_a_list_are_joined(caxton, script):
    def page(handler):
        cursor = script.received[-1].query.get("cursor")
        name = f"agent-{cursor or 'a'}"
        following = {None: "b", "b": None}[cursor]
        handler.send(
            200, {"items": [SUMMARY | {"name": name}], "total": 2, "next_cursor": following}, {}
        )

    script.call("GET", path_of("agents"), page)
    [document] = caxton("--output", "json", "agent", "list").documents
    assert [each["name"] for each in document["items"]] == ["agent-a", "agent-b"]
    assert document["next_cursor"] is None


@pytest.mark.parametrize("verb", ["restart", "suspend", "resume", "stop"])
def test_the_life_of_agents_is_in_the_hands_of_the_user(caxton, script, verb):
    for name in ("Ada", "Bob"):
        script.on("POST", path_of("agents", name, verb), SUMMARY)
    ran = caxton("agent", verb, "Ada", "Bob")
    assert ran.code == 0
    assert [line[:13] for line in ran.out.splitlines()] == ["✓ Agent 'Ada'", "✓ Agent 'Bob'"]


def test_a_shortcut_names_the_agent_by_option(caxton, script):
    script.on("POST", path_of("agents", "Ada", "stop"), SUMMARY)
    ran = caxton("stop", "--agent", "Ada", "--force")
    assert ran.out == "✓ Agent 'Ada' stopped\n"
    assert script.received[-1].body == {"grace_s": 10.0, "force": True}


def test_a_name_is_escaped_in_the_path(caxton, script):
    caxton("agent", "inspect", "a/b?c")
    assert script.received[-1].path == "/api/v1/agents/a%2Fb%3Fc"


def test_an_agent_is_deleted_without_a_document(caxton, script):
    script.on("DELETE", path_of("agents", "Ada"), None, status=204)
    ran = caxton("agent", "delete", "Ada", "--force")
    assert ran.out == "✓ Agent 'Ada' deleted\n"
    assert script.received[-1].query == {"force": "true"}


def test_a_rollback_names_the_version_it_returned_to(caxton, script):
    script.on("POST", path_of("agents", "Ada", "rollback"), DEPLOYED | {"number": 4})
    ran = caxton("agent", "rollback", "Ada", "--to", "2")
    assert "1.0.0 again (deployment 4)" in ran.out
    assert script.received[-1].body == {"number": 2}


def test_a_canary_is_shown_beside_the_version_in_force(caxton, script):
    side = {"version": "1.0.0", "turns": 90, "failures": 1, "p95_s": 0.0123}
    canary = {"version": "1.1.0", "turns": 0, "failures": 0, "p95_s": None}
    script.on(
        "GET",
        path_of("agents", "Ada", "rollout"),
        {
            "outcome": "rolled_back",
            "reason": "it is in quarantine",
            "share_percent": 10.0,
            "started_at": "2026-01-31T10:00:00.000Z",
            "running": side,
            "canary": canary,
        },
    )
    ran = caxton("agent", "rollout", "Ada")
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["in", "force", "1.0.0", "90", "1", "12.3", "ms"] in rows
    assert ["canary", "10%", "1.1.0", "0", "0", "-"] in rows


def test_a_canary_is_promoted(caxton, script):
    script.on("POST", path_of("agents", "Ada", "promote"), DEPLOYED | {"number": 2})
    ran = caxton("agent", "promote", "Ada")
    assert ran.out == "✓ Agent 'Ada' is at 1.0.0 now (deployment 2)\n"


def test_a_deployment_may_begin_as_a_canary(caxton, script, tmp_path):
    file = tmp_path / "ada.toml"
    file.write_text("name = 'Ada'\n")
    script.on("POST", path_of("agents"), DEPLOYED | {"is_canary": True})
    ran = caxton("deploy", str(file), "--canary", "10%", "--canary-for", "5m")
    assert "version 1.0.0 takes a share of new conversations" in ran.out
    assert script.received[-1].query == {"canary": "10", "canary_for": "300"}


@pytest.mark.parametrize("share", ["0%", "101", "half", "-1%"])
def test_a_share_that_is_none_is_refused(caxton, share):
    assert caxton("deploy", "ada.toml", "--canary", share).code == 2


def test_log_lines_are_followed_as_they_come(caxton, script):
    line = {"at": "2026-01-31T10:00:00.000Z", "level": "info", "text": "hi", "conversation_id": "c"}
    script.events("GET", path_of("agents", "Ada", "logs"), ("line", line), ("line", line))
    ran = caxton("agent", "logs", "Ada", "--follow")
    assert [each[20:] for each in ran.out.splitlines()] == ["INFO    hi (c)"] * 2


# Deploying


def test_a_file_is_deployed_as_it_stands(caxton, script, tmp_path):
    file = tmp_path / "ada.toml"
    file.write_text(AGENT_TOML)
    script.on("POST", path_of("agents"), DEPLOYED, status=201)
    ran = caxton("deploy", str(file))
    assert ran.code == 0
    assert ran.out == "✓ Agent 'Ada' deployed and ready\n✓ Tools available: echo, csv_parser\n"
    body = {"source": AGENT_TOML, "format": "toml", "file": str(file)}
    assert script.received[-1].body == body


def test_a_dry_run_says_that_nothing_changed(caxton, script, tmp_path):
    file = tmp_path / "ada.md"
    file.write_text("---\nname: Ada\n---\n")
    script.on("POST", path_of("agents"), DEPLOYED | {"valid": True})
    ran = caxton("deploy", "--dry-run", str(file))
    assert "nothing was changed" in ran.out
    assert script.received[-1].query == {"dry_run": "true"}


def test_a_mistake_is_shown_in_its_line_with_a_caret_and_a_fix(caxton, script, tmp_path):
    file = tmp_path / "ada.toml"
    file.write_text(AGENT_TOML)
    place = {
        "message": "`capabilities[0]` is odd",
        "field": "capabilities[0]",
        "file": str(file),
        "line": 2,
        "column": 17,
        "rule": "odd",
        "fix": "Write something even",
    }
    script.problem(
        "POST", path_of("agents"), "invalid_agent", 422, detail="1 mistake", errors=[place]
    )
    ran = caxton("deploy", str(file))
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.splitlines()[1:] == [
        "✗ 1 mistake",
        f"  {file}:2:17: `capabilities[0]` is odd",
        '    2 | capabilities = ["counting"]',
        "      |                 ^",
        "    To fix: Write something even",
    ]


def test_a_warning_does_not_stop_a_deployment(caxton, script, tmp_path):
    file = tmp_path / "ada.toml"
    file.write_text(AGENT_TOML)
    warning = {"message": "`tone` means nothing", "fix": "Remove it"}
    script.on("POST", path_of("agents"), DEPLOYED | {"warnings": [warning]})
    ran = caxton("deploy", str(file), "--quiet")
    assert ran.code == 0
    assert ran.err == "⚠ `tone` means nothing\n  To fix: Remove it\n"


def test_every_file_is_tried_and_the_first_failure_decides_the_exit_code(caxton, script, tmp_path):
    files = [tmp_path / "gone.toml", tmp_path / "ada.toml", tmp_path / "ada.txt"]
    for file in files[1:]:
        file.write_text(AGENT_TOML)
    script.on("POST", path_of("agents"), DEPLOYED, status=201)
    ran = caxton("deploy", *(str(file) for file in files))
    assert ran.code == 2
    assert "✓ Agent 'Ada' deployed and ready" in ran.out
    assert "gone.toml cannot be read: no such file or directory" in ran.err
    assert "is no agent file by its name" in ran.err
    assert ran.err.endswith("1 of 3 agents deployed\n")


def test_a_file_that_is_too_large_is_not_even_read(caxton, script, tmp_path):
    file = tmp_path / "ada.toml"
    with file.open("wb") as opened:
        opened.truncate(1_000_001)
    ran = caxton("deploy", str(file))
    assert ran.code == 2
    assert "exceeds 1,000,000 bytes" in ran.err
    assert script.received == []


def test_a_valid_file_needs_no_server(capsys, tmp_path):
    file = tmp_path / "ada.toml"
    file.write_text(AGENT_TOML)
    ran = CommandLine(capsys, "127.0.0.1:1")("agent", "validate", str(file))
    assert (ran.code, ran.out) == (0, f"✓ {file} is valid: agent 'Ada'\n")


def test_a_file_with_mistakes_is_refused_without_a_server(capsys, tmp_path):
    file = tmp_path / "ada.toml"
    file.write_text('name = "Ada"\ncapabilities = []\ntemprature = 3\n')
    ran = CommandLine(capsys, "127.0.0.1:1")("agent", "validate", str(file))
    assert ran.code == 2
    assert "    3 | temprature = 3\n      | ^\n" in ran.err


# Chat


def test_an_answer_stands_after_the_name_of_the_agent(caxton, script):
    script.on("POST", path_of("agents", "Ada", "chat"), answer("One.\nTwo."))
    ran = caxton("chat", "Ada", "How", "many?")
    assert (ran.code, ran.out) == (0, "[Ada] One.\n[Ada] Two.\n")
    assert script.received[-1].body == {"message": "How many?", "timeout_s": 120.0}


def test_a_refusal_goes_to_stderr_and_fails(caxton, script):
    script.on("POST", path_of("agents", "Ada", "chat"), answer("I will not.", "refuse"))
    ran = caxton("chat", "Ada", "Do it")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "✗ [Ada] refuse: I will not.\n"


def test_what_is_piped_in_is_said(caxton, script, monkeypatch):
    script.on("POST", path_of("agents", "Ada", "chat"), answer())
    piped(monkeypatch, b"a,b\n1,2\n")
    assert caxton("chat", "Ada").code == 0
    assert script.received[-1].body["message"] == "a,b\n1,2"


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", "nothing to say"), (b"\xff", "no UTF-8 (byte 1)"), (b"x" * 1_000_001, "1,000,000")],
)
def test_what_cannot_be_said_is_not_sent(caxton, script, monkeypatch, data, text):
    piped(monkeypatch, data)
    ran = caxton("chat", "Ada", "-")
    assert ran.code == 2
    assert text in ran.err
    assert script.received == []


def test_a_conversation_is_continued(caxton, script):
    script.on("POST", path_of("agents", "Ada", "chat"), answer())
    caxton("chat", "Ada", "go on", "--conversation", "conv-7", "--timeout", "2m")
    body = script.received[-1].body
    assert (body["conversation_id"], body["timeout_s"]) == ("conv-7", 120.0)


def test_words_and_tool_calls_appear_as_they_come(caxton, script):
    script.events(
        "POST",
        path_of("agents", "Ada", "chat"),
        ("accepted", {"message_id": "m", "conversation_id": "conv-1"}),
        ("tool_call", {"name": "csv_parser", "arguments": {"text": "a,b"}}),
        ("tool_result", {"name": "csv_parser", "is_error": False, "summary": "1 row"}),
        ("delta", {"text": "One\nrow"}),
        ("delta", {"text": "."}),
        ("reply", answer("One\nrow.")),
    )
    ran = caxton("chat", "Ada", "x", "--stream")
    assert ran.out == "[Ada] One\n[Ada] row.\n"
    assert ran.err == '  → csv_parser {"text": "a,b"}\n  ✓ csv_parser 1 row\n'


def test_an_answer_that_was_not_streamed_is_shown_whole(caxton, script):
    script.events("POST", path_of("agents", "Ada", "chat"), ("reply", answer("Three.")))
    assert caxton("chat", "Ada", "x", "--stream").out == "[Ada] Three.\n"


def test_a_streamed_error_ends_the_chat_as_any_other(caxton, script):
    problem = {"code": "timed_out", "status": 504, "detail": "no answer", "conversation_id": "c-1"}
    script.events("POST", path_of("agents", "Ada", "chat"), ("error", problem))
    ran = caxton("chat", "Ada", "x", "--stream")
    assert ran.code == 7
    assert "caxton conversation show c-1" in ran.err


def test_a_stream_that_breaks_off_is_no_answer(caxton, script):
    script.events("POST", path_of("agents", "Ada", "chat"), ("delta", {"text": "On"}))
    ran = caxton("chat", "Ada", "x", "--stream")
    assert ran.code == 4
    assert "ended the stream before the answer" in ran.err


def test_events_are_printed_one_a_line_for_programs(caxton, script):
    script.events("POST", path_of("agents", "Ada", "chat"), ("reply", answer()))
    ran = caxton("chat", "Ada", "x", "--stream", "--output", "json")
    assert ran.documents == [{"event": "reply", "data": answer()}]


def test_control_characters_of_an_agent_do_not_reach_the_terminal(caxton, script):
    script.on("POST", path_of("agents", "Ada", "chat"), answer("\x1b]0;owned\x07\x1b[2J"))
    assert caxton("chat", "Ada", "x").out == "[Ada] \\x1b]0;owned\\x07\\x1b[2J\n"


# Messages, conversations, dead letters


def test_a_message_goes_to_whoever_offers_a_capability(caxton, script):
    accepted = {
        "message_id": "msg-1",
        "conversation_id": "conv-1",
        "status": "accepted",
        "routed_to": ["Ada"],
        "is_duplicate": False,
    }
    script.on("POST", path_of("messages"), accepted, status=202)
    ran = caxton("message", "send", "--capability", "counting", '{"up_to": 3}')
    assert ran.out == "✓ Message msg-1 accepted for Ada\n"
    assert script.received[-1].body == {
        "performative": "request",
        "sender": "client",
        "capability": "counting",
        "content": {"up_to": 3},
    }


def test_content_that_looks_like_json_is_text_if_the_user_says_so(caxton, script):
    script.on("POST", path_of("messages"), {"message_id": "m", "routed_to": []}, status=202)
    caxton("message", "send", "--to", "Ada", "--text", "[1]")
    assert script.received[-1].body["content"] == "[1]"


@pytest.mark.parametrize("options", [[], ["--to", "Ada", "--capability", "counting"]])
def test_a_message_has_one_receiver(caxton, options):
    ran = caxton("message", "send", "hi", *options)
    assert ran.code == 2
    assert "To whom?" in ran.err


def stored(message_id, sender, receiver, content, at, act="request", status="delivered"):
    return {
        "message": {
            "id": message_id,
            "performative": act,
            "sender": sender,
            "receiver": receiver,
            "content": content,
        },
        "status": status,
        "accepted_at": at,
        "agent": receiver,
    }


def test_a_conversation_is_a_tree_with_what_it_led_to(caxton, script):
    def conversation(conversation_id, at, messages, children=()):
        return {
            "id": conversation_id,
            "status": "completed",
            "created_at": at,
            "message_count": len(messages),
            "messages": messages,
            "children": list(children),
        }

    first = stored("m1", "client", "Ada", "How many?", "2026-01-31T10:00:00.000Z")
    asked = stored("m2", "Ada", "Bob", {"n": 1}, "2026-01-31T10:00:01.000Z", "query_ref", "dead")
    last = stored("m3", "Ada", "client", "Three.", "2026-01-31T10:00:02.000Z", "inform")
    script.on(
        "GET",
        path_of("conversations", "conv-1"),
        conversation("conv-1", "2026-01-31T10:00:00.000Z", [first, last], ["conv-1#2", "gone"]),
    )
    script.on(
        "GET",
        path_of("conversations", "conv-1#2"),
        conversation("conv-1#2", "2026-01-31T10:00:01.000Z", [asked], ["conv-1"]),
    )
    script.problem("GET", path_of("conversations", "gone"), "conversation_not_found", 404)
    lines = caxton("conversation", "show", "conv-1").out.splitlines()
    assert lines[0] == "conv-1 completed, 2 messages"
    assert lines[1].startswith("├── ")
    assert lines[1].endswith("REQUEST client → Ada: How many?")
    assert lines[2] == "├── conv-1#2 completed, 1 message"
    assert lines[3].endswith('QUERY_REF Ada → Bob [dead]: {"n": 1}')
    assert lines[4].endswith("INFORM Ada → client: Three.")
    assert len(lines) == 5


def test_dead_letters_are_retried_and_dropped(caxton, script):
    script.on("POST", path_of("dead-letters", "m1", "retry"), {"message_id": "m1"}, status=202)
    script.on("DELETE", path_of("dead-letters", "m2"), None, status=204)
    assert caxton("deadletter", "retry", "m1").out == "✓ Message m1 is on its way again\n"
    assert caxton("deadletter", "drop", "m2").out == "✓ Message m2 dropped\n"


# Errors


def test_an_unknown_agent_gets_the_servers_suggestions(caxton, script):
    script.problem(
        "GET",
        path_of("agents", "Adda"),
        "agent_not_found",
        404,
        detail="no agent is called 'Adda'",
        hint="Did you mean Ada?",
        suggestions=["Ada"],
    )
    ran = caxton("agent", "inspect", "Adda")
    assert ran.code == 3
    assert ran.err == "✗ no agent is called 'Adda'\n  Did you mean Ada?\n"


def test_an_error_is_the_problem_document_for_programs(caxton, script):
    script.problem("GET", path_of("agents", "B"), "agent_not_found", 404, detail="no", trace_id="t")
    ran = caxton("agent", "inspect", "B", "--output", "json")
    assert ran.code == 3
    assert ran.out == ""
    problem = json.loads(ran.err)
    assert (problem["code"], problem["status"], problem["trace_id"]) == (
        "agent_not_found",
        404,
        "t",
    )


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["stauts"], "Did you mean 'status'?"),
        (["agent", "lst"], "Did you mean 'list'?"),
        (["status", "--outptu", "json"], "Did you mean '--output'?"),
        (["status", "--timeout", "soon"], "'soon' is no time"),
        (["--server", "ftp://x", "status"], "no address of a server"),
        (["--server", "http://user:pass@x", "status"], "no address of a server"),
        (["deploy"], "Which file?"),
    ],
)
def test_a_slip_is_told_with_what_was_probably_meant(capsys, arguments, advice):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("✗ ")
    assert advice in captured.err


def test_a_server_that_is_not_there_is_exit_code_four(capsys):
    ran = CommandLine(capsys, "http://127.0.0.1:1")("status")
    assert ran.code == 4
    assert ran.err.splitlines() == [
        "✗ No server answers at http://127.0.0.1:1: Connection refused",
        "  To fix: start one with: caxton server start",
    ]


def test_a_bug_is_shown_without_a_traceback(caxton, script):
    script.on("GET", path_of("status"), {"unexpected": True})
    ran = caxton("status")
    assert ran.code == 1
    assert "This is a bug in Caxton: KeyError" in ran.err
    assert "Traceback" not in ran.err


def test_a_traceback_is_shown_to_whoever_wants_it(caxton, script, monkeypatch):
    monkeypatch.setenv("CAXTON_DEBUG", "1")
    script.on("GET", path_of("status"), {"unexpected": True})
    assert "Traceback (most recent call last)" in caxton("status").err


def test_a_slip_is_a_problem_document_for_programs(caxton):
    ran = caxton("--output", "json", "agent", "lst")
    assert ran.code == 2
    assert json.loads(ran.err)["code"] == "invalid_request"


# Doctor

STATUS = {
    "node": "node-1",
    "version": "0.1.0",
    "status": "ready",
    "agents": {"total": 3},
    "messages": {"accepted": 7, "dead": 0},
    "model": {"provider": "openai", "model": "small"},
}


@pytest.fixture
def healthy(script, monkeypatch, tmp_path):
    monkeypatch.setenv("CAXTON_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    script.on("GET", "/health", {"status": "ok", "node": "node-1", "version": "0.1.0"})
    script.on("GET", "/ready", {"status": "ready", "components": {"store": "ready"}})
    script.on("GET", path_of("status"), STATUS)
    script.on("GET", path_of("agents"), items())
    return script


def test_nothing_wrong_is_said_line_by_line(caxton, healthy):
    ran = caxton("doctor")
    assert ran.code == 0, ran.out
    assert {line[0] for line in ran.out.splitlines()} == {"✓"}
    assert "✓ Model openai/small" in ran.out
    assert "✓ store: ready" in ran.out


def test_whatever_is_wrong_comes_with_what_to_do(caxton, healthy, tmp_path):
    (tmp_path / "caxton.toml").write_text("[http]\nbindd = 1\n")
    components = {"store": "ready", "model": "degraded: no key"}
    healthy.on("GET", "/ready", {"status": "ready", "components": components})
    healthy.on("GET", path_of("agents"), items({"name": "Ada"}, {"name": "Bob"}))
    healthy.on("GET", path_of("status"), STATUS | {"messages": {"dead": 1_000}})
    ran = caxton("doctor")
    assert ran.code == 1
    assert [line for line in ran.out.splitlines() if line[0] != "✓"] == [
        (
            "✗ The settings have 1 mistake: caxton.toml:2:1: `http.bindd` is not a known setting "
            "(Did you mean `http.bind`?)"
        ),
        "  To fix: mend the settings named here",
        "✗ model: degraded: no key",
        "  To fix: look: caxton server logs",
        "✗ 2 agents failed: Ada, Bob",
        "  To fix: look: caxton agent logs Ada; then: caxton agent restart Ada",
        "✗ 1,000 dead letters since the start",
        "  To fix: look: caxton deadletter list",
    ]
    assert any(one.query.get("state") == "failed" for one in healthy.received)


def test_a_server_that_is_not_there_is_a_finding_for_programs_too(
    capsys, monkeypatch, tmp_path, healthy
):
    monkeypatch.setenv("CAXTON_HTTP__BIND", healthy.url.removeprefix("http://"))
    ran = CommandLine(capsys, "127.0.0.1:1")("doctor", "--output", "json")
    assert ran.code == 1
    [document] = ran.documents
    wrong = [each["check"] for each in document["items"] if not each["ok"]]
    assert (document["ok"], wrong) == (False, ["port", "server"])


def test_a_full_disk_is_found(caxton, healthy, monkeypatch):
    monkeypatch.setattr("caxton_node.cli.checks.FREE_BYTES_MIN", 10**18)
    ran = caxton("doctor")
    assert ran.code == 1
    assert "free some space" in ran.out


# The program itself


def test_without_a_command_it_says_how_to_begin(capsys):
    assert main([]) == 0
    assert "caxton server start" in capsys.readouterr().out


def test_every_summary_at_the_top_is_the_first_sentence_of_the_command():
    import click

    from caxton_node.cli.main import COMMANDS, caxton

    ctx = click.Context(caxton)
    for name, later in COMMANDS.items():
        command = caxton.get_command(ctx, name)
        assert command.get_short_help_str(200).rstrip(".") == later.summary.rstrip("."), name


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_a_completion_script_is_printed(capsys, shell):
    assert main(["completion", shell]) == 0
    assert "_CAXTON_COMPLETE" in capsys.readouterr().out


def test_agents_names_are_completed(script, monkeypatch):
    from caxton_node.cli.parameters import complete_agent

    script.on("GET", path_of("agents"), items({"name": "Ada"}, {"name": "Bob"}))
    monkeypatch.setenv("CAXTON_SERVER", script.url)
    assert complete_agent(None, None, "A") == ["Ada"]


def test_completion_says_nothing_about_a_server_that_is_not_there(monkeypatch):
    from caxton_node.cli.parameters import complete_agent

    monkeypatch.setenv("CAXTON_SERVER", "127.0.0.1:1")
    assert complete_agent(None, None, "A") == []


def test_a_new_agent_is_written_and_never_over_another(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "ada"]) == 0
    text = (tmp_path / "ada" / "agent.toml").read_text()
    assert 'name = "ada"' in text
    assert main(["init", "ada"]) == 6
    assert (tmp_path / "ada" / "agent.toml").read_text() == text


def test_the_templates_are_listed(capsys):
    assert main(["init", "--list", "--output", "json"]) == 0
    names = [each["name"] for each in json.loads(capsys.readouterr().out)["items"]]
    assert "data-analyzer" in names
