"""Two switches and a cable between them, each member in a network namespace of its own.

Pulling the cable is a partition as the network makes it: nothing is refused, everything is
silent. Packet filters (nftables) in the members' namespaces part any from any, one way too. Needs
root; nothing outside the namespaces is touched.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

DEADLINE_S = 45.0
ROOT = Path(__file__).parents[2]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=10)


def why_not() -> str | None:
    """Return why namespaces cannot be had here, or None."""
    if shutil.which("ip") is None:
        return "the `ip` program is not installed (Debian: iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"cx{os.getpid()}-try"
    try:
        ip("netns", "add", name)
        ip("-n", name, "link", "add", "trial", "type", "bridge")
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=10, check=False)
    return None


def why_no_filters() -> str | None:
    """Return why packets cannot be filtered in namespaces here, or None."""
    reason = why_not()
    if reason is not None:
        return reason
    if shutil.which("nft") is None:
        return "the `nft` program is not installed (Debian: nftables)"
    name = f"cx{os.getpid()}-try"
    ip("netns", "add", name)
    try:
        filter_packets(name, "add table inet trial")
    except subprocess.CalledProcessError as error:
        return f"packet filters are not allowed here: {error.stderr.strip()}"
    finally:
        ip("netns", "del", name)
    return None


def filter_packets(space: str, *rules: str) -> None:
    """Hand rules to nft in a namespace."""
    ip("netns", "exec", space, "nft", "; ".join(rules))


class Host:
    """A member process in its namespace, and the last view that it printed."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, space: str, address: str
    ) -> None:
        self.name = name
        self.space = space
        self.address = address
        self.process = process
        self.live: list[str] = []
        self.ever_gone: set[str] = set()

    async def read(self) -> bool:
        """Take in the next view; return whether there was one before the end."""
        line = await self.process.stdout.readline()
        if not line:
            return False
        view = json.loads(line)
        self.live = view["live"]
        self.ever_gone |= set(view["gone"])
        return True

    async def end(self) -> None:
        """Kill the process and take in every view that it printed."""
        self.process.kill()
        async with asyncio.timeout(DEADLINE_S):
            while await self.read():
                pass

    async def until_live(self, *names: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.live != sorted(names):
                assert await self.read(), f"{self.name} ended"


class Lab:
    """The hosts and the cable."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._prefix = f"cx{os.getpid()}"
        self._switch = f"{self._prefix}-switch"
        self.hosts: list[Host] = []
        self._namespace(self._switch)
        for side in ("left", "right"):
            ip("-n", self._switch, "link", "add", side, "type", "bridge")
            ip("-n", self._switch, "link", "set", side, "up")
        ip("-n", self._switch, "link", "add", "cable", "type", "veth", "peer", "name", "socket")
        for end, side in (("cable", "left"), ("socket", "right")):
            ip("-n", self._switch, "link", "set", end, "master", side)
            ip("-n", self._switch, "link", "set", end, "up")

    def _namespace(self, name: str) -> None:
        ip("netns", "add", name)
        self._stack.callback(
            subprocess.run, ["ip", "netns", "del", name], capture_output=True, timeout=10
        )

    async def start(self, side: str, preset: str) -> Host:
        """Start one more member on the left or the right switch."""
        number = len(self.hosts) + 1
        name, space, port = f"h{number}", f"{self._prefix}-{number}", f"port{number}"
        address = f"10.99.0.{number}"
        self._namespace(space)
        ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "eth0", "netns", space)
        ip("-n", self._switch, "link", "set", port, "master", side)
        ip("-n", self._switch, "link", "set", port, "up")
        ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", space, "link", "set", "lo", "up")
        member = [sys.executable, "-m", "tests.integration.cluster_member", name]
        seed = ["--seed", "10.99.0.1:7946"] if number > 1 else []
        process = await asyncio.create_subprocess_exec(
            *["ip", "netns", "exec", space, *member, *seed],
            *["--bind", address, "--port", "7946", "--preset", preset],
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        self._stack.push_async_callback(_end, process)
        async with asyncio.timeout(DEADLINE_S):
            assert await process.stdout.readline() == b"joined\n"
        host = Host(name, process, space, address)
        self.hosts.append(host)
        return host

    async def form(self, left: int, right: int, preset: str) -> None:
        """Start a ring and wait until everyone sees everyone."""
        for side, count in (("left", left), ("right", right)):
            for _ in range(count):
                await self.start(side, preset)
        await self.until_all_live()

    async def until_all_live(self) -> None:
        names = [host.name for host in self.hosts]
        for host in self.hosts:
            await host.until_live(*names)

    def deafen(self, listener: Host, *speakers: Host) -> None:
        """Let nothing from `speakers` reach `listener`; the other way stays as it is."""
        filter_packets(
            listener.space,
            "add table inet fault",
            "add chain inet fault input { type filter hook input priority 0; }",
            *[f"add rule inet fault input ip saddr {host.address} drop" for host in speakers],
        )

    def part(self, ones: list[Host], others: list[Host]) -> None:
        """Let nothing pass between two groups."""
        for host in ones:
            self.deafen(host, *others)
        for host in others:
            self.deafen(host, *ones)

    def let_all_pass(self) -> None:
        """Take every filter away."""
        for host in self.hosts:
            filter_packets(host.space, "flush ruleset")

    def pull_cable(self) -> None:
        ip("-n", self._switch, "link", "set", "cable", "down")

    def plug_cable(self) -> None:
        ip("-n", self._switch, "link", "set", "cable", "up")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
