"""Remembers, embeds, replaces, consolidates and forgets until it is killed; reports what is done.

`remember_until_killed.py PATH ROUND`. A line on stdout for each call that returned:
`told N`, `moved N` (a value of the attribute `place`), `batch N`, `gone N`.
"""

import asyncio
import sys
from pathlib import Path

from caxton_node.memory.forgetting import Selection
from caxton_node.memory.records import Access, Kind, NewFact, NewRelation, Scope, Source
from caxton_node.memory.sqlite import SqliteMemory

SCOPE = Scope("workspace", "default")
ACCESS = Access.only(SCOPE)
DIMENSIONS = 16
NOW = 1_800_000_000_000
BATCH = 7


def vector(observation_id: int) -> bytes:
    import numpy as np

    numbers = np.random.default_rng(observation_id).standard_normal(DIMENSIONS).astype("<f4")
    return (numbers / np.linalg.norm(numbers)).tobytes()


def say(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


async def main(path: Path, turn: int) -> None:
    memory = SqliteMemory(path)
    await memory.open()
    # Another model each time: all vectors of the rounds before are made anew meanwhile.
    await memory.use_model(f"model-{turn}", DIMENSIONS)
    number = turn * 1_000_000
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(embed(memory))
        tasks.create_task(consolidate(memory))
        while True:
            number += 1
            await tell(memory, number)


async def tell(memory: SqliteMemory, number: int) -> None:
    source = Source(conversation_id=f"c{number % 7}")
    said = NewFact(entity=f"e{number}", text=f"fact {number}", kind=Kind.EPISODE, source=source)
    await memory.remember(ACCESS, SCOPE, [said], now=NOW)
    say("told", number)
    moved = NewFact(entity="lorry", text=f"is at {number}", attribute="place", valid_from=number)
    await memory.remember(ACCESS, SCOPE, [moved], now=NOW)
    say("moved", number)
    many = [NewFact(entity=f"b{number}-{n}", text=f"one of {number}") for n in range(BATCH)]
    await memory.remember(ACCESS, SCOPE, many, now=NOW)
    say("batch", number)
    near = NewRelation(source_entity="lorry", target_entity=f"e{number}", type="passed")
    await memory.relate(ACCESS, SCOPE, [near], now=NOW)
    if number % 10 == 0:
        await memory.forget(ACCESS, Selection(entity=f"e{number}"))
        say("gone", number)


async def embed(memory: SqliteMemory) -> None:
    while True:
        waiting = await memory.unembedded(limit=20)
        rows = [(one.observation_id, vector(one.observation_id)) for one in waiting]
        await memory.put_vectors(rows, now=NOW)
        await asyncio.sleep(0.01)


async def consolidate(memory: SqliteMemory) -> None:
    while True:
        for one in await memory.unconsolidated(idle_before=NOW + 1, limit=2):
            fact = NewFact(entity="conclusions", text=f"of {one.episodes[-1].text}")
            await memory.remember(ACCESS, one.scope, [fact], now=NOW)
            up_to = one.episodes[-1].id
            await memory.mark_consolidated(one.scope, one.conversation_id, up_to=up_to)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
