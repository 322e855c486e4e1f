"""Packed ends say the same as the ends themselves, whatever they hold."""

import sqlite3
from contextlib import closing

import orjson
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.delivery import FINAL, DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.batch import Batch
from caxton_node.store.ends import pack_ends
from caxton_node.store.migrations import load_migrations, migrate
from caxton_node.store.protocol import RECEIVER, Settlement
from caxton_node.store.queries import load_queries

DELIVERED = DeliveryStatus.DELIVERED

# Distances around the widths of a packed number, and the whole range of what is real.
instants = st.one_of(
    st.integers(1_795_000_000_000, 1_795_000_000_100),
    st.integers(1_794_999_000_000, 1_795_003_000_000),
    st.integers(0, 9_999_999_999_999),
)
ends = st.builds(
    Settlement,
    seq=st.one_of(st.integers(1, 50), st.integers(1_000_000, 4_000_000), st.integers(1, 2**52)),
    status=st.sampled_from(sorted(FINAL)),
    settled_at=instants,
    agent=st.sampled_from([None, RECEIVER, "alice", "Zoë"]),
    started_at=st.none() | instants,
    attempts=st.integers(0, 3),
    reason=st.sampled_from([None, "denied: no", 'a "quoted" ü']),
    node=st.sampled_from([None, "n2"]),
)


def written(settled: list[Settlement]) -> dict[int, tuple[object, ...]]:
    """Return what the store holds of messages that ended so."""
    seqs = sorted({end.seq for end in settled})
    batch = Batch()
    for seq in seqs:
        message = Message(f"msg-{seq}", Performative.INFORM, "client", "receiver")
        batch.add(((seq, message),), (), print)
    batch.add((), settled, print)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database, load_migrations())
        database.execute(load_queries()["accept_and_settle"], batch.journal_parameters(1))
        rows = database.execute(
            "SELECT seq, status, settled_at, agent, started_at, attempts, reason, node"
            " FROM journaled"
        )
        return {row[0]: row[1:] for row in rows}


@given(st.lists(ends, max_size=30, unique_by=lambda end: end.seq))
def test_the_store_holds_of_each_message_how_it_ended(settled):
    assert written(settled) == {
        end.seq: (
            end.status.value,
            end.settled_at,
            "receiver" if end.agent == RECEIVER else end.agent,
            end.started_at,
            end.attempts,
            end.reason,
            end.node,
        )
        for end in settled
    }


@given(st.lists(ends, max_size=30))
def test_every_number_fits_into_what_sqlite_and_json_carry(settled):
    numbers = [number for run in pack_ends(settled) for number in run[8]]
    assert len(numbers) == len(settled)
    assert all(0 <= number < 2**63 for number in numbers)
    assert orjson.loads(orjson.dumps(numbers)) == numbers


def test_the_first_of_two_ends_of_a_message_holds():
    first = Settlement(7, DELIVERED, 1_000, "alice", 900, 1)
    assert written([first, Settlement(7, DeliveryStatus.DEAD, 1_001, reason="late")])[7][0] == (
        "delivered"
    )


def test_messages_that_end_alike_are_one_run():
    runs = pack_ends([Settlement(seq, DELIVERED, 5_000 + seq, RECEIVER) for seq in range(1_000)])
    assert len(runs) == 1


def test_two_kinds_of_ends_in_turn_are_two_runs():
    mixed = [Settlement(seq, DELIVERED, 5_000, ("alice", "bob")[seq % 2]) for seq in range(100)]
    assert [len(run[8]) for run in pack_ends(mixed)] == [50, 50]
