"""How fast rings of ours agree, beside rings of HashiCorp memberlist in the same run.

    python -m loadtests.membership                all sizes, a table, build/bench/membership.json
    python -m loadtests.membership --sizes 8,16   only these
    python -m loadtests.membership --seconds 600  more rounds
    python -m loadtests.membership --rings 1      one ring at a time, for a busy machine
    python -m loadtests.membership --onto         add to the samples of the runs before
    python -m loadtests.membership --idle         only joins, and what it costs to do nothing
    python -m loadtests.membership --compress     ours compress what they send, as memberlist does

Both kinds use their LAN settings and real sockets on 127.0.0.1. All members of ours live in this
process on one event loop, all of memberlist's in one Go process; several rings at once, so that
one wait for a detection gives several samples. Joins, updates and leaves alternate between the
two kinds. Detections and idling, which are waits of seconds, run side by side. Python's garbage
collector is set as in a node.

Instants are noted where things happen, by the observer. A change began when its command was
given; it is known everywhere when the last live member of the ring noticed. What was not known
in time counts with the time waited and as late. Bytes are payload, as given to the sockets.

Tables are exchanged so rarely that a short look at an idle ring cannot count them: datagrams are
counted while the rings idle, one exchange of tables is weighed by itself, and the total follows
from the interval that both kinds use.

Two ways to die: `crash` closes the ports, so that a TCP dial is refused; `hang` then opens them
again and never answers, so that only time can tell. Needs Go and the program in
tests/integration/memberlist_peer; without it the columns of memberlist are left out.
"""

import argparse
import asyncio
import gc
import json
import math
import os
import random
import shutil
import socket
import statistics
import subprocess
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import uvloop

from caxton_cluster import Cluster, ClusterSettings
from caxton_cluster.config import lan
from caxton_cluster.errors import JoinFailed
from caxton_cluster.swim.events import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
)
from caxton_node.process import COLLECT_EVERY

ROOT = Path(__file__).parent.parent
GO_SOURCE = ROOT / "tests" / "integration" / "memberlist_peer"
GO_PROGRAM = ROOT / "build" / "bench" / "memberlist_peer"

TARGET = ROOT / "build" / "bench" / "membership.json"

RINGS = {8: 8, 16: 8, 32: 8, 64: 4}
"""Rings of each size that exist at once."""

SIZE_MIN = 8

SPREAD_LIMIT_S = 8.0
"""How long a join, an update or a leave is waited for; more would be anti-entropy, not gossip."""

DETECTION_LIMIT_S = 20.0
SETTLE_S = 4.0
"""After the joins, until their rumours have died down."""

IDLE_S = 10.0
DETECTION_RESERVE_S = 30.0
"""Part of each size's time that updates leave for deaths and goodbyes."""

EXCHANGE_S = 0.1
"""Time for one exchange of tables."""

EXCHANGE_COUNT = 5
"""Exchanges weighed; the lightest counts, as somebody else's may fall into the same moment."""

CPU = "idle CPU, % of a core a member"
DATAGRAMS = "idle datagrams, bytes/s a member"
EXCHANGE = "one exchange of tables, bytes"
TOTAL = "idle in all, bytes/s a member"
DIGITS = {CPU: 3, DATAGRAMS: 0, EXCHANGE: 0, TOTAL: 0}

UPDATE_ROUNDS_MAX = 4
POLL_INTERVAL_S = 0.05
REST_S = 0.7
"""Between two changes of one ring, so that they do not share packets."""

START_LIMIT_S = 60.0
ANSWER_SIZE_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Notice:
    """What a member noticed, or that a command began, and when on its side's clock."""

    at_s: float
    observer: str
    kind: str
    subject: str
    detail: str = ""


class Side(Protocol):
    """Rings of one kind. Members have numbers; a ring is `size` of them in a row."""

    prefix: str

    @property
    def addresses(self) -> list[str]:
        """Where each member listens, by number."""
        ...

    async def begin(self, index: int, command: str, *arguments: str) -> None:
        """Do something to a member, in the background, and note when it began."""
        ...

    async def take_notices(self) -> list[Notice]:
        """Return what was noticed since the last call."""
        ...

    async def exchange(self, index: int, other: int) -> None:
        """Let two members exchange tables as each does once in an interval."""
        ...

    async def usage(self) -> tuple[float, float, float]:
        """Return the seconds of CPU used, and the bytes sent in datagrams and streams."""
        ...


