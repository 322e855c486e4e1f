"""The SQLite store against a dictionary, with the file closed and reopened at any step."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from caxton_node.domain.delivery import FINAL, DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store import committer, history
from caxton_node.store.protocol import Settlement
from caxton_node.store.sqlite import SqliteStore

FINAL_STATES = sorted(FINAL)


class StoreAgainstDictionary(RuleBasedStateMachine):
    """Each rule does the same to both; the invariant compares what can be seen."""

    def __init__(self):
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(committer, "MARK_LAG", 4)
        self.patches.setattr(committer, "MARK_STEP", 2)
        self.patches.setattr(committer, "MANY", 3)
        self.patches.setattr(committer, "_CHECKPOINT_BYTES", 4_096)
        self.patches.setattr(history, "SCAN_WINDOW", 3)
        self.directory = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.next_seq = 1
        self.model: dict[str, list] = {}
        """Id: [seq, status, settled_at]."""
        self.store = self.opened()

    def opened(self) -> SqliteStore:
        store = SqliteStore(self.directory / "s.db", is_synced=False, reader_count=1)
        self.runner.run(store.open())
        return store

    def teardown(self):
        self.runner.run(self.store.close())
        self.runner.close()
        self.patches.undo()
        shutil.rmtree(self.directory)

    def named(self, pick: int, status: DeliveryStatus | None = None) -> str | None:
        names = [name for name, row in self.model.items() if status in (None, row[1])]
        return names[pick % len(names)] if names else None

    @rule(
        count=st.integers(0, 6),
        settle=st.lists(
            st.tuples(st.integers(0, 99), st.sampled_from(FINAL_STATES)),
            max_size=6,
            unique_by=lambda one: one[0],
        ),
        is_duplicate=st.booleans(),
    )
    def append(self, count, settle, is_duplicate):
        accepted, known = [], self.named(0)
        for number in range(count):
            seq, self.next_seq = self.next_seq, self.next_seq + 1
            name = f"msg-{seq}"
            if is_duplicate and number == 0 and known is not None:
                name = known
            accepted.append(
                (
                    seq,
                    Message(
                        id=name,
                        performative=Performative.INFORM,
                        sender="a",
                        receiver="b",
                        conversation_id=f"c{seq % 3}",
                        created_at=seq,
                    ),
                )
            )
            self.model.setdefault(name, [seq, DeliveryStatus.ACCEPTED, None])
        settled = {}
        for pick, status in settle:
            if (name := self.named(pick)) is not None and self.model[name][0] not in settled:
                row = self.model[name]
                settled[row[0]] = Settlement(row[0], status, self.next_seq)
                if row[1] is DeliveryStatus.ACCEPTED:
                    row[1:] = [status, self.next_seq]

        async def commit():
            done = asyncio.get_running_loop().create_future()
            self.store.append(accepted, list(settled.values()), done.set_result)
            assert await done is None

        self.runner.run(commit())

    @rule(pick=st.integers(0, 99))
    def revive(self, pick):
        name = self.named(pick, DeliveryStatus.DEAD)
        if name is not None:
            seq, self.next_seq = self.next_seq, self.next_seq + 1
            assert self.runner.run(self.store.revive(name, seq=seq)).seq == seq
            self.model[name] = [seq, DeliveryStatus.ACCEPTED, None]

    @rule(pick=st.integers(0, 99))
    def drop(self, pick):
        name = self.named(pick)
        if name is not None:
            is_dead = self.model[name][1] is DeliveryStatus.DEAD
            assert self.runner.run(self.store.drop(name)) is is_dead
            if is_dead:
                del self.model[name]

    @rule(age=st.integers(0, 20), limit=st.integers(1, 5))
    def prune(self, age, limit):
        before = self.next_seq - age
        old = sorted(
            (row[0], name)
            for name, row in self.model.items()
            if row[2] is not None and row[2] < before
        )
        old = old[:limit]
        assert self.runner.run(self.store.prune(before=before, limit=limit)) == len(old)
        for _, name in old:
            del self.model[name]

    @rule()
    def reopen(self):
        last_seq = self.store.last_seq
        self.runner.run(self.store.close())
        self.store = self.opened()
        highest = max((row[0] for row in self.model.values()), default=0)
        assert highest <= self.store.last_seq <= last_seq

    @invariant()
    def both_show_the_same(self):
        self.runner.run(self.compare())

    async def compare(self):
        expected = sorted((row[0], name, row[1]) for name, row in self.model.items())
        waiting = await self.store.unsettled(after_seq=0, limit=1_000)
        assert [(one.seq, one.message.id, one.status) for one in waiting] == [
            row for row in expected if row[2] is DeliveryStatus.ACCEPTED
        ]
        counts: dict[DeliveryStatus, int] = {}
        for _, _, status in expected:
            counts[status] = counts.get(status, 0) + 1
        assert await self.store.status_counts() == counts
        for status in (None, *DeliveryStatus):
            listed, cursor = [], None
            while True:
                page = await self.store.messages(status=status, cursor=cursor, limit=2)
                listed += [(one.seq, one.message.id, one.status) for one in page.items]
                if (cursor := page.next_cursor) is None:
                    break
            assert listed == [row for row in reversed(expected) if status in (None, row[2])]


StoreAgainstDictionary.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


class TestStoreAgainstDictionary(StoreAgainstDictionary.TestCase):
    """Collected by pytest."""
