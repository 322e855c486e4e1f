"""Nodes on a network of their own, and everything that can happen to them.

Each node is a `caxton-node` process in a network namespace, with certificates of an authority of
this run. They hang on bridges; moving a node to another bridge partitions the network as a network
does it: nothing is refused, everything is silent. The test talks to each node through a Unix
socket, which no partition touches. Needs root; nothing outside of the namespaces is changed.
"""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp

from tests.integration.netns_lab import ip
from tests.ledger import FINAL, Effect, Ledger, Sent

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 20.0
SETTLE_TIMEOUT_S = 60.0
BURST_COUNT = 4
BURST_PAUSE_S = 0.4


class Bridges:
    """A switch cabinet: one bridge for each side of a partition, one port for each host."""

    def __init__(self, stack: AsyncExitStack, count: int) -> None:
        self._stack = stack
        self._prefix = f"cf{os.getpid()}"
        self._cabinet = f"{self._prefix}-x"
        self._namespace(self._cabinet)
        self.count = count
        for number in range(count):
            ip("-n", self._cabinet, "link", "add", f"side{number}", "type", "bridge")
            ip("-n", self._cabinet, "link", "set", f"side{number}", "up")

    def _namespace(self, name: str) -> None:
        ip("netns", "add", name)
        self._stack.callback(
            subprocess.run, ["ip", "netns", "del", name], capture_output=True, timeout=10
        )

    def add_host(self, number: int) -> str:
        """Give a host a namespace with the address 10.98.0.<number>; return its name."""
        space, port = f"{self._prefix}-{number}", f"port{number}"
        self._namespace(space)
        peer = ("type", "veth", "peer", "name", "eth0", "netns", space)
        ip("-n", self._cabinet, "link", "add", port, *peer)
        ip("-n", self._cabinet, "link", "set", port, "up")
        self.put(number, 0)
        ip("-n", space, "address", "add", f"10.98.0.{number}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", space, "link", "set", "lo", "up")
        return space

    def put(self, number: int, side: int) -> None:
        """Plug a host into a bridge."""
        ip("-n", self._cabinet, "link", "set", f"port{number}", "master", f"side{side}")