class Observed(Cluster):
    """A member that notes what it notices and counts what it sends."""

    def __init__(self, settings: ClusterSettings, notices: list[Notice]) -> None:
        super().__init__(settings)
        self.notices = notices
        self.datagram_bytes = 0
        self.stream_bytes = 0
        self.stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        machine, driver = self._live
        take_datagrams, take_exchanges = machine.take_datagrams, machine.take_exchanges
        serve = machine.serve

        def datagrams():
            taken = take_datagrams()
            for datagram in taken:
                self.datagram_bytes += len(datagram.payload)
            return taken

        def exchanges():
            taken = take_exchanges()
            for exchange in taken:
                self.stream_bytes += len(exchange.request)
            return taken

        def served(request, now):
            reply = serve(request, now)
            self.stream_bytes += len(reply or b"")
            return reply

        driver.machine.take_datagrams, driver.machine.take_exchanges = datagrams, exchanges
        driver.machine.serve = served
        return self

    def _publish(self, event) -> None:
        match event:
            case MemberJoined(member):
                self.note("joined", member.name)
            case MemberUpdated(member):
                self.note("updated", member.name, member.meta.decode())
            case MemberSuspected(member):
                self.note("suspected", member.name)
            case MemberFailed(member) | MemberLeft(member):
                self.note("gone", member.name)
        super()._publish(event)

    def note(self, kind: str, subject: str, detail: str = "") -> None:
        at_s = time.perf_counter()
        self.notices.append(Notice(at_s, self.settings.name, kind, subject, detail))


class Ours:
    """Rings of `Cluster`, in this process."""

    prefix = "py"

    def __init__(self, *, compresses: bool) -> None:
        self.compresses = compresses
        self.members: list[Observed] = []
        self._notices: list[Notice] = []
        self._tasks = asyncio.TaskGroup()
        self._ended: dict[int, asyncio.Task[None]] = {}
        self._silent = ExitStack()

    @property
    def addresses(self) -> list[str]:
        return [str(member.address) for member in self.members]

    async def start(self, stack: AsyncExitStack, count: int) -> None:
        await stack.enter_async_context(self._tasks)
        stack.push_async_callback(self._stop)
        # Before the members end, or they wait for the answers of those who hang.
        stack.callback(self._silent.close)
        for index in range(count):
            name = f"{self.prefix}{index}"
            settings = ClusterSettings(name=name, bind_port=0, compresses=self.compresses)
            member = Observed(settings, self._notices)
            ready = asyncio.get_running_loop().create_future()
            self._ended[index] = self._tasks.create_task(self._live(member, ready))
            await ready
            self.members.append(member)

    async def _live(self, member: Observed, ready: asyncio.Future[None]) -> None:
        async with member:
            ready.set_result(None)
            await member.stopping.wait()

    async def _stop(self) -> None:
        for member in self.members:
            member.stopping.set()

    async def begin(self, index: int, command: str, *arguments: str) -> None:
        member = self.members[index]
        member.note("begin", member.settings.name, command)
        match command:
            case "massjoin":
                seed = str(member.address)
                for other in self.members[index + 1 : index + int(arguments[0])]:
                    self._tasks.create_task(self._join(other, seed))
            case "join":
                self._tasks.create_task(self._join(member, arguments[0]))
            case "meta":
                member.set_metadata(arguments[0].encode())
            case "leave":
                self._tasks.create_task(self._leave(member))
            case "kill":
                member.stopping.set()
            case "mute":
                self._tasks.create_task(self._mute(index))

    async def _join(self, member: Observed, seed: str) -> None:
        try:
            await member.join([seed], timeout_s=SPREAD_LIMIT_S)
        except JoinFailed as error:
            member.note("error", member.settings.name, str(error))

    async def _leave(self, member: Observed) -> None:
        await member.leave()
        member.stopping.set()

    async def _mute(self, index: int) -> None:
        member = self.members[index]
        address = (member.address.host, member.address.port)
        member.stopping.set()
        await self._ended[index]
        streams = self._silent.enter_context(socket.socket())
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        streams.bind(address)
        streams.listen(128)
        packets = self._silent.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        packets.bind(address)

    async def exchange(self, index: int, other: int) -> None:
        machine, driver = self.members[index]._live
        machine._syncer.dial_table(self.members[other].address, squeezes=True)
        driver.settle()

    async def take_notices(self) -> list[Notice]:
        taken = self._notices[:]
        self._notices.clear()
        return taken

    async def usage(self) -> tuple[float, float, float]:
        datagram_bytes = sum(member.datagram_bytes for member in self.members)
        stream_bytes = sum(member.stream_bytes for member in self.members)
        return time.process_time(), float(datagram_bytes), float(stream_bytes)


