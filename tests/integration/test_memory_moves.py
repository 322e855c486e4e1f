"""Moves of memory between backends: complete, resumed after any death, and taken back."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
import pytest

from caxton_node.domain.errors import Unavailable
from caxton_node.memory.finding import Filters
from caxton_node.memory.forgetting import Selection
from caxton_node.memory.moving.book import BOOK_FILE, Move, MoveBook
from caxton_node.memory.moving.both import BothMemories
from caxton_node.memory.moving.mover import Mover
from caxton_node.memory.records import GLOBAL, Access, Kind, NewFact, NewRelation, Scope, Source
from caxton_node.memory.sqlite import SqliteMemory
from tests.contract.test_memory_backend import MODEL, embed, every_kind
from tests.integration.test_shared_memory import QdrantProcess, until_state
from tests.memory_backends import Engines, opened_backend
from tests.node_process import node_process

ROOT = Path(__file__).parent.parent.parent
NOW = 1_800_000_000_000
DAY = 86_400_000
ADA = Scope("agent", "default", "Ada")
SHARED = Scope("workspace", "default")
ALL = Access.only(ADA, SHARED, GLOBAL)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


@pytest.fixture(scope="module")
def engines():
    started = Engines()
    yield started
    started.close()


async def fill(memory, count=450) -> None:
    """A life: facts of three scopes, changed values, pins, a time to live, relations."""
    for n in range(count):
        scope = (ADA, SHARED, GLOBAL)[n % 3]
        fact = NewFact(
            entity=f"thing {n % 40}",
            type="object",
            text=f"note number {n} about word{n % 17} and word{n % 29}",
            is_pinned=n % 50 == 0,
            ttl_s=10_000_000 if n % 30 == 0 else None,
            metadata={"shelf": n % 40},
            source=Source(agent="Ada", conversation_id=f"c{n % 5}", message_id=f"m{n}"),
        )
        await memory.remember(ALL, scope, [fact], now=NOW + n)
    for day, home in enumerate(("Rome", "Oslo", "Bonn")):
        moved = NewFact(entity="Ada", text=f"lives in {home}", attribute="home")
        await memory.remember(ALL, ADA, [moved], now=NOW + day * DAY)
    relations = [
        NewRelation(source_entity=f"thing {n}", target_entity=f"thing {n + 1}", type="next to")
        for n in range(39)
    ]
    await memory.relate(ALL, SHARED, relations, now=NOW)
    await embed(memory)


async def told(memory) -> set:
    """All that a memory says, without its ids."""
    page = await memory.export(ALL, after=0, limit=100_000, has_vectors=True)
    embedded = {number for number, _ in page.vectors}
    return {
        (one.scope, one.entity, one.type, one.text, one.attribute, one.valid, one.is_pinned,
         one.created_at, one.used_at, one.expires_at, one.source, one.id in embedded)
        for one in page.observations
    }  # fmt: skip


@asynccontextmanager
async def life(folder):
    memory = SqliteMemory(folder / "memory.db", is_synced=False)
    await memory.open()
    await memory.use_model(MODEL.identity, MODEL.dimensions)
    try:
        yield memory
    finally:
        await memory.close()


@pytest.fixture(params=[kind for kind in every_kind() if kind.values[0] != "sqlite"])
async def pair(request, tmp_path, engines):
    async with (
        life(tmp_path) as old,
        opened_backend(request.param, tmp_path / "new", engines) as new,
    ):
        await new.use_model(MODEL.identity, MODEL.dimensions)
        yield old, new


def begun(folder, pair, *, is_switched=False):
    book = MoveBook(folder / BOOK_FILE)
    book.begin(Move(source="old", target="new", is_live=True))
    both = BothMemories(*pair, book, is_switched=is_switched)
    return both, book, Mover(both, book, now=lambda: NOW + 9 * DAY)


async def test_a_moved_memory_says_the_same_and_finds_the_same(pair, tmp_path):
    old, new = pair
    await fill(old)
    _, book, mover = begun(tmp_path, pair)
    move = await mover.bring_alike(book.move())
    assert move.phase == "copied", move.report
    assert await told(new) == await told(old)
    assert move.report["alike"] == move.report["sampled"] == 100
    assert move.report["consistency"] > 0.95
    assert move.report["source"] == move.report["target"]
    then = Filters(at=NOW + DAY // 2)
    (view,) = await new.entity(Access.only(ADA), "Ada", then, now=NOW + 9 * DAY)
    assert [one.text for one in view.observations] == ["lives in Rome"]


async def test_a_second_pass_changes_nothing(pair, tmp_path):
    old, new = pair
    await fill(old, 60)
    _, book, mover = begun(tmp_path, pair)
    await mover.bring_alike(book.move())
    before = await told(new)
    move = await mover.bring_alike(book.move())
    assert move.phase == "copied"
    assert await told(new) == before


async def test_what_is_told_ended_and_forgotten_meanwhile_is_so_on_both_sides(pair, tmp_path):
    old, new = pair
    await fill(old, 60)
    both, book, mover = begun(tmp_path, pair)

    async def live() -> None:
        for n in range(20):
            note = NewFact(entity="meanwhile", text=f"meanwhile {n}", kind=Kind.NOTE)
            (done,) = await both.remember(ALL, ADA, [note], now=NOW + DAY + n)
            if n % 5 == 0:
                await both.close_fact(ALL, done.observation_id, now=NOW + DAY + 100)
        await both.forget(ALL, Selection(conversation_id="c1"))
        await both.forget(Access.only(SHARED), Selection(entity="thing 7"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live())
        tasks.create_task(mover.bring_alike(book.move()))
    said = {(one[0], one[3], one[5]) for one in await told(old)}
    assert {(one[0], one[3], one[5]) for one in await told(new)} == said
    assert not any(one[10].conversation_id == "c1" for one in await told(new))


async def test_what_the_follower_missed_a_pass_mends(tmp_path, engines):
    async with (
        life(tmp_path) as old,
        opened_backend("qdrant-local", tmp_path, engines) as new,
    ):
        await new.use_model(MODEL.identity, MODEL.dimensions)
        await fill(old, 30)
        both, book, mover = begun(tmp_path, (old, new))
        await mover.bring_alike(book.move())
        page = await old.export(ALL, after=0, limit=3, has_vectors=False)
        ended, forgotten, _ = page.observations
        both.new = Dead(new)
        await both.remember(ALL, ADA, [NewFact(entity="late", text="missed")], now=NOW + DAY)
        await both.close_fact(ALL, ended.id, now=NOW + DAY)
        assert await book.is_behind()
        with pytest.raises(Unavailable):
            await both.forget(ALL, Selection(observation_id=forgotten.id))
        both.new = new
        await both.forget(ALL, Selection(observation_id=forgotten.id))
        move = await mover.bring_alike(book.move())
        assert move.phase == "copied"
        assert not await book.is_behind()
        said = {(one[3], one[5]) for one in await told(old)}
        assert {(one[3], one[5]) for one in await told(new)} == said
        assert ("missed" in {text for text, _ in said}) is True


class Dead:
    """A backend of which every call fails, as of a server that is away."""

    trouble = "away"

    def __init__(self, memory) -> None:
        self._memory = memory

    def __getattr__(self, name):
        async def fail(*_, **__):
            raise Unavailable("storage_unavailable", "away")

        return fail


async def test_a_move_is_taken_back_with_what_was_told_since(tmp_path, engines):
    async with (
        life(tmp_path) as old,
        opened_backend("qdrant-local", tmp_path, engines) as new,
    ):
        await new.use_model(MODEL.identity, MODEL.dimensions)
        await fill(old, 30)
        both, book, mover = begun(tmp_path, (old, new))
        await mover.bring_alike(book.move())
        both.is_switched = True
        (done,) = await both.remember(ALL, ADA, [NewFact(entity="x", text="after")], now=NOW + DAY)
        await both.remember(ALL, ADA, [NewFact(entity="x", text="ended")], now=NOW + DAY)
        await both.close_fact(ALL, done.observation_id, now=NOW + DAY + 5)
        both.is_switched = False
        assert {one[3] for one in await told(old)} >= {"after", "ended"}
        (view,) = await old.entity(ALL, "x", Filters(is_historic=True), now=NOW + 2 * DAY)
        ends = {one.text: one.valid.end for one in view.observations}
        assert ends == {"after": NOW + DAY + 5, "ended": None}


# Processes that die.


def settings_of(url: str) -> dict[str, str]:
    return {
        "CAXTON_QDRANT__URL": url,
        "CAXTON_QDRANT__TIMEOUT": "10s",
        "CAXTON_MEMORY__MODEL": "none",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
async def qdrant(tmp_path):
    server = QdrantProcess(tmp_path / "qdrant")
    await server.start()
    yield server
    await server.kill()


async def migrate(folder: Path, url: str, *, after_s: float | None) -> int:
    """Run the command; kill it after a while. Return its code."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("caxton")), "memory", "migrate", "--to", "qdrant",
        "--data-dir", str(folder),
        env=os.environ | settings_of(url), cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    if after_s is not None:
        try:
            async with asyncio.timeout(after_s):
                await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
    output, _ = await process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), output.decode()
    return process.returncode or 0


