"""What every store does: the same tests on the one in SQLite and on its twin in memory."""

import asyncio
import dataclasses
from contextlib import asynccontextmanager

import pytest

from caxton_node.domain.agent import AgentState
from caxton_node.domain.conversation import ConversationStatus
from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.errors import Conflict, Rejected
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store.memory import MemoryStore
from caxton_node.store.protocol import (
    AgentRecord,
    AgentVersion,
    Definition,
    LogLine,
    Mark,
    Settlement,
    Step,
    StepState,
    Store,
    UsageTotal,
)
from caxton_node.store.sqlite import SqliteStore


@asynccontextmanager
async def opened(store: Store):
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["sqlite", "memory"])
async def store(request, tmp_path):
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db")
    async with opened(made):
        yield made


def message(seq: int, *, conversation_id="conv-1", sender="client", receiver="agent", **more):
    return Message(
        id=more.pop("id", f"msg-{seq}"),
        performative=Performative.REQUEST,
        sender=sender,
        receiver=receiver,
        conversation_id=conversation_id,
        created_at=more.pop("created_at", 1_000 + seq),
        **more,
    )


def end(seq: int, status=DeliveryStatus.DELIVERED, *, at=5_000, **more) -> Settlement:
    return Settlement(seq, status, at, **more)


async def journal(store: Store, accepted=(), settled=(), marks=()) -> None:
    """Append and wait for the commit."""
    done = asyncio.get_running_loop().create_future()
    store.append(accepted, settled, done.set_result, marks)
    assert await done is None


async def accept(store: Store, *seqs: int, **more) -> None:
    await journal(store, [(seq, message(seq, **more)) for seq in seqs])


async def walk(read, **arguments):
    """Follow a list to its end, page by page."""
    items, cursor = [], None
    while True:
        page = await read(cursor=cursor, **arguments)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


async def seqs(store: Store, **filters) -> list[int]:
    return [stored.seq for stored in await walk(store.messages, **filters)]


async def test_a_new_store_is_empty(store):
    assert store.last_seq == 0
    assert store.backlog == 0
    assert await store.status_counts() == {}
    assert (await store.messages()).items == ()
    assert (await store.conversations()).items == ()
    assert await store.unsettled(after_seq=0, limit=10) == []


async def test_an_accepted_message_is_read_back_as_it_was(store):
    sent = message(1, content=b'{"n":1}', metadata={"k": [1, None]}, traceparent="00-ab")
    await journal(store, [(1, sent)])
    stored = await store.message("msg-1")
    assert stored.message == sent
    assert (stored.seq, stored.status, stored.accepted_at) == (1, DeliveryStatus.ACCEPTED, 1_001)
    assert (stored.settled_at, stored.agent, stored.attempts, stored.reason) == (None,) * 2 + (
        0,
        None,
    )


async def test_an_unknown_message_is_none(store):
    assert await store.message("nobody") is None


async def test_the_callback_never_runs_within_append(store):
    called = []
    store.append([(1, message(1))], (), called.append)
    assert called == []
    assert store.backlog == 1
    await journal(store)
    assert called == [None]
    assert store.backlog == 0


async def test_after_a_flush_all_that_was_appended_can_be_read(store):
    for seq in (1, 2, 3):
        store.append([(seq, message(seq))], ())
    store.append((), [end(2)])
    await store.flush()
    found = await store.recent_messages("conv-1", limit=10)
    assert [(one.seq, one.status.value) for one in found] == [
        (1, "accepted"),
        (2, "delivered"),
        (3, "accepted"),
    ]


async def test_callbacks_run_in_the_order_of_their_appends(store):
    order = []
    for seq in range(1, 200):
        store.append([(seq, message(seq))], (), lambda _, seq=seq: order.append(seq))
    await journal(store)
    assert order == list(range(1, 200))


async def test_a_failing_callback_does_not_keep_the_next_from_running(store, caplog):
    def fail(_):
        raise ZeroDivisionError

    store.append([(1, message(1))], (), fail)
    await journal(store)
    assert "a commit callback failed" in caplog.text