class Theirs:
    """Rings of memberlist, in one Go process that is steered by lines."""

    prefix = "go"

    def __init__(self) -> None:
        self._addresses: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self, stack: AsyncExitStack, count: int) -> None:
        self._process = await asyncio.create_subprocess_exec(
            GO_PROGRAM,
            f"-n={count}",
            "-record",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_SIZE_BYTES_MAX,
        )
        stack.push_async_callback(self._stop)
        self._addresses = await self._hear()

    @property
    def addresses(self) -> list[str]:
        return self._addresses

    async def _stop(self) -> None:
        self._process.kill()
        await self._process.wait()

    async def _hear(self) -> Any:
        async with asyncio.timeout(START_LIMIT_S):
            return json.loads(await self._process.stdout.readline())

    async def _ask(self, *words: str) -> Any:
        async with self._turn:
            self._process.stdin.write(f"{' '.join(words)}\n".encode())
            return await self._hear()

    async def begin(self, index: int, command: str, *arguments: str) -> None:
        await self._ask("begin", str(index), command, *arguments)

    async def exchange(self, index: int, other: int) -> None:
        # Joining once more is the same exchange.
        await self.begin(index, "join", self._addresses[other])

    async def take_notices(self) -> list[Notice]:
        return [Notice(**row) for row in await self._ask("events", "0") or ()]

    async def usage(self) -> tuple[float, float, float]:
        cpu_s, datagram_bytes, stream_bytes = await self._ask("usage", "0")
        return cpu_s, datagram_bytes, stream_bytes


@dataclass(slots=True)
class Trial:
    """One change, and who has yet to notice it."""

    actor: str
    command: str
    awaited: set[tuple[str, str, str, str]]
    """Observer, kind, subject and detail of each notice to come."""
    began_at_s: float = math.nan
    first_at_s: float = math.nan
    last_at_s: float = math.nan
    suspected_at_s: float = math.nan

    def hear(self, notice: Notice) -> None:
        """Take in one notice."""
        if notice.kind == "begin":
            if (notice.subject, notice.detail) == (self.actor, self.command):
                self.began_at_s = notice.at_s
            return
        if notice.kind == "suspected":
            if notice.subject == self.actor and math.isnan(self.suspected_at_s):
                self.suspected_at_s = notice.at_s
            return
        key = (notice.observer, notice.kind, notice.subject, notice.detail)
        if key in self.awaited:
            self.awaited.remove(key)
            self.last_at_s = notice.at_s
            if math.isnan(self.first_at_s):
                self.first_at_s = notice.at_s


@dataclass(slots=True)
class Samples:
    """All samples of one kind of member, by figure."""

    values: dict[str, list[float]] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def join(self, earlier: "Samples") -> None:
        """Put the samples of another run before these."""
        for name, values in earlier.values.items():
            self.values[name] = values + self.values.get(name, [])
        for name, count in earlier.late.items():
            self.late[name] = count + self.late.get(name, 0)
        self.problems = earlier.problems + self.problems

    def add(self, name: str, value: float, limit: float = math.inf) -> None:
        """Add a sample; one that is missing counts as the limit, and as late."""
        if math.isnan(value):
            self.late[name] = self.late.get(name, 0) + 1
        self.values.setdefault(name, []).append(limit if math.isnan(value) else value)


def exchange_interval_s(size: int) -> float:
    """Return how often each member exchanges tables, in seconds; both kinds scale it so."""
    return lan().push_pull_interval_s * (math.ceil(math.log2(size) - 5) + 1 if size > 32 else 1)