@pytest.mark.timeout(240)
async def test_a_move_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(
    tmp_path, qdrant
):
    folder = tmp_path / "data"
    folder.mkdir()
    async with life(folder) as memory:
        await fill(memory, 3_000)
        wanted = await told(memory)
    random, kills = Random(7), 0
    while not is_finished(folder) and kills < 8:
        kills += await migrate(folder, qdrant.url, after_s=0.6 + 1.6 * random.random()) != 0
    if not is_finished(folder):
        assert await migrate(folder, qdrant.url, after_s=None) == 0
    assert kills >= 2
    from tests.integration.test_shared_memory import shared

    async with shared(qdrant.url, timeout_s=20) as memory:
        # Without a model no vectors move; the other side makes its own.
        assert {one[:-1] for one in await told(memory)} == {one[:-1] for one in wanted}
        assert (await memory.stats(None)).observations == len(wanted)
        assert (await memory.stats(None)).relations == 39


def is_finished(folder) -> bool:
    book = MoveBook(folder / BOOK_FILE)
    move = book.move()
    book.close()
    return move is not None and move.phase == "finished"


async def call(session, node, method, path, body=None, status=(200, 201, 202)):
    async with session.request(method, f"{node.url}/api/v1/{path}", json=body) as response:
        document = await response.json()
        assert response.status in status, document
        return document


