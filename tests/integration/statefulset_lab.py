"""A StatefulSet without a cluster: pods that run what the chart renders, by hand.

Each pod is a network namespace with an address that is new at every start, and a mount namespace in
which `/etc/caxton` is what the chart mounts there. Names are answered by a resolver of the test's
own. What Kubernetes would do is done by the test in its order: start, probe, preStop, SIGTERM.
"""

import asyncio
import base64
import json
import os
import re
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.integration.fault_lab import PROGRAMS, ROOT, START_TIMEOUT_S, FaultLab, Host
from tests.integration.netns_lab import ip
from tests.integration.test_deploy_files import rendered

RESOLVER = 250
RESOLVER_ADDRESS = f"10.98.0.{RESOLVER}"
READY_TIMEOUT_S = 120.0

# An overlay, so that nothing of this machine's /etc is touched.
ENTER = """
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc
shift; exec "$@"
"""


class Pod(Host):
    """One pod: its volume outlives it, its address does not."""

    def __init__(self, number: int, space: str, folder: Path) -> None:
        super().__init__(number, space, folder, ())
        self.name = f"caxton-{number - 1}"
        self.address = ""
        self.starts = 0
        self.pre_stop: list[str] = []
        self.grace_s = 0.0
        for name in ("upper/caxton/gossip", "upper/caxton/tls", "work", "data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "upper" / "resolv.conf").write_text(
            f"nameserver {RESOLVER_ADDRESS}\noptions timeout:1 attempts:2\n"
        )

    def _inside(self, *command: str) -> list[str]:
        return [
            *("ip", "netns", "exec", self.space, "sh", "-c", ENTER, "enter", str(self.folder)),
            *command,
        ]

    def move(self) -> None:
        """Take an address that no pod ever had."""
        if self.address:
            ip("-n", self.space, "address", "del", f"{self.address}/24", "dev", "eth0")
        else:
            ip("-n", self.space, "address", "flush", "dev", "eth0")
        self.starts += 1
        self.address = f"10.98.0.{self.number * 20 + self.starts}"
        ip("-n", self.space, "address", "add", f"{self.address}/24", "dev", "eth0")

    def mount(self, manifests: dict[str, dict[str, Any]]) -> None:
        """Put in place what the chart mounts, and take the container's command from it."""
        folder = self.folder / "upper" / "caxton"
        toml = manifests["ConfigMap/caxton"]["data"]["caxton.toml"]
        (folder / "caxton.toml").write_text(toml)
        for part in ("gossip", "tls"):
            for name, value in manifests[f"Secret/caxton-{part}"]["data"].items():
                (folder / part / name).write_bytes(base64.b64decode(value))
        spec = manifests["StatefulSet/caxton"]["spec"]["template"]["spec"]
        container = spec["containers"][0]
        self.options = container["args"]
        self.grace_s = float(spec["terminationGracePeriodSeconds"])
        self.pre_stop = container["lifecycle"]["preStop"]["exec"]["command"]
        self._declared = container["env"]

    def _environment(self) -> dict[str, str]:
        told: dict[str, str] = {}
        fields = {"metadata.name": self.name, "status.podIP": self.address}
        for one in self._declared:
            if "valueFrom" in one:
                told[one["name"]] = fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
            else:
                told[one["name"]] = re.sub(
                    r"\$\((\w+)\)", lambda match: told[match[1]], one["value"]
                )
        return told

    async def start(self) -> None:
        """Start the container and wait until its probes are content."""
        with (self.folder / "node.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._inside(str(Path(sys.executable).with_name("caxton-node")), *self.options),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
                env=os.environ
                | {"PYTHONPATH": str(ROOT), "LEDGER_NODE": self.name}
                # What the image sets: the volume.
                | {"CAXTON_DATA_DIR": str(self.folder / "data")}
                | self._environment(),
            )
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not await self._is_ready():
                assert self.process.returncode is None, (self.folder / "node.log").read_text()
                await asyncio.sleep(0.1)

    async def _is_ready(self) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self.session.get("/ready") as response:
                return response.status == 200
        return False

    async def end(self) -> None:
        """Delete the pod: preStop, then SIGTERM, within the grace."""
        program = Path(sys.executable).with_name(self.pre_stop[0])
        async with asyncio.timeout(self.grace_s):
            hook = await asyncio.create_subprocess_exec(
                *self._inside(str(program), *self.pre_stop[1:]), stdout=asyncio.subprocess.DEVNULL
            )
            assert await hook.wait() == 0
            assert await self.stop() == 0