@dataclass(slots=True)
class Bench:
    """The rings of one kind and size, and what was measured of them."""

    side: Side
    size: int
    ring_count: int
    samples: Samples = field(default_factory=Samples)
    gone: set[int] = field(default_factory=set)

    def live(self, ring: int) -> list[str]:
        """Return the names of a ring's members that are there."""
        numbers = range(ring * self.size, (ring + 1) * self.size)
        return [f"{self.side.prefix}{number}" for number in numbers if number not in self.gone]

    async def watch(self, trials: list[Trial], limit_s: float) -> None:
        """Return once all trials are through, or the time is up."""
        deadline_s = time.perf_counter() + limit_s
        while True:
            for notice in await self.side.take_notices():
                if notice.kind == "error":
                    self.samples.problems.append(f"{notice.subject}: {notice.detail}")
                for trial in trials:
                    trial.hear(notice)
            if not any(trial.awaited for trial in trials) or time.perf_counter() > deadline_s:
                return
            await asyncio.sleep(POLL_INTERVAL_S)

    async def join_all(self) -> None:
        """Form each ring: all but one join the one, at once."""
        for ring in range(self.ring_count):
            names, first = self.live(ring), ring * self.size
            pairs = {(one, "joined", two, "") for one in names for two in names if one != two}
            trial = Trial(names[0], "massjoin", pairs)
            await self.side.take_notices()
            await self.side.begin(first, "massjoin", str(self.size))
            await self.watch([trial], SPREAD_LIMIT_S)
            is_whole = not trial.awaited
            took_s = trial.last_at_s - trial.began_at_s if is_whole else math.nan
            self.samples.add("mass join", took_s, SPREAD_LIMIT_S)
            if not is_whole:
                await self.repair(ring)

    async def repair(self, ring: int) -> None:
        """Exchange tables with the seed, so that a ring with gaps can be used further."""
        first = ring * self.size
        seed = self.side.addresses[first]
        for number in range(first + 1, first + self.size):
            await self.side.begin(number, "join", seed)
        await asyncio.sleep(REST_S)
        for number in range(first + 1, first + self.size):
            await self.side.begin(number, "join", seed)
        await asyncio.sleep(REST_S)

    async def idle(self) -> None:
        """Measure what it costs to do nothing."""
        cpu_s, datagram_bytes, _ = await self.side.usage()
        began_at_s = time.perf_counter()
        await asyncio.sleep(IDLE_S)
        cpu_end_s, datagram_end_bytes, _ = await self.side.usage()
        member_seconds = (time.perf_counter() - began_at_s) * self.size * self.ring_count
        datagrams_per_s = (datagram_end_bytes - datagram_bytes) / member_seconds
        exchange_bytes = await self.exchange_bytes()
        self.samples.add(CPU, (cpu_end_s - cpu_s) / member_seconds * 100)
        self.samples.add(DATAGRAMS, datagrams_per_s)
        self.samples.add(EXCHANGE, exchange_bytes)
        self.samples.add(TOTAL, datagrams_per_s + exchange_bytes / exchange_interval_s(self.size))

    async def exchange_bytes(self) -> float:
        """Return how many bytes an exchange of tables takes, both ways together."""
        weights = []
        for _ in range(EXCHANGE_COUNT):
            before = (await self.side.usage())[2]
            await self.side.exchange(1, 0)
            await asyncio.sleep(EXCHANGE_S)
            weights.append((await self.side.usage())[2] - before)
        return min(weight for weight in weights if weight)

    async def update(self, number: int) -> None:
        """Change one member's metadata in every ring at once."""
        meta = f"change-{number}"
        trials = []
        for ring in range(self.ring_count):
            actor = self.live(ring)[1]
            others = {(name, "updated", actor, meta) for name in self.live(ring) if name != actor}
            trials.append(Trial(actor, "meta", others))
            await self.side.begin(ring * self.size + 1, "meta", meta)
        await self.watch(trials, SPREAD_LIMIT_S)
        for trial in trials:
            took_s = math.nan if trial.awaited else trial.last_at_s - trial.began_at_s
            self.samples.add("update", took_s, SPREAD_LIMIT_S)

    async def end_one(self, command: str, delays_s: list[float], limit_s: float) -> list[Trial]:
        """End the last member of every ring, each after its delay; return the trials."""
        trials, numbers = [], []
        for ring in range(self.ring_count):
            actor = self.live(ring)[-1]
            number = int(actor.removeprefix(self.side.prefix))
            self.gone.add(number)
            others = {(name, "gone", actor, "") for name in self.live(ring)}
            trials.append(Trial(actor, command, others))
            numbers.append(number)
        began_at_s = time.perf_counter()
        for delay_s, number in sorted(zip(delays_s, numbers, strict=True)):
            await asyncio.sleep(max(0.0, began_at_s + delay_s - time.perf_counter()))
            await self.side.begin(number, command)
        await self.watch(trials, limit_s)
        return trials

    async def die(self, command: str, title: str, delays_s: list[float]) -> None:
        """Let a member of every ring die and see who notices when."""
        for trial in await self.end_one(command, delays_s, DETECTION_LIMIT_S):
            add = partial(self.samples.add, limit=DETECTION_LIMIT_S)
            add(f"{title}: suspected", trial.suspected_at_s - trial.began_at_s)
            add(f"{title}: first dead", trial.first_at_s - trial.began_at_s)
            last_at_s = math.nan if trial.awaited else trial.last_at_s
            add(f"{title}: all know", last_at_s - trial.began_at_s)

    async def leave(self) -> None:
        """Let a member of every ring say goodbye."""
        for trial in await self.end_one("leave", [0.0] * self.ring_count, SPREAD_LIMIT_S):
            took_s = math.nan if trial.awaited else trial.last_at_s - trial.began_at_s
            self.samples.add("leave", took_s, SPREAD_LIMIT_S)