async def phase(session, node, wanted):
    async with asyncio.timeout(60):
        while True:
            move = await call(session, node, "GET", "memory/move")
            if move["phase"] == wanted:
                return move
            await asyncio.sleep(0.1)


async def tell_node(session, node, text):
    body = {"entity": "diary", "observations": [text]}
    await call(session, node, "POST", "memory/entities", body)


async def texts_of(session, node) -> set[str]:
    found, cursor = set(), ""
    while cursor is not None:
        page = await call(session, node, "GET", f"memory/export?limit=200{cursor}")
        found |= {one["text"] for one in page["items"]}
        cursor = None if page["next_cursor"] is None else f"&cursor={page['next_cursor']}"
    return found


@pytest.mark.timeout(240)
async def test_a_node_that_dies_while_its_memory_moves_goes_on_and_keeps_every_word(
    tmp_path, qdrant
):
    data = tmp_path / "data"
    data.mkdir()
    async with life(data) as memory:
        await fill(memory, 1_500)
    settings = settings_of(qdrant.url)
    kept: list[str] = []
    async with aiohttp.ClientSession() as session:
        async with node_process(tmp_path, **settings) as node:
            await call(session, node, "POST", "memory/move", {"to": "qdrant"})
            for n in range(15):
                await tell_node(session, node, f"first life {n}")
                kept.append(f"first life {n}")
            await node.kill()
        async with node_process(tmp_path, **settings) as node:
            for n in range(15):
                await tell_node(session, node, f"second life {n}")
                kept.append(f"second life {n}")
            move = await phase(session, node, "switched")
            assert move["comparison"]["is_good"]
            assert move["comparison"]["alike"] == move["comparison"]["sampled"]
            await tell_node(session, node, "after the switch")
            assert await texts_of(session, node) >= {*kept, "after the switch"}
            await node.kill()
        async with node_process(tmp_path, **settings) as node:
            assert await texts_of(session, node) >= {*kept, "after the switch"}
            back = await call(session, node, "POST", "memory/move/back")
            assert back["phase"] == "rolled_back"
            assert await texts_of(session, node) >= {*kept, "after the switch"}
            stats = await call(session, node, "GET", "memory/stats")
            assert stats["file_bytes"] > 0
            # And there again, to stay.
            await call(session, node, "POST", "memory/move", {"to": "qdrant"})
            await phase(session, node, "switched")
            await call(session, node, "POST", "memory/move/finish")
            refused = await call(session, node, "POST", "memory/move/back", status=(409,))
            assert refused["code"] == "state_conflict"
            assert await node.stop() == 0
        async with node_process(tmp_path, **settings) as node:
            _, state = await until_state(session, node, "ready")
            assert 'memory.backend = "qdrant"' in state
            assert await texts_of(session, node) >= {*kept, "after the switch"}


async def test_a_move_to_a_server_that_is_away_is_refused_and_changes_nothing(tmp_path):
    settings = settings_of("http://127.0.0.1:9") | {"CAXTON_QDRANT__TIMEOUT": "1s"}
    async with node_process(tmp_path, **settings) as node, aiohttp.ClientSession() as session:
        refused = await call(session, node, "POST", "memory/move", {"to": "qdrant"}, status=(503,))
        assert refused["code"] == "storage_unavailable"
        missing = await call(session, node, "GET", "memory/move", status=(404,))
        assert missing["code"] == "memory_not_found"
        await tell_node(session, node, "still here")
        same = await call(session, node, "POST", "memory/move", {"to": "sqlite"}, status=(422,))
        assert same["code"] == "invalid_request"