async def test_a_settlement_keeps_all_that_it_says(store):
    await accept(store, 1)
    await journal(
        store,
        (),
        [end(1, DeliveryStatus.DEAD, agent="agent", started_at=4_000, attempts=3, reason="x: y")],
    )
    stored = await store.message("msg-1")
    assert stored.status is DeliveryStatus.DEAD
    assert (stored.settled_at, stored.agent, stored.started_at) == (5_000, "agent", 4_000)
    assert (stored.attempts, stored.reason) == (3, "x: y")


async def test_a_message_may_be_accepted_and_settled_in_one_append(store):
    await journal(store, [(1, message(1))], [end(1)])
    assert (await store.message("msg-1")).status is DeliveryStatus.DELIVERED
    assert await store.unsettled(after_seq=0, limit=10) == []


async def test_the_first_settlement_holds(store):
    await accept(store, 1)
    await journal(store, (), [end(1, DeliveryStatus.CANCELLED)])
    await journal(store, (), [end(1, DeliveryStatus.DELIVERED)])
    assert (await store.message("msg-1")).status is DeliveryStatus.CANCELLED


async def test_a_settlement_of_nothing_is_ignored(store):
    await journal(store, (), [end(77)])
    assert await store.status_counts() == {}


async def test_a_duplicate_id_is_ignored_with_its_settlement(store):
    await accept(store, 1)
    await journal(store, [(2, message(2, id="msg-1", sender="other"))], [end(2)])
    stored = await store.message("msg-1")
    assert (stored.seq, stored.message.sender, stored.status) == (
        1,
        "client",
        DeliveryStatus.ACCEPTED,
    )
    assert await seqs(store) == [1]


async def test_a_reason_that_no_database_can_hold_is_made_readable(store):
    await accept(store, 1)
    await journal(store, (), [end(1, DeliveryStatus.DEAD, reason="a\0b\ud800c")])
    assert (
        await store.message("msg-1")
    ).reason == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


async def test_last_seq_is_the_highest_number_given(store):
    await accept(store, 1, 2, 7)
    assert store.last_seq == 7


async def test_unsettled_messages_come_in_order_and_by_portions(store):
    await accept(store, *range(1, 11))
    await journal(store, (), [end(2), end(5, DeliveryStatus.DEAD)])
    first = await store.unsettled(after_seq=0, limit=3)
    assert [stored.seq for stored in first] == [1, 3, 4]
    rest = await store.unsettled(after_seq=4, limit=100)
    assert [stored.seq for stored in rest] == [6, 7, 8, 9, 10]


async def test_messages_of_a_conversation_come_in_order(store):
    for seq in range(1, 8):
        await accept(store, seq, conversation_id=f"conv-{seq % 2}")
    page = await store.messages(conversation_id="conv-1", limit=3)
    assert [stored.seq for stored in page.items] == [1, 3, 5]
    page = await store.messages(conversation_id="conv-1", limit=3, cursor=page.next_cursor)
    assert [stored.seq for stored in page.items] == [7]
    assert page.next_cursor is None


async def test_the_last_messages_of_a_conversation_come_oldest_first(store):
    for seq in range(1, 8):
        await accept(store, seq, conversation_id=f"conv-{seq % 2}")
    tail = await store.recent_messages("conv-1", limit=2)
    assert [stored.seq for stored in tail] == [5, 7]
    assert list(await store.recent_messages("nobody", limit=2)) == []


async def test_subconversations_are_those_named_after_their_parent(store):
    for seq, name in enumerate(["c", "c.2", "c.1", "c.1.1", "c1.1", "c-1", "d.1", "c.2"], 1):
        await accept(store, seq, conversation_id=name)
    assert await store.subconversations("c") == ("c.1", "c.1.1", "c.2")
    assert await store.subconversations("c", limit=1) == ("c.1",)
    assert await store.subconversations("nobody") == ()


async def test_all_messages_come_newest_first(store):
    await accept(store, *range(1, 8))
    assert await seqs(store, limit=2) == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("status", list(DeliveryStatus))
