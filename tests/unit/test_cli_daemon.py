import itertools
import socket
import subprocess
import sys

import pytest

from caxton_node.cli import daemon
from caxton_node.cli.daemon import (
    follow_log,
    log_since,
    refuse_taken_port,
    spawn_node,
    wait_until_ready,
)
from caxton_node.domain.errors import Conflict, TimedOut
from tests.scripted_http import scripted_http


def test_the_last_lines_of_a_log_are_found(tmp_path):
    log = tmp_path / "node.log"
    log.write_text("one\ntwo\nthree\n")
    assert log_since(log, 0, 2) == ["two", "three"]
    assert log_since(log, 4, 10) == ["two", "three"]
    assert log_since(tmp_path / "none", 0, 10) == []


def test_a_piece_of_a_line_is_not_shown_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon, "TAIL_BYTES_MAX", 8)
    log = tmp_path / "node.log"
    log.write_text("first line\nlast\n")
    assert log_since(log, 0, 10) == ["last"]


def test_new_lines_are_followed_also_into_a_new_file(tmp_path, monkeypatch):
    log = tmp_path / "node.log"
    log.write_text("a line of before\n")
    # What happens while the follower would wait.
    writings = iter(["a line of before\nsecond\nthi", "a line of before\nsecond\nthird\n", "new\n"])
    monkeypatch.setattr(daemon.time, "sleep", lambda _: log.write_text(next(writings)))
    assert list(itertools.islice(follow_log(log), 3)) == ["second", "third", "new"]


def test_a_free_port_is_free_and_a_taken_one_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Conflict, match=f"listens on 127.0.0.1:{port} already"):
            refuse_taken_port("127.0.0.1", port)
    refuse_taken_port("127.0.0.1", port)


def test_an_address_of_another_machine_cannot_be_listened_on():
    with pytest.raises(Conflict, match="Nothing can listen on"):
        refuse_taken_port("192.0.2.1", 8080)


def sleeper():
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_a_node_that_answers_is_ready():
    with scripted_http() as script, sleeper() as process:
        script.on("GET", "/health", {"node": "n"})
        assert wait_until_ready(process, script.url, timeout_s=20) == {"node": "n"}


def test_a_node_that_ends_is_not_waited_for():
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert wait_until_ready(process, "http://127.0.0.1:1", timeout_s=20) == 3


def test_a_node_that_does_not_answer_is_given_up():
    with sleeper() as process, pytest.raises(TimedOut, match=r"within 0\.1 s"):
        wait_until_ready(process, "http://127.0.0.1:1", timeout_s=0.1)


def test_a_large_log_is_put_aside_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon, "LOG_BYTES_MAX", 10)
    log = tmp_path / "log" / "node.log"
    log.parent.mkdir()
    log.write_text("a long log of yesterday")
    with spawn_node(["--help"], log) as process:
        assert process.wait(20) == 0
    assert (tmp_path / "log" / "node.log.1").read_text() == "a long log of yesterday"
    assert log.read_text().startswith("Usage: caxton-node")
