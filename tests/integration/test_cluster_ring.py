"""Several real members with UDP and TCP on loopback."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import uvloop

from caxton_cluster import Cluster, ClusterSettings, MemberState, fast
from caxton_cluster.errors import InvalidSetting, JoinFailed, KeyRejected, NotRunning
from caxton_cluster.serf.overlay import SerfOverlay
from caxton_cluster.swim.events import DigestHeard, MemberFailed, MemberLeft, MemberUpdated
from caxton_cluster.swim.wire.messages import Ping
from caxton_cluster.swim.wire.wire import Wire
from tests.integration.cluster_ring import DEADLINE_S, start, start_ring, states, until

KEY, NEW_KEY = b"k" * 16, b"n" * 32


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


async def test_five_members_come_to_know_each_other(stack):
    ring = await start_ring(stack, 5)

    for node in ring:
        assert states(node) == {f"n{number}": "alive" for number in range(5)}


async def test_members_meet_over_ipv6(stack):
    ring = await start_ring(stack, 3, bind_host="::1")

    assert str(ring[0].address).startswith("[::1]:")


async def test_members_meet_under_a_label_encryption_and_compression(stack):
    ring = await start_ring(stack, 3, label="prod", keys=(KEY,), compresses=True)

    assert all(len(node.live_members()) == 3 for node in ring)


async def test_another_clusters_member_is_kept_out(stack):
    first = await start(stack, "n0", label="prod")
    stranger = await start(stack, "n1", label="dev")

    with pytest.raises(JoinFailed) as raised:
        await stranger.join([str(first.address)], timeout_s=1.0)

    assert raised.value.reasons
    assert len(first.live_members()) == 1
    assert first.statistics.not_for_us > 0


async def test_a_plain_member_in_a_serf_ring_says_why_it_is_alone(stack):
    first = await start(stack, "n0", overlay=SerfOverlay)
    plain = await start(stack, "n1")

    await plain.join([str(first.address)], timeout_s=DEADLINE_S)

    assert "n0 was refused" in plain.problems[0]
    assert len(plain.live_members()) == 1


async def test_a_leaving_member_is_seen_as_left(stack):
    ring = await start_ring(stack, 3)

    with ring[0].subscribe() as events:
        assert await ring[2].leave()
        async with asyncio.timeout(DEADLINE_S):
            async for event in events:
                if isinstance(event, MemberLeft | MemberFailed):
                    break

    assert isinstance(event, MemberLeft)
    assert states(ring[1])["n2"] == "left"


async def test_a_killed_member_is_seen_as_failed():
    async with AsyncExitStack() as stack:
        ring = await start_ring(stack, 2)
        async with Cluster(ClusterSettings(name="victim", bind_port=0, swim=fast())) as victim:
            await victim.join([str(ring[0].address)], timeout_s=DEADLINE_S)
            for node in ring:
                await until(node, lambda node=node: len(node.live_members()) == 3)
        for node in ring:
            await until(node, lambda node=node: states(node).get("victim") == "dead")


async def test_a_restarted_member_is_back_under_its_name(stack):
    ring = await start_ring(stack, 2)
    for _ in range(2):
        async with Cluster(ClusterSettings(name="phoenix", bind_port=0, swim=fast())) as phoenix:
            await phoenix.join([str(ring[0].address)], timeout_s=DEADLINE_S)
            for node in ring:
                await until(
                    node,
                    lambda node=node, at=phoenix.address: any(
                        m.name == "phoenix" and m.address == at and m.state == MemberState.ALIVE
                        for m in node.members()
                    ),
                )


async def test_a_later_life_begins_with_a_higher_incarnation(stack):
    before = await start(stack, "n0")
    first = before.own.incarnation
    after = await start(stack, "n0")

    assert after.own.incarnation >= first > 1_700_000_000


async def test_new_metadata_reach_everyone(stack):
    ring = await start_ring(stack, 3)

    with ring[2].subscribe() as events:
        ring[0].set_metadata(b"new")
        async with asyncio.timeout(DEADLINE_S):
            async for event in events:
                if isinstance(event, MemberUpdated):
                    break

    assert event.member.meta == b"new"


async def test_keys_rotate_while_the_ring_runs(stack):
    ring = await start_ring(stack, 3, keys=(KEY,))
    for step in (
        lambda node: node.install_key(NEW_KEY),
        lambda node: node.use_key(NEW_KEY),
        lambda node: node.remove_key(KEY),
    ):
        for node in ring:
            step(node)
            ring[0].set_metadata(step.__code__.co_code[:8] + node.settings.name.encode())
            meta = ring[0].own.meta
            for other in ring[1:]:
                await until(
                    other,
                    lambda other=other, meta=meta: other.members()[0].meta == meta,
                )

    assert all(node.keys() == (NEW_KEY,) for node in ring)
    assert all(len(node.live_members()) == 3 for node in ring)


async def test_a_member_without_keys_cannot_rotate_them(stack):
    node = await start(stack, "n0")

    with pytest.raises(KeyRejected, match="plaintext"):
        node.install_key(KEY)
    assert node.keys() == ()


async def test_joining_waits_for_a_seed_that_comes_later(stack):
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
    early = await start(stack, "early")
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(early.join([f"127.0.0.1:{port}"], timeout_s=DEADLINE_S))
        late = await start(stack, "late", bind_port=port)
        await joining

    await until(late, lambda: len(late.live_members()) == 2)


async def test_a_name_with_several_addresses_is_a_seed(stack):
    first = await start(stack, "n0")
    second = await start(stack, "n1")

    answered = await second.join([f"localhost:{first.address.port}"], timeout_s=DEADLINE_S)

    assert answered == first.address


async def test_a_seed_that_is_only_ourselves_is_explained(stack):
    lonely = await start(stack, "n0")

    with pytest.raises(JoinFailed, match="nobody but us"):
        await lonely.join([str(lonely.address)], timeout_s=0.2)


@pytest.mark.parametrize("seed", ["", ":7946", "host:port", "host:0", "host:70000", "[::1]:x"])
async def test_a_seed_that_is_no_address_is_refused(stack, seed):
    node = await start(stack, "n0")

    with pytest.raises(InvalidSetting, match="seed"):
        await node.join([seed])


async def test_a_restarted_member_finds_its_ring_without_seeds(stack, tmp_path):
    book = tmp_path / "peers.json"
    swim = replace(fast(), rejoin_interval_s=0.2)
    ring = await start_ring(stack, 2)
    async with Cluster(
        ClusterSettings(name="n9", bind_port=0, swim=swim, peers_path=book)
    ) as before:
        await before.join([str(ring[0].address)], timeout_s=DEADLINE_S)
        await until(before, lambda: len(before.live_members()) == 3)
    assert set(json.loads(book.read_text())["peers"]) == {"n0", "n1"}

    after = await start(stack, "n9", swim=swim, peers_path=book)

    await until(after, lambda: len(after.live_members()) == 3)


async def test_an_unreadable_peer_book_is_reported_and_does_not_stop_us(stack, tmp_path):
    book = tmp_path / "peers.json"
    book.write_text('{"format": 1, "peers": [')

    node = await start(stack, "n0", peers_path=book)

    assert "cannot be used" in node.problems[0]


async def test_junk_on_both_sockets_is_survived_and_counted(stack):
    ring = await start_ring(stack, 2)
    host, port = ring[0].address.host, ring[0].address.port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
        for size in range(0, 1500, 50):
            junk.sendto(b"\xf7" * size, (host, port))
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    reply = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()

    ring[1].set_metadata(b"still here")
    await until(ring[0], lambda: ring[0].members()[1].meta == b"still here")
    assert reply[0] == 13
    assert ring[0].statistics.malformed >= 20


async def test_a_peer_that_says_nothing_does_not_keep_its_stream(stack):
    node = await start(stack, "n0", swim=replace(fast(), stream_timeout_s=0.2))
    reader, writer = await asyncio.open_connection(node.address.host, node.address.port)

    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(_read_to_end(reader), DEADLINE_S)
    writer.close()


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    if await reader.read() == b"":
        raise ConnectionResetError


async def test_a_stream_ping_is_answered(stack):
    node = await start(stack, "n0")
    wire = Wire()
    reader, writer = await asyncio.open_connection(node.address.host, node.address.port)
    writer.write(wire.streams.encode_request(Ping(7, "n0")))
    reply = await asyncio.wait_for(reader.read(100), DEADLINE_S)
    writer.close()

    assert wire.streams.reply_decoder().feed(reply).sequence == 7


async def test_a_cluster_that_was_not_opened_says_so():
    with pytest.raises(NotRunning, match="async with"):
        Cluster(ClusterSettings(name="n0")).members()


async def test_a_port_that_is_taken_is_an_error_at_once(stack):
    node = await start(stack, "n0")

    with pytest.raises(OSError, match="in use"):
        await start(stack, "n1", bind_port=node.address.port)


async def test_a_subscription_ends_when_the_cluster_closes():
    async with Cluster(ClusterSettings(name="n0", bind_port=0)) as node:
        events = node.subscribe()

    assert [event async for event in events] == []


async def test_no_task_outlives_its_cluster(stack):
    before = asyncio.all_tasks()
    async with AsyncExitStack() as inner:
        await start_ring(inner, 3)
        assert len(asyncio.all_tasks()) > len(before)

    assert asyncio.all_tasks() == before


def test_a_ring_forms_on_uvloop():
    async def run() -> int:
        async with AsyncExitStack() as stack:
            ring = await start_ring(stack, 3)
            return len(ring[2].live_members())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == 3


@pytest.mark.parametrize("overlay", [None, SerfOverlay], ids=["plain", "serf"])
async def test_a_digest_reaches_every_peer(stack, overlay):
    ring = await start_ring(stack, 3, overlay=overlay)
    wanted = {f"n{number}": f"digest of n{number}".encode() for number in range(3)}
    for node in ring:
        node.set_digest(wanted[node.settings.name])

    for node in ring:
        heard = {node.settings.name: wanted[node.settings.name]}
        with node.subscribe() as events:
            async with asyncio.timeout(DEADLINE_S):
                while heard != wanted:
                    event = await anext(events)
                    if isinstance(event, DigestHeard):
                        heard[event.name] = event.digest


@pytest.mark.parametrize("overlay", [None, SerfOverlay], ids=["plain", "serf"])
async def test_a_member_that_left_joins_again(stack, overlay):
    ring = await start_ring(stack, 3, overlay=overlay)
    ring[2].set_metadata(b"kept")
    for _ in range(2):
        before = ring[2].own.incarnation
        assert await ring[2].leave()
        for node in ring[:2]:
            await until(node, lambda node=node: states(node)["n2"] == "left")

        await ring[2].join([str(ring[0].address)], timeout_s=DEADLINE_S)

        for node in ring:
            await until(node, lambda node=node: set(states(node).values()) == {"alive"})
        assert ring[2].own.incarnation > before
        assert {m.meta for m in ring[0].members() if m.name == "n2"} == {b"kept"}


async def test_a_second_goodbye_says_nothing_and_ends_at_once(stack):
    ring = await start_ring(stack, 2)

    assert await ring[1].leave()
    assert not await ring[1].leave()


async def test_who_came_back_notices_a_death_that_it_missed(stack):
    ring = await start_ring(stack, 2)
    async with Cluster(ClusterSettings(name="victim", bind_port=0, swim=fast())) as victim:
        await victim.join([str(ring[0].address)], timeout_s=DEADLINE_S)
        await until(ring[1], lambda: len(ring[1].live_members()) == 3)
        await ring[1].leave()
    await until(ring[0], lambda: states(ring[0])["victim"] == "dead")

    await ring[1].join([str(ring[0].address)], timeout_s=DEADLINE_S)

    await until(ring[1], lambda: states(ring[1])["victim"] == "dead")
