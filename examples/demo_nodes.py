"""The three nodes of the demonstration: real processes on free ports of this machine."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 60.0


def program(name: str) -> str:
    """Return the path of a program installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def show(command: list[str]) -> None:
    """Print a command as one would type it."""
    words = [Path(command[0]).name, *(word.replace(f"{HERE.parent}/", "") for word in command[1:])]
    typed = f"$ {shlex.join(words)}"
    print(f"\n\033[1m{typed}\033[0m" if sys.stdout.isatty() else f"\n{typed}", flush=True)


def caxton(*arguments: str, url: str) -> str:
    """Run the command line against a node, print what it says, and return it."""
    command = [program("caxton"), *arguments]
    show(command)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
        env=os.environ | {"CAXTON_SERVER": url},
    )
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Node:
    """One `caxton-node`, its folder and its ports."""

    def __init__(
        self,
        name: str,
        folder: Path,
        peer: "Node | None",
        *,
        allowed_host: str,
        member_count: int = 3,
    ) -> None:
        self.name = name
        self._folder = folder / name
        self._folder.mkdir()
        http, grpc, gossip = free_ports(3)
        self.url = f"http://127.0.0.1:{http}"
        self.gossip = f"127.0.0.1:{gossip}"
        self._config = self._folder / "caxton.toml"
        self._config.write_text(
            "# http_client reaches public hosts only, unless the operator allows others by name.\n"
            f'[tools]\nallowed_private_hosts = ["{allowed_host}"]\n'
            "# Python agents are classes that the operator allows.\n"
            '[python]\nallow = ["primes:*"]\n'
            "# A dead node is found sooner than by the default, `lan`, for a little more traffic.\n"
            '[cluster]\npreset = "fast"\n'
        )
        self._command = [
            program("caxton-node"),
            *("--config", str(self._config), "--name", name),
            *("--data-dir", str(self._folder / "data")),
            *("--http", f"127.0.0.1:{http}", "--grpc", f"127.0.0.1:{grpc}"),
            *("--gossip", self.gossip, "--expect", str(member_count)),
            *(("--peers", peer.gossip) if peer else ()),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; `wait_until_ready` tells when it answers."""
        show(self._command)
        python_path = str(HERE / "python_agents")
        with (self._folder / "node.log").open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": python_path},
            )

    def wait_until_ready(self) -> None:
        """Return once the node answers; give up after `START_TIMEOUT_S`."""
        assert self._process is not None, "start it first"
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                sys.exit(f"{self.name} ended with {self._process.returncode}:\n{self.log()}")
            try:
                with urlopen(f"{self.url}/health", timeout=1) as response:
                    if response.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{self.name} did not answer within {START_TIMEOUT_S:g} s:\n{self.log()}")

    def log(self) -> str:
        """Return what the node logged."""
        return (self._folder / "node.log").read_text()

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        assert self._process is not None, "start it first"
        show(["kill", "-9", str(self._process.pid)])
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to stop; kill it where it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def lone_node(folder: Path, *, allowed_host: str) -> Iterator[Node]:
    """Run a node that belongs to no cluster, and stop it at the end."""
    node = Node("alone", folder, None, allowed_host=allowed_host, member_count=1)
    try:
        node.start()
        node.wait_until_ready()
        yield node
    finally:
        node.stop()


@contextmanager
def three_nodes(folder: Path, *, allowed_host: str) -> Iterator[list[Node]]:
    """Run a cluster of three, and stop all of it at the end.

    Args:
        folder: Where the nodes keep their data.
        allowed_host: Host and port in this machine's network that agents may fetch from.
    """
    nodes: list[Node] = []
    try:
        for name in ("n1", "n2", "n3"):
            peer = nodes[0] if nodes else None
            nodes.append(Node(name, folder, peer, allowed_host=allowed_host))
            nodes[-1].start()
        for one in nodes:
            one.wait_until_ready()
        yield nodes
    finally:
        for one in reversed(nodes):
            one.stop()