class Host:
    """A node in its namespace: the process, which may end and begin again, and how to ask it."""

    def __init__(self, number: int, space: str, folder: Path, options: Sequence[str]) -> None:
        self.number = number
        self.name = f"n{number}"
        self.space = space
        self.folder = folder
        self.options = options
        self.process: asyncio.subprocess.Process | None = None
        self.session: aiohttp.ClientSession

    async def open_door(self, stack: AsyncExitStack) -> None:
        path = str(self.folder / "door")
        door = [sys.executable, str(PROGRAMS / "unix_door.py"), path, "8080"]
        process = await asyncio.create_subprocess_exec(
            *["ip", "netns", "exec", self.space, *door], stdout=asyncio.subprocess.PIPE
        )
        stack.push_async_callback(_end, process)
        async with asyncio.timeout(START_TIMEOUT_S):
            assert await process.stdout.readline() == b"open\n"
        connector = aiohttp.UnixConnector(path, limit=0)
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        self.session = aiohttp.ClientSession(
            "http://127.0.0.1:8080", connector=connector, timeout=timeout
        )
        await stack.enter_async_context(self.session)

    async def start(self) -> None:
        """Start the process, or start it again with the data that it left."""
        log = (self.folder / "node.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *["ip", "netns", "exec", self.space],
            *[str(Path(sys.executable).with_name("caxton-node")), *self.options],
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "LEDGER_NODE": self.name},
        )
        log.close()
        async with asyncio.timeout(START_TIMEOUT_S):
            line = (await self.process.stdout.readline()).decode()
        assert " ready at " in line, (self.folder / "node.log").read_text()

    async def kill(self) -> None:
        """End it at once, as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_TIMEOUT_S):
            return await self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def get(self, path: str) -> dict:
        async with self.session.get(f"/api/v1/{path}") as response:
            return {"http": response.status, **await response.json()}

    async def post(self, path: str, body: object = None) -> dict:
        async with self.session.post(f"/api/v1/{path}", json=body) as response:
            return {"http": response.status, **await response.json()}


class FaultLab:
    """A cluster, the network under it, and the books of what happens."""

    def __init__(self, stack: AsyncExitStack, folder: Path, *, count: int, preset: str) -> None:
        self._stack = stack
        self._folder = folder
        self._preset = preset
        self.effects_path = folder / "effects"
        self.effects_path.touch()
        self.bridges = Bridges(stack, count)
        self.ledger = Ledger()
        self.is_over = False
        """Clients send no more."""
        self._accepted_by: dict[str, Host] = {}
        self.hosts = [self._host(number + 1, count) for number in range(count)]

    def _host(self, number: int, count: int) -> Host:
        folder = self._folder / f"n{number}"
        folder.mkdir()
        address = f"10.98.0.{number}"
        settings = folder / "caxton.toml"
        certificates = self._folder / "certificates"
        settings.write_text(
            f'[cluster]\npreset = "{self._preset}"\nkey_file = "{certificates}/gossip.key"\n'
            f'[python]\nallow = ["tests.handlers:*"]\n'
            f'[security]\nca_file = "{certificates}/ca.crt"\n'
            f'cert_file = "{certificates}/n{number}.crt"\n'
            f'key_file = "{certificates}/n{number}.key"\n'
            f'[grpc]\nbind = "127.0.0.1:50051"\npeer_bind = "{address}:50052"\n'
        )
        options = [
            *("--config", str(settings), "--name", f"n{number}"),
            *("--data-dir", str(folder / "data"), "--http", "127.0.0.1:8080"),
            *("--gossip", f"{address}:7946", "--peers", "10.98.0.1:7946,10.98.0.2:7946"),
            *("--expect", str(count)),
        ]
        return Host(number, self.bridges.add_host(number), folder, options)

    async def form(self) -> None:
        """Make certificates, start all nodes, and wait until everyone sees everyone."""
        await self._make_certificates()
        for host in self.hosts:
            await host.open_door(self._stack)
            self._stack.push_async_callback(_end_host, host)
        async with asyncio.TaskGroup() as tasks:
            for host in self.hosts:
                tasks.create_task(host.start())
        await self.until_all_alive()

    async def _make_certificates(self) -> None:
        folder = self._folder / "certificates"
        caxton = [str(Path(sys.executable).with_name("caxton")), "security"]
        commands = [["init-ca"], *(["gen-cert", "--node", host.name] for host in self.hosts)]
        commands = [[*command, "--dir", str(folder)] for command in commands]
        commands.append(["gen-key", "--out", str(folder / "gossip.key")])
        for command in commands:
            process = await asyncio.create_subprocess_exec(
                *caxton, *command, stdout=asyncio.subprocess.DEVNULL
            )
            async with asyncio.timeout(START_TIMEOUT_S):
                assert await process.wait() == 0

    async def until_all_alive(self) -> None:
        """Return once everyone sees everyone, and is in the majority."""
        names = {host.name: "alive" for host in self.hosts}
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            for host in self.hosts:
                while await self._states(host) != names:
                    self._assert_running()
                    await asyncio.sleep(0.1)

    def _assert_running(self) -> None:
        """Tell of a process that ended by itself: whoever kills one starts it again."""
        ended = {
            host.name: host.process.returncode
            for host in self.hosts
            if host.process is not None and host.process.returncode is not None
        }
        assert not ended, f"ended by themselves, with these exit codes: {ended}"

    async def _states(self, host: Host) -> dict[str, str]:
        with suppress(aiohttp.ClientError, TimeoutError):
            listed = await host.get("cluster/members")
            partition = await host.get("cluster/partition")
            if partition.get("is_writable"):
                return {member["name"]: member["state"] for member in listed["items"]}
        return {}

    def split(self, *groups: Iterable[int]) -> None:
        """Part the network: hosts of one group (numbers from 1) reach each other only."""
        for side, group in enumerate(groups):
            for number in group:
                self.bridges.put(number, side)

    def heal(self) -> None:
        """Put everyone on one network again."""
        self.split([host.number for host in self.hosts])

    # Work.

    async def deploy(self, host: Host, name: str, *, pause_s: float = 0.0) -> None:
        """Deploy an agent that writes down each turn that it takes."""
        source = (
            f'name = "{name}"\nkind = "python"\ncapabilities = ["work.{name.lower()}"]\n'
            f'handler = "tests.handlers:WritesDown"\n[parameters]\n'
            f'path = "{self.effects_path}"\npause_s = {pause_s}\n'
        )
        made = await host.post("agents", {"source": source, "format": "toml"})
        assert made["http"] in {200, 201}, made

    async def converse(
        self, host: Host, agent: str, conversation: str, *, mode: str = "at_least_once"
    ) -> None:
        """Send numbered messages to an agent until the work is over.

        They come in bursts, so that there is always a conversation with messages waiting; each is
        sent after the one before was accepted. A client that gets no answer says the same again,
        to the same node, under the same id.
        """
        for number in itertools.count():
            if number % BURST_COUNT == 0:
                if self.is_over:
                    return
                await asyncio.sleep(BURST_PAUSE_S)
            message = {
                "performative": "request",
                "sender": f"client-{conversation}",
                "receiver": agent,
                "content": number,
                "id": f"{conversation}-{number}",
                "conversation_id": conversation,
                "delivery": mode,
            }
            is_accepted = await self._send(host, message)
            self.ledger.sent.append(Sent(message["id"], conversation, number, mode, is_accepted))
            self._accepted_by[message["id"]] = host
            if not is_accepted:
                return

    async def _send(self, host: Host, message: dict) -> bool:
        deadline = asyncio.get_running_loop().time() + SETTLE_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            with suppress(aiohttp.ClientError, TimeoutError):
                receipt = await host.post("messages", message)
                if receipt["http"] in {200, 202}:
                    return True
                assert receipt["http"] in {404, 429, 503}, receipt
            await asyncio.sleep(0.05)
        return False

    async def close_books(self, timeout_s: float = SETTLE_TIMEOUT_S) -> Ledger:
        """Wait until every accepted message has its end, or the time is up; return the books."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        for one in self.ledger.sent:
            if one.is_accepted and one.mode != "at_most_once":
                end = await self._end_of(one.id, self._accepted_by[one.id], deadline)
                if end is not None:
                    self.ledger.ends[one.id] = end
        self.ledger.effects.clear()
        for line in self.effects_path.read_text().splitlines():
            at_ns, message_id, node = line.split()
            self.ledger.effects.append(Effect(int(at_ns), message_id, node))
        return self.ledger

    async def _end_of(self, message_id: str, host: Host, deadline: float) -> str | None:
        status = None
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                told = await host.get(f"messages/{message_id}")
                status = told.get("status") if told["http"] == 200 else None
            if status in FINAL or asyncio.get_running_loop().time() > deadline:
                return status
            await asyncio.sleep(0.1)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def _end_host(host: Host) -> None:
    if host.process is not None:
        host.go_on() if host.process.returncode is None else None
        await _end(host.process)