async def measure(
    size: int,
    ring_count: int,
    *,
    has_go: bool,
    compresses: bool,
    budget_s: float,
    is_brief: bool = False,
) -> dict[str, Samples]:
    """Measure rings of one size, of both kinds if there is Go."""
    ends_at_s = time.perf_counter() + budget_s
    async with AsyncExitStack() as stack:
        ours = Ours(compresses=compresses)
        sides = [ours, Theirs()] if has_go else [ours]
        benches = []
        for side in sides:
            await side.start(stack, size * ring_count)
            benches.append(Bench(side, size, ring_count))
        for bench in benches:
            await bench.join_all()
        gc.collect()
        gc.freeze()
        await asyncio.sleep(SETTLE_S)
        await together(bench.idle() for bench in benches)
        if is_brief:
            return {bench.side.prefix: bench.samples for bench in benches}
        for number in range(UPDATE_ROUNDS_MAX):
            if number >= 2 and ends_at_s - time.perf_counter() < DETECTION_RESERVE_S:
                break
            for bench in benches:
                await bench.update(number)
                await asyncio.sleep(REST_S / len(benches))
        for command, title in (("kill", "crash"), ("mute", "hang")):
            delays_s = [random.random() for _ in range(ring_count)]
            await together(bench.die(command, title, delays_s) for bench in benches)
            await asyncio.sleep(REST_S)
        for _ in range(2):
            for bench in benches:
                await bench.leave()
                await asyncio.sleep(REST_S / len(benches))
        return {bench.side.prefix: bench.samples for bench in benches}


async def together(steps) -> None:
    """Run coroutines side by side."""
    async with asyncio.TaskGroup() as tasks:
        for step in steps:
            tasks.create_task(step)


def build_peers() -> str | None:
    """Build the Go program; return why it cannot be, or None."""
    go = shutil.which("go")
    if go is None:
        return "the Go toolchain is not installed"
    GO_PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    flags = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    try:
        subprocess.run(
            [go, "build", "-o", str(GO_PROGRAM), "."],
            cwd=GO_SOURCE,
            env={**os.environ, **flags},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return f"memberlist cannot be built here: {lines[-1]}"
    return None


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(len(values) * share) - 1)]


def cell(samples: Samples | None, name: str) -> str:
    """Return median, p90 and maximum as a cell of the table."""
    if samples is None or name not in samples.values:
        return "–"
    values, digits = samples.values[name], DIGITS.get(name, 2)
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    late = samples.late.get(name, 0)
    worst = f"{max(values):.{digits}f}" + (f", {late} late" if late else "")
    return f"{middle} / {percentile(values, 0.9):.{digits}f} / {worst}"