async def test_messages_are_listed_by_status(store, status):
    await accept(store, *range(1, 16))
    ends = [end(seq, kind) for seq, kind in enumerate(list(DeliveryStatus) * 3, 1)]
    await journal(store, (), [one for one in ends if one.status is not DeliveryStatus.ACCEPTED])
    expected = [one.seq for one in reversed(ends) if one.status is status]
    assert await seqs(store, status=status, limit=2) == expected
    assert await seqs(store, status=status, conversation_id="conv-1", limit=2) == expected[::-1]


@pytest.mark.parametrize(("limit", "count"), [(-5, 1), (0, 1), (1, 1), (5_000, 1_000)])
async def test_a_limit_is_made_sensible(store, limit, count):
    await accept(store, *range(1, 1_051), conversation_id="one")
    assert len((await store.messages(limit=limit)).items) == count


@pytest.mark.parametrize("cursor", ["", "abc", "-1", "1.5", "9" * 30, "١"])
async def test_a_malformed_cursor_is_rejected(store, cursor):
    for read in (store.messages, store.conversations):
        with pytest.raises(Rejected) as caught:
            await read(cursor=cursor)
        assert caught.value.code == "invalid_request"


async def test_a_conversation_sums_up_its_messages(store):
    await journal(
        store,
        [
            (1, message(1, sender="client", receiver="alice")),
            (2, message(2, sender="alice", receiver="bob")),
            (3, message(3, sender="bob", receiver="alice")),
        ],
        [end(1), end(2)],
    )
    found = await store.conversation("conv-1")
    assert found.participants == ("client", "alice", "bob")
    assert (found.message_count, found.status) == (3, ConversationStatus.ACTIVE)
    assert (found.created_at, found.last_activity_at) == (1_001, 1_003)
    await journal(store, (), [end(3)])
    assert (await store.conversation("conv-1")).status is ConversationStatus.COMPLETED


async def test_an_unknown_conversation_is_none(store):
    assert await store.conversation("nobody") is None


async def test_who_took_a_message_to_a_capability_participates(store):
    await journal(store, [(1, message(1, receiver=""))])
    assert (await store.conversation("conv-1")).participants == ("client",)
    await journal(store, (), [end(1, agent="worker")])
    assert (await store.conversation("conv-1")).participants == ("client", "worker")


async def test_participants_are_bounded(store):
    await journal(store, [(seq, message(seq, sender=f"s{seq}")) for seq in range(1, 152)])
    assert len((await store.conversation("conv-1")).participants) == 100


async def test_conversations_come_by_last_activity(store):
    for seq, name in enumerate("abcabdae", 1):
        await accept(store, seq, conversation_id=name)
    found = await walk(store.conversations, limit=2)
    assert [one.id for one in found] == ["e", "a", "d", "b", "c"]
    assert [one.message_count for one in found] == [1, 3, 1, 2, 1]


async def test_status_counts_tell_each_state(store):
    await accept(store, *range(1, 7))
    await journal(store, (), [end(1), end(2), end(3, DeliveryStatus.DEAD)])
    assert await store.status_counts() == {
        DeliveryStatus.ACCEPTED: 3,
        DeliveryStatus.DELIVERED: 2,
        DeliveryStatus.DEAD: 1,
    }


async def test_a_mark_is_written_with_the_message_it_is_about(store):
    await journal(
        store, [(1, message(1)), (2, message(2))], marks=[Mark(1, 70, agent="bob", node="n2")]
    )
    first, second = await store.unsettled(after_seq=0, limit=9)
    assert (first.started_at, first.agent, first.node) == (70, "bob", "n2")
    assert (second.started_at, second.agent, second.node) == (None, None, None)


async def test_the_last_mark_counts(store):
    await accept(store, 1)
    await journal(store, marks=[Mark(1, 70, agent="bob", node="n2")])
    await journal(store, marks=[Mark(1, 80, agent="bob", attempts=2)])
    [found] = await store.unsettled(after_seq=0, limit=9)
    assert (found.started_at, found.agent, found.attempts, found.node) == (80, "bob", 2, None)


