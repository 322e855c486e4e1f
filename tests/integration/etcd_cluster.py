"""Real members of etcd on loopback, for tests: start, kill, stop and ask them."""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0

needs_etcd = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="etcd is not installed: apt-get install etcd-server"
)


def free_ports(count):
    """Return ports that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class EtcdMember:
    """One process of etcd."""

    name: str
    url: str
    command: list[str]
    log: Path
    process: subprocess.Popen | None = None

    def start(self):
        # An environment of its own: etcd reads settings from variables.
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                # Version 3.4 runs on arm64 only where it is told so.
                env={"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": "arm64"},
            )

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        """End it at once, as a power failure would."""
        if self.is_running:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)


@dataclass
class EtcdCluster:
    """Members that form one cluster."""

    members: list[EtcdMember]
    tls: ssl.SSLContext | None = None
    stopped: list[EtcdMember] = field(default_factory=list)

    @property
    def endpoints(self):
        return tuple(member.url for member in self.members)

    def ask(self, path, *, member=None, **body):
        """Ask a member by JSON, for what the client under test does not do."""
        member = member or next(one for one in self.members if one.is_running)
        request = urllib.request.Request(
            f"{member.url}/v3/{path}", json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=5, context=self.tls) as answer:
            return json.load(answer)

    def wait_until_ready(self, member=None):
        """Return once a majority answers, or this member does."""
        ends_at = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                return self.ask("kv/range", member=member, key=text("x"))
            except (OSError, urllib.error.HTTPError):
                if time.monotonic() > ends_at:
                    raise AssertionError((member or self.members[0]).log.read_text()) from None
                time.sleep(0.05)

    def leader(self):
        """Return the member that leads."""
        for member in self.members:
            if member.is_running:
                status = self.ask("maintenance/status", member=member)
                if status.get("leader") == status["header"]["member_id"]:
                    return member
        raise AssertionError("nobody leads")

    def follower(self):
        """Return a member that does not lead."""
        leader = self.leader()
        return next(one for one in self.members if one.is_running and one is not leader)

    def pause(self, member):
        """Stop a process without ending it; it keeps its connections."""
        member.send(signal.SIGSTOP)
        self.stopped.append(member)

    def resume(self, member):
        member.send(signal.SIGCONT)
        self.stopped.remove(member)

    def mend(self):
        """Let every member run again."""
        for member in list(self.stopped):
            self.resume(member)
        for member in self.members:
            if not member.is_running:
                member.start()
        for member in self.members:
            self.wait_until_ready(member)

    def compact(self):
        """Forget all history up to now; return the revision."""
        revision = self.ask("kv/range", key=text("x"))["header"]["revision"]
        self.ask("kv/compaction", revision=revision, physical=True)
        return int(revision)


def text(value):
    """Return a text as etcd's JSON has it."""
    return base64.b64encode(value.encode()).decode()


@contextmanager
def etcd_cluster(folder, *, count=3, scheme="http", options=(), tls=None):
    """Run members with their data in `folder`; they are killed at the end."""
    ports = free_ports(2 * count)
    peers = {f"m{i}": f"http://127.0.0.1:{ports[count + i]}" for i in range(count)}
    members = []
    for i, (name, peer) in enumerate(peers.items()):
        url = f"{scheme}://127.0.0.1:{ports[i]}"
        command = [
            *("etcd", "--name", name, "--data-dir", str(folder / name)),
            *("--listen-client-urls", url, "--advertise-client-urls", url),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", ",".join(f"{n}={u}" for n, u in peers.items())),
            *("--heartbeat-interval", "50", "--election-timeout", "500"),
            *("--log-level", "warn", "--logger", "zap"),
            *options,
        ]
        members.append(EtcdMember(name, url, command, folder / f"{name}.log"))
    cluster = EtcdCluster(members, tls)
    try:
        for member in members:
            member.start()
        cluster.wait_until_ready()
        yield cluster
    finally:
        for member in members:
            member.kill()
