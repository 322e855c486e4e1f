"""Promises with a number: how fast news spreads, who is wrongly accused, what it costs."""

from collections import Counter
from math import log

import pytest

from caxton_cluster.config import SwimConfig, fast, lan, local, wan
from caxton_cluster.swim.events import MemberJoined
from caxton_cluster.swim.wire.messages import Suspect
from caxton_cluster.transport.memory import LinkQuality
from caxton_cluster.types import Address
from tests.sim.reference import ReferenceWorld, reference_lan
from tests.sim.trials import (
    crash_notice_s,
    deaths,
    deaths_beside_blocked,
    deaths_in_loss,
    formed,
    known_dead,
    ring,
    spread,
)
from tests.sim.world import World, address_of

SEEDS = range(40)


@pytest.mark.parametrize("config", [lan(), fast(), local()], ids=["lan", "fast", "local"])
def test_three_nodes_form_a_ring_in_under_two_seconds(config):
    for seed in SEEDS:
        assert formed(*ring(seed, 3, config)) < 2.0


@pytest.mark.parametrize(("config", "bound_s"), [(lan(), 6.0), (fast(), 3.0)], ids=["lan", "fast"])
@pytest.mark.parametrize("end", [World.crash, World.pause], ids=["crash", "hang"])
@pytest.mark.parametrize(("size", "seeds"), [(3, range(60)), (8, range(20))], ids=["3", "8"])
def test_one_that_ends_is_known_dead_everywhere_in_time(config, bound_s, end, size, seeds):
    """Ports closed, or open and silent for ever."""
    for seed in seeds:
        world, nodes = ring(seed, size, config)
        world.run_until(10 + world.random.random() * 3)
        end(world, nodes[seed % size])
        assert known_dead(world, nodes[seed % size].name) < bound_s


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_no_mass_join_update_or_leave_waits_for_anti_entropy(size):
    for seed in range(160 // size):
        _join_update_leave(seed, size)


def _join_update_leave(seed: int, size: int) -> None:
    took = spread(seed, size)

    assert max(took.join_s, took.update_s, took.leave_s) < 2.0


@pytest.mark.parametrize("size", [8, 16])
def test_over_slow_and_lossy_links_no_news_waits_for_anti_entropy_either(size):
    far = LinkQuality(loss=0.02, delay_min_s=0.03, delay_max_s=0.25)
    for seed in range(80 // size):
        took = spread(seed, size, wan(), quality=far)

        assert max(took.join_s, took.update_s, took.leave_s) < 4.0


A_THOUSAND_RUNS = [
    pytest.param(size, range(first, first + count), id=f"{size}-{first}")
    for size, count in ((8, 1000), (16, 500), (32, 250), (64, 50))
    for first in range(0, 1000, count)
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("size", "seeds"), A_THOUSAND_RUNS)
def test_not_one_of_a_thousand_runs_waits_for_anti_entropy(size, seeds):
    for seed in seeds:
        _join_update_leave(seed, size)


@pytest.mark.parametrize("size", [3, 8, 32, 64])
def test_an_idle_member_sends_under_a_hundred_bytes_a_second(size):
    """Tables that are exchanged included, asked and answered."""
    world, nodes = ring(1, size)
    world.run_until(70)
    before = sum(node.sent_bytes + node.stream_bytes for node in nodes)

    world.run_until(130)

    after = sum(node.sent_bytes + node.stream_bytes for node in nodes)
    assert (after - before) / 60 / size < 100


@pytest.mark.parametrize("loss", [0.05, 0.10])
def test_nobody_is_buried_for_lost_datagrams(loss):
    for seed in range(3):
        world, nodes = ring(seed, 10, quality=LinkQuality(loss=loss, delay_max_s=0.002))
        formed(world, nodes)
        counted = deaths(world)

        world.run_for(150)

        assert not counted


NO_LIFEGUARD = SwimConfig(awareness_max=1, suspicion_max_mult=1)


def test_lifeguard_saves_the_healthy_from_blocked_members():
    saved = deaths_beside_blocked(1, 20, 2, lan())
    lost = deaths_beside_blocked(1, 20, 2, NO_LIFEGUARD)

    assert lost >= 100
    assert saved * 50 <= lost


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_a_hundred_members_slowed_buries_ten_times_fewer_with_lifeguard(seed):
    # Longer than the shortest suspicion of so many, or not even SWIM by itself would err.
    saved = deaths_beside_blocked(seed, 100, 10, lan(), blocked_s=16.0, duration_s=60)
    lost = deaths_beside_blocked(seed, 100, 10, NO_LIFEGUARD, blocked_s=16.0, duration_s=60)

    assert lost >= 100
    assert saved * 10 <= lost


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", [0.05, 0.10, 0.25])
def test_loss_buries_no_more_than_by_memberlists_rules(loss):
    seeds, size, duration_s = range(4), 32, 150.0

    ours = sum(deaths_in_loss(seed, size, loss, duration_s, lan(), World) for seed in seeds)
    theirs = sum(
        deaths_in_loss(seed, size, loss, duration_s, reference_lan(), ReferenceWorld)
        for seed in seeds
    )

    assert ours <= theirs


def test_a_node_stopped_for_ten_seconds_evicts_nobody_and_is_back_at_once():
    for seed in SEEDS:
        world, nodes = ring(seed, 5)
        world.run_until(10 + world.random.random())
        counted = deaths(world)
        world.pause(nodes[0])
        world.run_for(10)
        world.resume(nodes[0])

        assert formed(world, nodes) < 2.0
        world.run_for(30)
        assert set(counted) <= {"n0"}
        assert all(len(node.live_view()) == 5 for node in nodes)


def test_a_node_stopped_for_three_seconds_stays_a_member():
    for seed in SEEDS:
        world, nodes = ring(seed, 5)
        world.run_until(10 + world.random.random())
        counted = deaths(world)
        world.pause(nodes[0])
        world.run_for(3)
        world.resume(nodes[0])
        world.run_for(10)

        assert not counted


def test_halves_find_each_other_after_a_partition_longer_than_memory():
    for seed in range(10):
        world, nodes = ring(seed, 6)
        world.run_until(10)
        sides = [n.address for n in nodes[:3]], [n.address for n in nodes[3:]]
        world.network.cut_between(*sides)
        world.run_for(120)
        assert all(len(node.live_view()) == 3 for node in nodes)

        world.network.mend_between(*sides)

        assert formed(world, nodes) < 45


def _is_known_at(world: World, name: str, address: Address) -> bool:
    rows = [node.machine.table.get(name) for node in world.running()]
    return all(row and row.address == address and not row.state.is_gone for row in rows)


def test_a_name_restarted_elsewhere_is_back_in_seconds():
    for seed in range(20):
        world, nodes = ring(seed, 5)
        world.run_until(10)
        world.crash(nodes[2])
        world.run_for(2)
        elsewhere = address_of(77)
        world.start("n2", elsewhere, seeds=[nodes[0].address])

        assert world.run_until_true(lambda: _is_known_at(world, "n2", elsewhere), 60) < 12  # noqa: B023 - called at once


def test_a_whole_ring_restarted_at_once_comes_back():
    for seed in range(10):
        world, nodes = ring(seed, 5)
        world.run_until(20)
        addresses = [node.address for node in nodes]
        for node in nodes:
            world.crash(node)
        world.run_for(2)
        again = [
            world.start(node.name, node.address, seeds=[a for a in addresses if a != node.address])
            for node in nodes
        ]

        assert formed(world, again) < 15


def test_the_table_does_not_grow_with_those_who_come_and_go():
    world, nodes = ring(1, 3)
    world.run_until(5)
    for number in range(60):
        guest = world.start(f"guest-{number}", address_of(10 + number), seeds=[nodes[0].address])
        world.run_for(2)
        world.leave(guest)
    world.run_for(90)

    assert all(len(node.machine.table) == 3 for node in nodes)


def test_one_that_suspects_everybody_evicts_nobody():
    world, nodes = ring(1, 6)
    world.run_until(10)
    counted = deaths(world)

    def slander() -> None:
        beliefs, table = nodes[0].machine.beliefs, nodes[0].machine.table
        for row in list(table):
            if row.name != "n0":
                beliefs.hear_suspect(Suspect(row.incarnation, row.name, "n0"), world.now)
        world.settle(nodes[0])
        world.after(1.0, slander)

    slander()
    world.run_for(60)

    assert not counted


def test_every_member_hears_of_a_newcomer_exactly_once():
    world, nodes = ring(3, 6)
    world.run_until(10)
    heard: Counter = Counter()

    def watch(_now, node, event):
        if isinstance(event, MemberJoined) and event.member.name == "late":
            heard[node.name] += 1

    world.watchers.append(watch)
    world.start("late", address_of(50), seeds=[nodes[0].address])
    world.run_for(20)

    assert heard == Counter({node.name: 1 for node in nodes})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_members_learn_of_a_crash_no_later_than_by_memberlists_rules():
    config = lan()
    first_s, last_s = crash_notice_s(1, 1000, config)
    _, reference_last_s = crash_notice_s(1, 1000, reference_lan(), ReferenceWorld)

    rounds = (last_s - first_s) / config.gossip_interval_s
    assert rounds <= 1 + log(1000, 1 + config.gossip_fanout), "a rumour's own pace"
    assert last_s <= reference_last_s