async def test_a_mark_changes_nothing_of_what_has_its_end(store):
    await accept(store, 1)
    await journal(store, (), [end(1, agent="bob", started_at=60)], [Mark(1, 70, node="n2")])
    await journal(store, marks=[Mark(1, 80, node="n3"), Mark(9, 80)])
    found = await store.message("msg-1")
    assert (found.status, found.started_at, found.node) == (DeliveryStatus.DELIVERED, 60, None)


async def test_marks_go_to_disk_with_other_writes(store):
    await accept(store, 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.put_node_number("n", 1))
        await asyncio.sleep(0)
        await journal(store, [(2, message(2))], [end(1)], [Mark(2, 70, node="n2")])
    assert (await store.message("msg-2")).node == "n2"
    assert await store.node_number("n") == 1


async def test_what_is_revived_forgets_how_far_it_came(store):
    await accept(store, 1)
    await journal(store, marks=[Mark(1, 70, agent="bob", node="n2")])
    await store.put_step(step(0, state=StepState.DONE))
    await store.put_step(step(1, state=StepState.STARTED))
    await journal(store, (), [end(1, DeliveryStatus.DEAD)])
    revived = await store.revive("msg-1", seq=2)
    assert (revived.started_at, revived.agent, revived.node) == (None, None, None)
    assert [one.number for one in await store.steps("msg-1")] == [0]


async def test_a_dead_message_is_revived_under_a_new_number(store):
    await accept(store, 1, 2)
    await journal(
        store, (), [end(1, DeliveryStatus.DEAD, agent="a", started_at=1, attempts=4, reason="x")]
    )
    revived = await store.revive("msg-1", seq=3)
    assert revived == await store.message("msg-1")
    assert (revived.seq, revived.status, revived.message) == (
        3,
        DeliveryStatus.ACCEPTED,
        message(1),
    )
    assert (revived.settled_at, revived.started_at, revived.attempts) == (None, None, 0)
    assert store.last_seq == 3
    assert [stored.seq for stored in await store.unsettled(after_seq=0, limit=9)] == [2, 3]
    assert await store.status_counts() == {DeliveryStatus.ACCEPTED: 2}


async def test_only_the_dead_are_revived_or_dropped(store):
    await accept(store, 1, 2)
    await journal(store, (), [end(1)])
    for name in ("msg-1", "msg-2", "nobody"):
        assert await store.revive(name, seq=9) is None
        assert await store.drop(name) is False
    assert await store.status_counts() == {
        DeliveryStatus.ACCEPTED: 1,
        DeliveryStatus.DELIVERED: 1,
    }


async def test_a_dead_message_is_dropped_with_its_steps(store):
    await accept(store, 1)
    await store.put_step(step(0))
    await journal(store, (), [end(1, DeliveryStatus.DEAD)])
    assert await store.drop("msg-1") is True
    assert await store.message("msg-1") is None
    assert await store.steps("msg-1") == []
    assert await store.drop("msg-1") is False
    assert store.last_seq == 1


async def test_pruning_deletes_the_oldest_settled_first(store):
    await accept(store, *range(1, 7))
    await journal(store, (), [end(seq, at=seq * 100) for seq in (1, 2, 3, 5)])
    assert await store.prune(before=300, limit=1) == 1
    assert await seqs(store) == [6, 5, 4, 3, 2]
    assert await store.prune(before=301, limit=100) == 2
    assert await store.prune(before=301, limit=100) == 0
    assert await seqs(store) == [6, 5, 4]


async def test_pruning_takes_steps_along_and_those_of_unjournaled_messages(store):
    await accept(store, 1, 2)
    for name in ("msg-1", "msg-2", "never-journaled"):
        await store.put_step(step(0, message_id=name))
    await journal(store, (), [end(1, at=100)])
    assert await store.prune(before=200, limit=10) == 1
    assert await store.steps("msg-1") == []
    assert await store.steps("never-journaled") == []
    assert len(await store.steps("msg-2")) == 1


def version(number: int, agent: str = "alice") -> AgentVersion:
    return AgentVersion(
        agent=agent,
        number=number,
        version=f"1.{number}.0",
        source='name = "ä"\n',
        format="toml",
        digest="d" * 64,
        deployed_at=number,
    )


