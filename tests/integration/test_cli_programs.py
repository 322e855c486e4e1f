"""The two programs as a user has them: real processes, a real node, a terminal."""

import fcntl
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.command_line import CommandLine

TIMEOUT_S = 30
ROOT = Path(__file__).parents[2]

ADA = """\
name = "Ada"
capabilities = ["counting"]
tools = ["text_processor"]
system_prompt = "Count words."
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Programs:
    """`caxton` and `caxton-node` with a home and a port of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in os.environ.items() if "CAXTON" not in name}
        self.environment = kept | {
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "share"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "CAXTON_HTTP__BIND": f"127.0.0.1:{self.port}",
            "CAXTON_GRPC__BIND": "127.0.0.1:0",
            "CAXTON_SERVER": self.url,
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm",
        }

    def command(self, *arguments: str, module="main") -> list[str]:
        return [sys.executable, "-m", f"caxton_node.cli.{module}", *arguments]

    def run(self, *arguments: str, module="main", **more):
        return subprocess.run(
            self.command(*arguments, module=module),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=self.home,
            env=self.environment | more.pop("environment", {}),
            **more,
        )

    @contextmanager
    def start(self, *arguments: str, **more):
        """Start a program; whatever becomes of the test, it does not outlive it."""
        command = self.command(*arguments, module=more.pop("module", "main"))
        with subprocess.Popen(
            command, text=True, cwd=self.home, env=self.environment, **more
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return Programs(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def running(programs):
    """A node in the background, with one agent."""
    started = programs.run("server", "start")
    assert started.returncode == 0, started.stderr
    (programs.home / "ada.toml").write_text(ADA)
    deployed = programs.run("deploy", "ada.toml")
    assert deployed.stdout.splitlines() == [
        "✓ Agent 'Ada' deployed and ready",
        "✓ Tools available: text_processor",
    ]
    yield programs
    stopped = programs.run("server", "stop", "--force")
    assert stopped.stdout == "✓ Node stopped\n", stopped.stderr


@pytest.fixture
def fresh(tmp_path):
    """Programs without a node; one that a test starts is ended with it."""
    programs = Programs(tmp_path)
    yield programs
    programs.run("server", "stop", "--force", "--timeout", "1s")


def test_starting_says_where_it_runs_and_where_the_data_are(fresh):
    started = fresh.run("server", "start", "--name", "tester")
    assert started.stdout.splitlines() == [
        f"✓ Node 'tester' is running at {fresh.url}",
        f"✓ API documentation at {fresh.url}/docs",
        f"✓ Data in {fresh.home}/share/caxton",
    ]
    assert "ready at" in fresh.run("server", "logs").stdout
    status = fresh.run("server", "status", "--output", "json", environment={"CAXTON_SERVER": ""})
    assert json.loads(status.stdout)["node"] == "tester"
    assert fresh.run("server", "stop").stdout == "✓ Node stopped\n"
    assert fresh.run("server", "status", environment={"CAXTON_SERVER": ""}).returncode == 4


def test_a_second_node_is_refused_on_the_same_data(running):
    refused = running.run("server", "start", "--http", f"127.0.0.1:{free_port()}")
    assert refused.returncode == 6
    assert "already running with the data in" in refused.stderr


def test_a_node_in_the_foreground_is_refused_there_too(running):
    refused = running.run("--http", "127.0.0.1:0", module="node")
    assert refused.returncode == 6
    assert "already running with the data in" in refused.stderr


def test_a_taken_port_is_told_with_who_has_it(running):
    refused = running.run("server", "start", "--data-dir", "other")
    assert refused.returncode == 6
    assert f"Something listens on 127.0.0.1:{running.port} already" in refused.stderr
    assert "the Caxton node node-1" in refused.stderr


@pytest.mark.parametrize("arguments", [("server", "start"), ()])
def test_other_machines_are_kept_out_until_there_is_a_login(fresh, arguments):
    module = "main" if arguments else "node"
    refused = fresh.run(*arguments, "--http", "0.0.0.0:0", module=module)
    assert refused.returncode == 2
    assert "no login yet" in refused.stderr
    assert "--insecure" in refused.stderr


def test_settings_with_mistakes_are_shown_line_by_line(fresh):
    (fresh.home / "caxton.toml").write_text("[htp]\nbind = 1\n")
    refused = fresh.run(module="node")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[:4] == [
        "✗ The settings have 1 mistake",
        "  caxton.toml:1:1: `htp` is not a known setting",
        "    1 | [htp]",
        "      | ^",
    ]


def test_a_node_that_cannot_start_says_why(fresh):
    data = fresh.home / "share" / "caxton"
    data.mkdir(parents=True)
    (data / "caxton.db").write_text("this is no database " * 100)
    failed = fresh.run("server", "start")
    assert failed.returncode == 1
    assert failed.stderr.startswith("✗ The node did not start\n")
    assert "database" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_node_says_one_line_and_drains_on_sigterm(fresh):
    with fresh.start("--name", "n1", module="node", stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == f"caxton-node n1 ready at {fresh.url}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert process.stdout.read() == ""


def test_an_agent_answers_and_is_looked_after(running):
    answer = running.run("chat", "Ada", 'Count the words in "one two three"')
    assert answer.returncode == 0, answer.stderr
    assert all(line.startswith("[Ada]") for line in answer.stdout.splitlines())
    assert "3" in answer.stdout
    listed = running.run("agent", "list", "--output", "json")
    assert [each["name"] for each in json.loads(listed.stdout)["items"]] == ["Ada"]
    assert "counting" in running.run("agent", "inspect", "Ada").stdout
    assert running.run("agent", "suspend", "Ada").returncode == 0
    assert "suspended" in running.run("agent", "list").stdout
    assert running.run("agent", "resume", "Ada").returncode == 0
    assert running.run("agent", "versions", "Ada").stdout.count("current") == 1


def test_what_was_said_can_be_read_again(running):
    sent = running.run(
        *("message", "send", "--capability", "counting", "--wait", "20s", "--output", "json"),
        'Count the words in "a b"',
    )
    document = json.loads(sent.stdout)
    shown = running.run("conversation", "show", document["conversation_id"]).stdout
    assert "REQUEST client → Ada" in shown
    assert "INFORM Ada → client" in shown
    trace = running.run("message", "trace", document["message_id"]).stdout
    assert "turn_started" in trace
    got = running.run("message", "get", document["message_id"]).stdout
    assert "delivered" in got
    assert document["conversation_id"] in running.run("conversation", "list").stdout


def test_a_streamed_answer_is_the_same_answer(running):
    question = ("chat", "Ada", 'Count the words in "one two three"')
    whole, streamed = running.run(*question), running.run(*question, "--stream")
    assert streamed.stdout.split() == whole.stdout.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",), ("tool", "list"), ("capability", "list"), ("capability", "show", "counting"),
        ("deadletter", "list"), ("server", "config"), ("server", "config", "--effective"),
        ("agent", "logs", "Ada"), ("logs", "--agent", "Ada"), ("doctor",),
        ("agent", "validate", "ada.toml", "--server-side"), ("agent", "validate", "ada.toml"),
        ("deploy", "ada.toml", "--dry-run"), ("deploy", "--agent", "ada.toml"),
        ("agent", "list", "--state", "running", "--capability", "counting"),
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("form", ["human", "json"])
def test_every_question_has_an_answer_in_both_forms(running, capsys, monkeypatch, arguments, form):
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(running.home)
    ran = CommandLine(capsys, running.url)(*arguments, "--output", form)
    assert ran.code == 0, ran.err
    if form == "json":
        assert ran.documents
        assert ran.err == ""


def test_an_unknown_agent_gets_a_suggestion(running):
    ran = running.run("chat", "Adda", "hi")
    assert ran.returncode == 3
    assert "Did you mean Ada?" in ran.stderr


def test_a_reader_that_leaves_early_is_no_error(running):
    with running.start(
        "tool", "list", "--output", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.wait(TIMEOUT_S) == 1
        assert process.stderr.read() == ""


def test_ctrl_c_ends_quietly(running):
    assert running.run("chat", "Ada", "Leave a line in the log").returncode == 0
    with running.start(
        "agent", "logs", "Ada", "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 130
        assert process.stderr.read().strip() == ""


class Terminal:
    """A program at a terminal: type, and wait for what it shows."""

    def __init__(self, process: subprocess.Popen, descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._shown = ""

    def type(self, line: str) -> None:
        os.write(self._descriptor, line.encode())

    def wait_for(self, text: str) -> None:
        """Read on until `text` is shown, and forget what came before its end."""
        ends_at = time.monotonic() + TIMEOUT_S
        while text not in self._shown:
            rest_s = max(0.0, ends_at - time.monotonic())
            ready, _, _ = select.select([self._descriptor], [], [], rest_s)
            assert ready, f"{text!r} was not shown, but {self._shown!r}"
            try:
                data = os.read(self._descriptor, 65_536)
            except OSError:
                data = b""
            assert data, f"it ended without {text!r}: {self._shown!r}"
            self._shown += data.decode(errors="replace")
        self._shown = self._shown.partition(text)[2]


@contextmanager
def at_terminal(programs, *arguments):
    descriptor, other = pty.openpty()
    try:
        with programs.start(
            *arguments,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            # Only a controlling terminal turns Ctrl-C into a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        ) as process:
            os.close(other)
            yield Terminal(process, descriptor)
    finally:
        os.close(descriptor)


def test_a_conversation_at_a_terminal(running):
    with at_terminal(running, "chat", "Ada") as terminal:
        terminal.wait_for("Talking to Ada")
        terminal.wait_for("> ")
        terminal.type('Count the words in "one two three"\n')
        terminal.wait_for("[Ada]")
        terminal.wait_for("> ")
        terminal.type("/id\n")
        terminal.wait_for("conv-")
        terminal.type("/new\n")
        terminal.wait_for("A new conversation begins.")
        terminal.type("/help\n")
        terminal.wait_for("/exit")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.process.wait(TIMEOUT_S) == 0
    history = running.home / "state" / "caxton" / "chat_history"
    assert 'Count the words in "one two three"' in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def interrupted(terminal):
    """Press Ctrl-C until the program ends, and return its exit code.

    Python misses a signal that comes between the prompt and its wait for a key. The next one
    ends that wait, as it does for a person.
    """
    for _ in range(20):
        terminal.type("\x03")
        with suppress(subprocess.TimeoutExpired):
            return terminal.process.wait(1)
    return None


def test_ctrl_c_at_the_prompt_leaves(running):
    with at_terminal(running, "chat", "Ada") as terminal:
        terminal.wait_for("> ")
        assert interrupted(terminal) == 130


def test_a_failed_answer_does_not_end_a_conversation(running):
    with at_terminal(running, "chat", "Nobody") as terminal:
        terminal.wait_for("> ")
        terminal.type("hello\n")
        terminal.wait_for("✗")
        terminal.wait_for("> ")
        terminal.type("/exit\n")
        assert terminal.process.wait(TIMEOUT_S) == 0


def test_bash_accepts_the_completion_script_and_completes(running):
    script = running.run("completion", "bash").stdout
    checked = subprocess.run(
        ["bash", "-n"], input=script, text=True, capture_output=True, check=False, timeout=TIMEOUT_S
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    completed = running.run(
        environment={
            "_CAXTON_COMPLETE": "bash_complete",
            "COMP_WORDS": "caxton agent inspect A",
            "COMP_CWORD": "3",
        }
    )
    assert completed.stdout == "plain,Ada\n"