class StatefulSetLab(FaultLab):
    """The set, its volumes, and the names of its pods."""

    def __init__(self, stack: AsyncExitStack, folder: Path, *, replicas_max: int) -> None:
        super().__init__(stack, folder, count=replicas_max, preset="fast")
        self._names = folder / "names.json"
        self._names.write_text("{}")
        self._kept: dict[str, dict[str, Any]] = {}
        self.running: list[Pod] = []

    def _host(self, number: int, count: int) -> Pod:
        folder = self._folder / f"pod-{number - 1}"
        folder.mkdir()
        return Pod(number, self.bridges.add_host(number), folder)

    async def open(self) -> None:
        """Start the resolver and the doors into the pods."""
        space = self.bridges.add_host(RESOLVER)
        resolver = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", space, sys.executable, str(PROGRAMS / "pod_names.py")),
            *(RESOLVER_ADDRESS, str(self._names)),
            stdout=asyncio.subprocess.PIPE,
        )
        self._stack.push_async_callback(_end, resolver)
        async with asyncio.timeout(START_TIMEOUT_S):
            assert await resolver.stdout.readline() == b"open\n"
        for pod in self.hosts:
            await pod.open_door(self._stack)
            self._stack.push_async_callback(_end_pod, pod)

    def apply(self, replicas: int, *more: str) -> None:
        """Render the chart for so many replicas. Secrets stay as they were made first."""
        settings = (
            *more,
            f"replicaCount={replicas}",
            "cluster.preset=fast",
            "config.python.allow={tests.handlers:*}",
            "config.memory.enabled=false",
        )
        options = [word for one in settings for word in ("--set", one)]
        found = filter(None, yaml.safe_load_all(rendered("", *options)))
        fresh = {f"{one['kind']}/{one['metadata']['name']}": one for one in found}
        secrets = {name: one for name, one in self._kept.items() if name.startswith("Secret/")}
        self._kept = fresh | secrets

    def _publish(self) -> None:
        """Tell DNS of every pod that runs, ready or not."""
        headless = "caxton-nodes.agents.svc.cluster.local."
        names = {f"{pod.name}.{headless}": [pod.address] for pod in self.running}
        names[headless] = [pod.address for pod in self.running]
        self._names.write_text(json.dumps(names))

    async def add(self, *numbers: int) -> None:
        """Start pods at once, as `podManagementPolicy: Parallel` does."""
        pods = [self.hosts[number] for number in numbers]
        for pod in pods:
            pod.mount(self._kept)
            pod.move()
        self.running += pods
        self._publish()
        async with asyncio.TaskGroup() as tasks:
            for pod in pods:
                tasks.create_task(pod.start())

    async def start(self, replicas: int) -> None:
        """Start the first pods as the rendered set says: all at once, or each after the last."""
        numbers = range(replicas)
        match self._kept["StatefulSet/caxton"]["spec"]["podManagementPolicy"]:
            case "Parallel":
                await self.add(*numbers)
            case "OrderedReady":
                for number in numbers:
                    await self.add(number)
            case policy:
                raise AssertionError(policy)

    async def remove(self, number: int) -> None:
        """Delete one pod and keep its volume."""
        pod = self.hosts[number]
        await pod.end()
        self.running.remove(pod)
        self._publish()

    async def roll(self) -> None:
        """Restart every pod, the last one first, the next one when all see it again."""
        for pod in sorted(self.running, key=lambda one: -one.number):
            await self.remove(pod.number - 1)
            await self.add(pod.number - 1)
            await self.until_whole()

    async def until_whole(self) -> None:
        """Return once all running pods see each other, and have the majority."""
        wanted = {pod.name for pod in self.running}
        async with asyncio.timeout(READY_TIMEOUT_S):
            for pod in self.running:
                while True:
                    states = await self._states(pod)
                    if {name for name, state in states.items() if state == "alive"} == wanted:
                        break
                    await asyncio.sleep(0.1)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def _end_pod(pod: Pod) -> None:
    if pod.process is not None:
        await _end(pod.process)