def record(name: str = "alice", current: int = 1, state=AgentState.RUNNING) -> AgentRecord:
    return AgentRecord(name=name, state=state, current=current, changed_at=7)


async def test_agents_are_listed_by_name(store):
    await store.put_agent(record("bob"))
    await store.put_agent(record("alice"), version(1))
    assert await store.agents() == [record("alice"), record("bob")]


async def test_an_agent_is_changed_in_place(store):
    await store.put_agent(record(), version(1))
    await store.put_agent(record(state=AgentState.STOPPED))
    assert await store.agents() == [record(state=AgentState.STOPPED)]


async def test_versions_come_oldest_first(store):
    for number in (1, 2, 10, 3):
        await store.put_agent(record(current=number), version(number))
    assert await store.agent_versions("alice") == [version(n) for n in (1, 2, 3, 10)]
    assert await store.agent_versions("nobody") == []


async def test_a_version_is_written_once_and_with_its_agent_or_not_at_all(store):
    await store.put_agent(record(), version(1))
    with pytest.raises(Conflict) as caught:
        await store.put_agent(record(state=AgentState.FAILED), version(1))
    assert caught.value.code == "already_exists"
    assert await store.agents() == [record()]


async def test_what_a_ring_must_know_of_an_agent_is_kept(store):
    moved = dataclasses.replace(
        record(), revision=3, epoch=5, is_here=False, replicas=2, placement="zone=eu"
    )
    await store.put_agent(moved, version(1))
    assert await store.agents() == [moved]
    await store.put_agent(record())
    assert await store.agents() == [record()]


def definition(digest: str, source: str = 'name = "ä"\n') -> Definition:
    return Definition(digest=digest, format="toml", source=source)


async def test_a_definition_is_found_by_its_digest_also_among_versions(store):
    await store.put_agent(record(), version(1))
    await store.put_definition(definition("e" * 64))
    assert await store.definition("e" * 64) == definition("e" * 64)
    assert await store.definition("d" * 64) == definition("d" * 64)
    assert await store.definition("f" * 64) is None


async def test_definitions_of_others_are_listed_and_forgotten_and_never_changed(store):
    for digest in ("b" * 64, "a" * 64):
        await store.put_definition(definition(digest))
    await store.put_definition(definition("a" * 64, "another"))
    assert await store.definition("a" * 64) == definition("a" * 64)
    assert await store.definition_digests() == ["a" * 64, "b" * 64]
    assert await store.delete_definitions(["a" * 64, "c" * 64]) == 1
    assert await store.definition_digests() == ["b" * 64]
    assert await store.definition("a" * 64) is None


async def test_a_number_of_the_nodes_own_is_kept_in_place_of_the_one_before(store):
    assert await store.node_number("epoch") is None
    await store.put_node_number("epoch", 7)
    await store.put_node_number("epoch", 2**62)
    assert await store.node_number("epoch") == 2**62


async def test_numbers_of_a_kind_are_listed_and_forgotten(store):
    for name in ("gone:b", "gone:a", "gone", "gonf:c", "other"):
        await store.put_node_number(name, len(name))
    assert dict(await store.node_numbers("gone:")) == {"gone:a": 6, "gone:b": 6}
    await store.delete_node_number("gone:a")
    await store.delete_node_number("nobody")
    assert dict(await store.node_numbers("gone:")) == {"gone:b": 6}


async def test_an_agent_is_deleted_with_all_that_is_its_own(store):
    for name in ("alice", "bob"):
        await store.put_agent(record(name), version(1, name))
        await store.put_log(name, [LogLine(at=1, level="info", text="hello")])
        await spend(store, agent=name)
    assert await store.delete_agent("alice") is True
    assert await store.delete_agent("alice") is False
    assert await store.agents() == [record("bob")]
    assert await store.agent_versions("alice") == []
    assert await store.log("alice") == []
    assert await store.usage(agent="alice") == UsageTotal()
    assert await store.usage(agent="alice", conversation_id="c") == UsageTotal()
    assert len(await store.log("bob")) == 1
    assert await store.usage(agent="bob") == UsageTotal(10, 5, 0.25)


