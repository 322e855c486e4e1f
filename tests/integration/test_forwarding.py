"""Messages between nodes: whole nodes in one process, linked by real gRPC."""

import asyncio

import msgspec
import pytest

from caxton_node.api.trace import hops_of
from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus, RoutingStrategy
from caxton_node.domain.errors import CaxtonError, Unavailable
from caxton_node.domain.performatives import Performative
from caxton_node.forwarding.outbox import CHUNK_BYTES
from caxton_node.forwarding.peers import Peer
from tests.clustered_nodes import until
from tests.handlers import Gate
from tests.linked_nodes import LinkedNode, linked, linked_node, linked_nodes, place
from tests.opened_node import ask, deploy, message, python_agent

DEADLINE_S = 15.0


async def settled(there: LinkedNode, message_id: str):
    """Return a message once it has its end."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            stored = await there.node.store.message(message_id)
            if stored is not None and stored.status is not DeliveryStatus.ACCEPTED:
                return stored
            await asyncio.sleep(0.005)


async def unsettled_count(there: LinkedNode) -> int:
    return len(await there.node.store.unsettled(after_seq=0, limit=1_000))


async def all_settled(*nodes: LinkedNode):
    async with asyncio.timeout(DEADLINE_S):
        for one in nodes:
            while await unsettled_count(one):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("delivery", list(DeliveryMode))
async def test_a_question_is_answered_from_another_node(tmp_path, delivery):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo")
        answer = await ask(a.node, receiver="Echo", content="hi", delivery=delivery)
        assert (answer.body(), answer.sender, answer.receiver) == ("hi", "Echo", "client")
        await all_settled(a, b)


async def test_the_node_that_was_called_may_ask_too(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, a, "Echo", "Echo")
        answer = await ask(b.node, receiver="Echo", content="hi")
        assert answer.body() == "hi"
        await all_settled(a, b)


async def test_an_answer_keeps_where_its_question_came_from(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo")
        assert (await ask(a.node, receiver="Echo")).home == "a"


async def test_both_nodes_know_how_a_message_ended(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo")
        question = message(a.node, receiver="Echo")
        await a.node.pipeline.send(question)
        for one in (a, b):
            stored = await settled(one, question.id)
            assert (stored.status, stored.agent) == (DeliveryStatus.DELIVERED, "Echo")


async def test_the_journal_says_where_a_message_went_and_when(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate")
        question = message(a.node, receiver="Gate")
        await a.node.pipeline.send(question)
        await asyncio.wait_for(Gate.entered.wait(), DEADLINE_S)
        assert a.node.pipeline.in_flight.find(question.id).went_to == "b"
        Gate.opened.set()
        stored = await settled(a, question.id)
        assert stored.node == "b"
        hops = [hop for _, hop in hops_of(stored, (), None)]
        assert [hop["event"] for hop in hops] == ["accepted", "routed", "forwarded", "settled"]
        assert (await settled(b, question.id)).node is None


async def test_an_agent_asks_an_agent_of_another_node_within_its_turn(tmp_path):
    async with linked_nodes(tmp_path, "a", "b", "c") as (atlas, (a, b, c)):
        await place(atlas, b, "Echo", "Echo")
        await place(atlas, c, "Asker", "Asker", capability="asking")
        answer = await ask(a.node, receiver="Asker", content="deep")
        assert answer.body() == {"act": "inform", "said": "deep"}
        await all_settled(a, b, c)


async def test_a_large_payload_goes_there_and_back(tmp_path):
    body = "x" * 999_000
    assert len(body) > 3 * CHUNK_BYTES
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo")
        answers = await asyncio.gather(
            ask(a.node, receiver="Echo", content=body), ask(a.node, receiver="Echo", content="s")
        )
        assert [len(answer.body()) for answer in answers] == [len(body), 1]


@pytest.mark.parametrize("delivery", [DeliveryMode.AT_MOST_ONCE, DeliveryMode.AT_LEAST_ONCE])
async def test_order_is_kept_in_a_conversation(tmp_path, delivery):
    Gate.close()
    Gate.opened.set()
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate", more="[limits]\nconcurrency = 8\n")
        for number in range(600):
            a.node.pipeline.submit(
                message(
                    a.node,
                    receiver="Gate",
                    content=number,
                    conversation_id="one",
                    delivery=delivery,
                    performative=Performative.INFORM,
                )
            )
        async with asyncio.timeout(DEADLINE_S):
            while len(Gate.seen) < 600:
                await asyncio.sleep(0.01)
        assert Gate.seen == list(range(600))
        await all_settled(a, b)


async def test_a_full_mailbox_elsewhere_answers_busy_here(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate", mailbox=20, more="[limits]\nconcurrency = 1\n")
        accepted = [message(a.node, receiver="Gate", content=number) for number in range(20)]
        for question in accepted:
            await a.node.pipeline.send(question)
        with pytest.raises(CaxtonError) as busy:
            await a.node.pipeline.send(message(a.node, receiver="Gate"))
        assert busy.value.code == "agent_busy"
        Gate.opened.set()
        for question in accepted:
            assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED
        await ask(a.node, receiver="Gate", content="room again")


async def test_a_cancel_stops_a_turn_on_another_node(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate")
        question = message(a.node, receiver="Gate")
        with a.node.answers.expect("client", question.id) as answer:
            await a.node.pipeline.send(question)
            await asyncio.wait_for(Gate.entered.wait(), DEADLINE_S)
            stop = msgspec.structs.replace(
                question, id=a.node.new_id("msg"), performative=Performative.CANCEL
            )
            await a.node.pipeline.send(stop)
            said = await asyncio.wait_for(answer, DEADLINE_S)
        assert said.performative is Performative.FAILURE
        assert said.body()["code"] == "cancelled"
        assert said.body()["partial"] == "half done"
        assert (await settled(a, question.id)).status is DeliveryStatus.CANCELLED
        assert (await settled(a, stop.id)).status is DeliveryStatus.DELIVERED


async def test_a_failure_elsewhere_is_a_dead_letter_with_its_reason_here(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Refuser", "Refuser")
        question = message(a.node, receiver="Refuser")
        with a.node.answers.expect("client", question.id) as answer:
            await a.node.pipeline.send(question)
            said = await asyncio.wait_for(answer, DEADLINE_S)
        assert said.body()["code"] == "denied"
        stored = await settled(a, question.id)
        assert (stored.status, stored.reason) == (DeliveryStatus.DEAD, "denied: not for you")


async def test_a_dead_letter_is_retried_on_the_node_that_gave_it_up(tmp_path):
    async with linked_nodes(tmp_path, "a", "b", retry__attempts=1) as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Flaky")
        question = message(a.node, receiver="Echo", content=1)
        await a.node.pipeline.send(question)
        assert (await settled(a, question.id)).status is DeliveryStatus.DEAD
        await deploy(b.node, python_agent("Echo", "Echo"))
        await a.node.pipeline.revive(question.id)
        assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED
        assert (await settled(b, question.id)).status is DeliveryStatus.DELIVERED


async def test_whoever_may_not_send_is_told(tmp_path):
    more = '[permissions]\nsenders = ["friend"]\n'
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo", more=more)
        said = await ask(a.node, receiver="Echo")
        assert (said.performative, said.body()["code"]) == (Performative.FAILURE, "denied")
        assert (await ask(a.node, receiver="Echo", sender="friend")).body() == "hello"


async def test_the_holder_ends_what_came_too_late(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate")
        question = message(a.node, receiver="Gate", reply_by=a.node.clock.now_ms() + 300)
        with a.node.answers.expect("client", question.id) as answer:
            await a.node.pipeline.send(question)
            said = await asyncio.wait_for(answer, DEADLINE_S)
        assert said.body()["code"] == "expired"
        for one in (a, b):
            assert (await settled(one, question.id)).status is DeliveryStatus.EXPIRED


async def test_without_a_link_the_sender_ends_what_comes_too_late(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo")
        await b.server.stop(0)
        await down(a, "b")
        question = message(a.node, receiver="Echo", reply_by=a.node.clock.now_ms() + 200)
        with a.node.answers.expect("client", question.id) as answer:
            await a.node.pipeline.send(question)
            said = await asyncio.wait_for(answer, DEADLINE_S)
        assert said.body()["code"] == "expired"
        assert (await settled(a, question.id)).status is DeliveryStatus.EXPIRED


async def down(one: LinkedNode, node: str):
    async with asyncio.timeout(DEADLINE_S):
        while one.links.is_up(node):
            await asyncio.sleep(0.005)


async def test_a_nearer_provider_is_preferred_and_among_equals_the_one_at_hand(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, a, "Here", "Echo", capability="data.tables.csv")
        await place(atlas, b, "There", "Echo", capability="data.tables")
        assert (await ask(a.node, capability="data.tables")).sender == "There"
        await place(atlas, b, "Equal", "Echo", capability="data.tables.csv")
        assert (await ask(a.node, capability="data.tables.csv")).sender == "Here"
        assert (await ask(b.node, capability="data.tables.csv")).sender == "Equal"


async def test_load_is_balanced_over_all_nodes(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, a, "Here", "Echo")
        await place(atlas, b, "There", "Echo")
        senders = {
            (
                await ask(a.node, capability="test", routing_strategy=RoutingStrategy.LOAD_BALANCED)
            ).sender
            for _ in range(6)
        }
        assert senders == {"Here", "There"}


async def test_a_broadcast_reaches_every_agent_once(tmp_path):
    async with linked_nodes(tmp_path, "a", "b", "c") as (atlas, nodes):
        for one in nodes:
            await place(atlas, one, f"Echo-{one.node.name}", "Echo")
        a = nodes[0]
        question = message(a.node, receiver="broadcast")
        heard = set()
        with a.node.events.watch(lambda event: event.kind == "message.delivered") as watcher:
            await a.node.pipeline.send(question)
            while len(heard) < 3:
                event = await watcher.next(timeout_s=DEADLINE_S)
                if event.data["receiver"] == "client":
                    heard.add(event.data["sender"])
        assert heard == {"Echo-a", "Echo-b", "Echo-c"}


async def break_stream(one: LinkedNode, peer: str):
    """End the stream to a peer from this side, once there is one."""
    link = one.links._link(peer)
    await until(lambda: link.is_up)
    link._serving.cancel()


async def test_a_broken_stream_loses_nothing_and_doubles_nothing(tmp_path):
    Gate.close()
    Gate.opened.set()
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate", more="[limits]\nmailbox = 5000\n", mailbox=5_000)
        for number in range(1_000):
            a.node.pipeline.submit(
                message(
                    a.node,
                    receiver="Gate",
                    content=number,
                    conversation_id="one",
                    performative=Performative.INFORM,
                )
            )
            if number % 100 == 50:
                # Some are there, some are on their way, and the breaks come from both sides.
                await until(lambda number=number: len(Gate.seen) > number - 50)
                await (break_stream(a, "b") if number % 200 == 50 else break_stream(b, "a"))
                a.peers.lose("b")
                a.peers.see(Peer("b", b.address, b.epoch))
        await until(lambda: len(Gate.seen) >= 1_000)
        await all_settled(a, b)
        assert Gate.seen == list(range(1_000))
        assert a.links._link("b").break_count >= 10


async def test_a_look_up_that_fails_loses_nothing(tmp_path, monkeypatch):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo")
        find, failures = b.node.pipeline.journal.find, iter(range(3))

        async def find_at_last(message_id):
            if next(failures, None) is not None:
                raise Unavailable("storage_unavailable", "not now")
            return await find(message_id)

        monkeypatch.setattr(b.node.pipeline.journal, "find", find_at_last)
        questions = [message(a.node, receiver="Echo", content=n) for n in range(10)]
        for question in questions:
            await a.node.pipeline.send(question, is_doubtful=True)
        for question in questions:
            assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED


async def test_what_waited_for_the_link_goes_when_it_comes_up(tmp_path):
    async with linked_nodes(tmp_path, "a") as (atlas, (a,)):
        atlas.put("Echo", "b", "test")
        questions = [message(a.node, receiver="Echo", content=n) for n in range(300)]
        for question in questions:
            await a.node.pipeline.send(question)
        assert a.links.waiting_count("b") == 300
        async with linked_node(tmp_path, "b", atlas) as b:
            await deploy(b.node, python_agent("Echo", "Echo"))
            for question in questions:
                assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED


async def test_messages_wait_for_a_node_that_restarts(tmp_path):
    async with linked_nodes(tmp_path, "a") as (atlas, (a,)):
        async with linked_node(tmp_path, "b", atlas) as b:
            await linked(a, b)
            await place(atlas, b, "Echo", "Echo")
            await ask(a.node, receiver="Echo")
        a.peers.lose("b")
        del atlas.places["Echo"]
        questions = [message(a.node, receiver="Echo", content=n) for n in range(20)]
        for question in questions:
            await a.node.pipeline.send(question)
        async with linked_node(tmp_path, "b", atlas):
            atlas.put("Echo", "b", "test")
            atlas.tell()
            for question in questions:
                assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED


async def test_what_waits_for_a_dead_node_goes_where_its_agent_starts_again(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a", "c") as (atlas, (a, c)):
        async with linked_node(tmp_path, "b", atlas) as b:
            await linked(a, b, c)
            await place(atlas, b, "Gate", "Gate")
            questions = [
                message(a.node, receiver="Gate", content=n, conversation_id="one")
                for n in range(20)
            ]
            for question in questions:
                await a.node.pipeline.send(question)
            await asyncio.wait_for(Gate.entered.wait(), DEADLINE_S)
        del atlas.places["Gate"]
        a.peers.lose("b")
        late = message(a.node, receiver="Gate", content=20, conversation_id="one")
        await a.node.pipeline.send(late)
        Gate.close()
        Gate.opened.set()
        await place(atlas, c, "Gate", "Gate")
        for question in (*questions, late):
            assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED
        assert Gate.seen == list(range(21))


async def test_what_waits_for_a_dead_node_is_done_here_when_its_agent_comes_here(tmp_path):
    async with linked_nodes(tmp_path, "a") as (atlas, (a,)):
        async with linked_node(tmp_path, "b", atlas) as b:
            await linked(a, b)
            await place(atlas, b, "Echo", "Echo")
        a.peers.lose("b")
        question = message(a.node, receiver="Echo")
        await a.node.pipeline.send(question)
        await place(atlas, a, "Echo", "Echo")
        assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED


async def test_an_effect_wanted_once_stays_with_the_node_that_may_have_begun_it(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a", "c") as (atlas, (a, c)):
        async with linked_node(tmp_path, "b", atlas) as b:
            await linked(a, b, c)
            await place(atlas, b, "Gate", "Gate")
            question = message(
                a.node,
                receiver="Gate",
                delivery=DeliveryMode.EXACTLY_ONCE,
                reply_by=a.node.clock.now_ms() + 1_500,
            )
            await a.node.pipeline.send(question)
            await asyncio.wait_for(Gate.entered.wait(), DEADLINE_S)
        a.peers.lose("b")
        Gate.close()
        await place(atlas, c, "Gate", "Gate")
        stored = await settled(a, question.id)
        assert stored.status is DeliveryStatus.DEAD
        assert stored.reason.startswith("outcome_unknown: ")
        assert Gate.seen == []


async def test_an_unknown_name_is_refused_at_once_where_nobody_is_to_come(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, _)):
        a.node.pipeline.elsewhere.awaits = False
        atlas.put("Analyzer", "b")
        with pytest.raises(CaxtonError) as unknown:
            await a.node.pipeline.send(message(a.node, receiver="Analyser"))
        assert unknown.value.facts["suggestions"] == ["Analyzer"]


async def test_what_waits_for_nobody_can_be_called_off(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (_, (a, _)):
        question = message(a.node, receiver="Later")
        await a.node.pipeline.send(question)
        stop = msgspec.structs.replace(
            question, id=a.node.new_id("msg"), performative=Performative.CANCEL
        )
        with a.node.answers.expect("client", stop.id) as answer:
            await a.node.pipeline.send(stop)
            said = await asyncio.wait_for(answer, DEADLINE_S)
        assert said.body() == {"cancelled": 1}
        assert (await settled(a, question.id)).status is DeliveryStatus.CANCELLED


async def test_an_agent_that_is_not_where_it_was_sought_is_sought_again(tmp_path):
    async with linked_nodes(tmp_path, "a", "b", "c") as (atlas, (a, b, c)):
        atlas.put("Echo", "b", "test")  # a rumour
        questions = [message(a.node, receiver="Echo", content=n) for n in range(5)]
        for question in questions:
            await a.node.pipeline.send(question)
        await deploy(c.node, python_agent("Echo", "Echo"))
        atlas.put("Echo", "c", "test")
        for question in questions:
            assert (await settled(a, question.id)).status is DeliveryStatus.DELIVERED
        assert await b.node.store.message(questions[0].id) is None


async def test_a_message_handed_back_to_where_it_came_from_is_done_there(tmp_path):
    Gate.close()
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Gate", "Gate", more="[limits]\nconcurrency = 1\n")
        first = message(a.node, receiver="Gate", content="first")
        second = message(a.node, receiver="Gate", content="second")
        await a.node.pipeline.send(first)
        await asyncio.wait_for(Gate.entered.wait(), DEADLINE_S)
        await a.node.pipeline.send(second)
        seat = b.node.roster.find("Gate")
        async with asyncio.timeout(DEADLINE_S):
            while not len(seat.mailbox):
                await asyncio.sleep(0.005)
        b.node.roster.remove("Gate")
        await place(atlas, a, "Gate", "Gate", more="[limits]\nconcurrency = 1\n")
        moving = list(seat.mailbox.waiting())
        for envelope in moving:
            seat.discard(envelope)
        b.node.pipeline.place_again(moving)
        Gate.opened.set()
        for question in (first, second):
            for one in (a, b):
                assert (await settled(one, question.id)).status is DeliveryStatus.DELIVERED
        assert sorted(Gate.seen) == ["first", "second"]
        b.node.supervisor.dismiss(seat)


async def test_a_node_of_another_cluster_is_refused(tmp_path, caplog):
    async with (
        linked_nodes(tmp_path, "a") as (atlas, (a,)),
        linked_node(tmp_path, "b", atlas, cluster="other"),
    ):
        async with asyncio.timeout(DEADLINE_S):
            while "belongs to the cluster" not in caplog.text:
                await asyncio.sleep(0.02)
        assert not a.links.is_up("b")