def ratio(results: dict[str, Samples], name: str) -> str:
    """Return our median as a multiple of memberlist's."""
    if any(name not in results[prefix].values for prefix in ("py", "go") if prefix in results):
        return "–"
    if "go" not in results:
        return "–"
    ours, theirs = (statistics.median(results[prefix].values[name]) for prefix in ("py", "go"))
    return f"{ours / theirs:.2f}" if theirs else "–"


def print_table(by_size: dict[int, dict[str, Samples]]) -> None:
    """Print a Markdown table: median / p90 / maximum, seconds unless the figure says else."""
    print("| figure | N | samples | ours | memberlist | ratio of medians |")
    print("|---|---|---|---|---|---|")
    names = dict.fromkeys(name for row in by_size.values() for name in row["py"].values)
    for name in names:
        for size, row in by_size.items():
            count = len(row["py"].values.get(name, ()))
            print(
                f"| {name} | {size} | {count} | {cell(row['py'], name)} "
                f"| {cell(row.get('go'), name)} | {ratio(row, name)} |",
            )


def read_figures() -> dict[str, Any]:
    """Return what the runs before wrote."""
    if not TARGET.exists():
        return {"load_averages": [], "results": {}}
    return json.loads(TARGET.read_text())


def write_figures(figures: dict[str, Any], by_size: dict[int, dict[str, Samples]]) -> None:
    """Write every sample, those of other sizes in `figures` included."""
    plain = {
        str(size): {
            prefix: {"values": samples.values, "late": samples.late, "problems": samples.problems}
            for prefix, samples in row.items()
        }
        for size, row in by_size.items()
    }
    figures["results"] = dict(sorted({**figures["results"], **plain}.items(), key=_by_number))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2))


def _by_number(item: tuple[str, Any]) -> int:
    return int(item[0])


def main() -> None:
    """Measure all sizes and write what they gave."""
    parser = argparse.ArgumentParser(description="Rings of ours beside rings of memberlist.")
    parser.add_argument("--seconds", type=float, default=200.0, help="aim for the whole run")
    parser.add_argument("--compress", action="store_true", help="let ours compress")
    parser.add_argument("--rings", type=int, help="rings that exist at once")
    parser.add_argument("--onto", action="store_true", help="add to the samples of earlier runs")
    parser.add_argument("--idle", action="store_true", help="only joins and idling")
    parser.add_argument("--sizes", default=",".join(map(str, RINGS)), help="members of a ring")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",") if size]
    if min(sizes, default=SIZE_MIN) < SIZE_MIN:
        parser.error(f"--sizes: at least {SIZE_MIN}, for some members are lost on the way")
    gc.set_threshold(*COLLECT_EVERY)
    left_out = build_peers()
    figures = read_figures() if arguments.onto else {"load_averages": [], "results": {}}
    figures["left_out"] = left_out
    by_size = {
        int(size): {prefix: Samples(**samples) for prefix, samples in row.items()}
        for size, row in figures["results"].items()
    }
    loads = [os.getloadavg()[0]]
    for size in sizes:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            work = measure(
                size,
                arguments.rings or RINGS.get(size, 2),
                has_go=left_out is None,
                compresses=arguments.compress,
                budget_s=arguments.seconds / len(sizes),
                is_brief=arguments.idle,
            )
            row = runner.run(work)
        gc.unfreeze()
        for prefix, samples in row.items():
            samples.join(by_size.get(size, {}).get(prefix, Samples()))
        by_size[size] = row
        loads.append(os.getloadavg()[0])
        print(f"measured N = {size}", flush=True)
    by_size = dict(sorted(by_size.items()))
    print_table(by_size)
    print(f"load average of {os.cpu_count()} cores before and after each N:", *loads)
    if left_out:
        print(f"left out: memberlist ({left_out})")
    for size, row in by_size.items():
        for prefix, samples in row.items():
            for problem in samples.problems:
                print(f"N = {size}, {prefix}: {problem}")
    figures["load_averages"] = [*figures["load_averages"], *loads]
    write_figures(figures, by_size)


if __name__ == "__main__":
    main()