def step(number: int, *, message_id="msg-1", state=StepState.STARTED, **more) -> Step:
    return Step(
        message_id=message_id,
        number=number,
        kind="tool",
        name="http_client",
        state=state,
        started_at=50,
        **more,
    )


async def test_a_step_is_started_and_finished(store):
    await store.put_step(step(0))
    assert await store.steps("msg-1") == [step(0)]
    finished = step(0, state=StepState.DONE, finished_at=60, data=b'{"a":"\xc3\xa4"}')
    await store.put_step(finished)
    assert await store.steps("msg-1") == [finished]


async def test_steps_come_in_order_each_with_its_own_data(store):
    given = [step(n, data=b"x" * n) for n in (3, 0, 11, 1)]
    await asyncio.gather(*(store.put_step(one) for one in given))
    assert await store.steps("msg-1") == sorted(given, key=lambda one: one.number)


async def spend(store, *, agent="alice", conversation_id="c", day="2026-01-31", cost=0.25):
    await store.add_usage(
        agent=agent, conversation_id=conversation_id, day=day, usage=UsageTotal(10, 5, cost)
    )


async def test_usage_adds_up_by_conversation_by_day_and_ever(store):
    await spend(store)
    await spend(store)
    await spend(store, conversation_id="d")
    await spend(store, day="2026-02-01")
    await spend(store, agent="bob")
    assert await store.usage(agent="alice") == UsageTotal(40, 20, 1.0)
    assert await store.usage(agent="alice", conversation_id="c") == UsageTotal(30, 15, 0.75)
    assert await store.usage(agent="alice", day="2026-01-31") == UsageTotal(30, 15, 0.75)
    assert await store.usage(agent="alice", conversation_id="c", day="2026-01-31") == UsageTotal(
        20, 10, 0.5
    )
    assert await store.usage(agent="nobody") == UsageTotal()


async def test_usage_that_arrives_at_once_adds_up(store):
    await asyncio.gather(*(spend(store) for _ in range(50)))
    assert await store.usage(agent="alice") == UsageTotal(500, 250, 12.5)


def lines(first: int, last: int) -> list[LogLine]:
    return [
        LogLine(at=n, level="info", text=f"line {n}", conversation_id="c" if n % 2 else None)
        for n in range(first, last + 1)
    ]


async def test_a_log_ends_with_the_latest_line(store):
    await store.put_log("alice", lines(1, 3))
    await store.put_log("bob", lines(100, 100))
    await store.put_log("alice", lines(4, 5))
    assert await store.log("alice") == lines(1, 5)
    assert await store.log("alice", tail=2) == lines(4, 5)
    assert await store.log("nobody") == []


async def test_a_log_keeps_a_thousand_lines(store):
    await store.put_log("alice", lines(1, 900))
    await store.put_log("alice", lines(901, 1_500))
    assert await store.log("alice", tail=5_000) == lines(501, 1_500)
    await store.put_log("alice", lines(2_000, 4_000))
    assert await store.log("alice", tail=1_000) == lines(3_001, 4_000)


async def test_ordinary_writes_see_the_journal_entries_before_them(store):
    store.append([(1, message(1))], [end(1, DeliveryStatus.DEAD)])
    assert await store.drop("msg-1") is True


async def test_ordinary_writes_happen_in_order(store):
    results = await asyncio.gather(
        store.put_agent(record()),
        store.put_log("alice", lines(1, 2)),
        store.delete_agent("alice"),
        store.put_log("alice", lines(3, 3)),
        store.delete_agent("alice"),
    )
    assert (results[2], results[4]) == (True, False)
    assert await store.log("alice") == lines(3, 3)


async def test_closing_writes_what_waits(store):
    called = []
    store.append([(1, message(1))], (), called.append)
    await store.close()
    assert called == [None]


async def test_the_twin_in_memory_forgets_its_oldest_settled_messages():
    async with opened(MemoryStore(settled_max=3)) as store:
        await accept(store, *range(1, 11))
        await journal(store, (), [end(seq) for seq in range(2, 8)])
        assert await seqs(store) == [10, 9, 8, 7, 6, 5, 1]
        assert store.last_seq == 10
