"""Guests that compute stand in line, and the event loop goes round between two of them."""

import asyncio

from caxton_node.wasm.slices import Slices


class Line:
    """Guests that compute, and a note of who had a slice in which round of the event loop."""

    def __init__(self):
        self.slices = Slices()
        self.seen = []
        self.round = 0

    async def compute(self, name, count, *, is_newcomer=False):
        for number in range(count):
            await self.slices.wait(is_newcomer=is_newcomer and number == 0)
            self.seen.append((self.round, name))
            self.slices.note_spent()

    async def count_rounds(self):
        while True:
            await asyncio.sleep(0)
            self.round += 1


async def gathered(line, *guests):
    async with asyncio.TaskGroup() as tasks:
        counting = tasks.create_task(line.count_rounds())
        await asyncio.gather(*guests)
        counting.cancel()


async def test_the_event_loop_goes_round_between_two_slices():
    line = Line()
    await gathered(line, *(line.compute(name, 3) for name in range(10)))
    rounds = [number for number, _ in line.seen]
    assert len(rounds) == 30
    assert len(set(rounds)) == 30


async def test_guests_that_compute_take_turns():
    line = Line()
    await gathered(line, *(line.compute(name, 2) for name in "abc"))
    assert [name for _, name in line.seen] == ["a", "b", "c", "a", "b", "c"]


async def test_who_just_came_has_every_second_slice():
    line = Line()
    old = [line.compute(name, 2) for name in "abc"]
    new = [line.compute(name, 1, is_newcomer=True) for name in "xy"]
    await gathered(line, *old, *new)
    assert "".join(name for _, name in line.seen) == "xaybcabc"


async def test_who_gave_up_waiting_is_passed_over():
    line = Line()
    gone = asyncio.ensure_future(line.slices.wait())  # noqa: TID251 - a waiter without an owner
    await asyncio.sleep(0)
    gone.cancel()
    await gathered(line, line.compute("b", 1))
    assert [name for _, name in line.seen] == ["b"]


async def test_a_used_up_slice_counts_for_one_round_only():
    slices = Slices()
    slices.note_spent()
    assert slices.is_spent
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not slices.is_spent
