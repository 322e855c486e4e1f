"""What must hold, watched from outside: checkers read events and views, never change a thing."""

from collections.abc import Iterator
from dataclasses import dataclass

from caxton_cluster.config import SwimConfig
from caxton_cluster.swim.events import (
    Event,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from caxton_cluster.swim.suspicion import timeout_bounds_s
from caxton_cluster.types import MemberState
from tests.sim.faults import Disturbance, Schedule
from tests.sim.world import STEPS_PER_NODE_SECOND_MAX, Node, World


class Violation(AssertionError):
    """Something that must never happen happened."""


def detection_bound_s(config: SwimConfig, member_count: int) -> float:
    """Return within how long a crash is known to everyone whose links are well.

    Round robin over a list that is shuffled each pass (SWIM 4.3), a last suspicion by the
    slowest of clocks (Lifeguard IV-B), a rumour's rounds, and probing at half speed.
    """
    _, longest_s = timeout_bounds_s(config, member_count)
    rounds_s = (2 * member_count - 1) * config.probe_interval_s * 2
    return rounds_s + longest_s + 12 * config.gossip_interval_s


@dataclass(slots=True)
class EventOrder:
    """For one observer and one name: joined, (updated, suspected, recovered)*, gone."""

    states: dict[tuple[str, int, str], str]

    def __call__(self, now: float, node: Node, event: Event) -> None:
        if not isinstance(
            event,
            MemberJoined
            | MemberUpdated
            | MemberSuspected
            | MemberRecovered
            | MemberFailed
            | MemberLeft,
        ):
            return
        key = (node.name, node.life, event.member.name)
        before = self.states.get(key, "gone")
        match event:
            case MemberJoined():
                allowed, after = {"gone", "failed"}, "up"
            case MemberUpdated():
                allowed, after = {"up"}, "up"
            case MemberSuspected():
                allowed, after = {"up"}, "suspect"
            case MemberRecovered():
                allowed, after = {"suspect"}, "up"
            case MemberFailed():
                allowed, after = {"up", "suspect"}, "failed"
            case MemberLeft():
                allowed, after = {"up", "suspect", "failed"}, "gone"
        if before not in allowed:
            raise Violation(f"{node.name} saw {type(event).__name__} of {key[2]} while {before}")
        self.states[key] = after


class Accuracy:
    """Nobody who is well is declared dead in the eyes of anybody who is well.

    Whatever befalls the others: a slow, stopped or cut off member may suspect the well, and its
    rumours reach everyone, but the well object in time.
    """

    def __init__(self, world: World, schedule: Schedule) -> None:
        self.world = world
        self.schedule = schedule
        self.grace_s = detection_bound_s(world.config, 8)

    def __call__(self, now: float, node: Node, event: Event) -> None:
        if not isinstance(event, MemberFailed):
            return
        subject = self.world.nodes[event.member.name]
        if not subject.is_running or subject.has_left or subject.address != event.member.address:
            return
        unwell = {
            one.name for one in self.schedule.disturbances if _touches(one, now - self.grace_s, now)
        }
        if subject.name not in unwell and node.name not in unwell:
            raise Violation(f"{node.name} declared {subject.name} dead, and both are well")


def _touches(one: Disturbance, start_at: float, end_at: float) -> bool:
    return one.start_at <= end_at and one.end_at >= start_at


class Incarnations:
    """Incarnations only grow: a member's own, and everyone's view of it."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, int, str], int] = {}

    def look(self, node: Node) -> None:
        for row in node.machine.table:
            key = (node.name, node.life, row.name)
            before = self.seen.get(key, 0)
            if row.incarnation < before:
                raise Violation(
                    f"{node.name} saw {row.name} fall from i{before} to i{row.incarnation}"
                )
            self.seen[key] = row.incarnation


def bounds(world: World, node: Node) -> None:
    """Nothing grows without limit."""
    machine, size = node.machine, len(node.machine.table)
    if machine.rumour_count > size:
        raise Violation(f"{node.name} holds {machine.rumour_count} rumours of {size} members")
    if not 0 <= machine.awareness.score < world.config.awareness_max:
        raise Violation(f"{node.name} has health score {machine.awareness.score}")
    if machine.timer_count > 40 + 12 * size:
        raise Violation(f"{node.name} keeps {machine.timer_count} timers for {size} members")
    suspects = [row for row in machine.table if row.state == MemberState.SUSPECT]
    if len(suspects) != machine.beliefs.suspicion_count:
        raise Violation(f"{node.name} lost track of a suspicion")
    own = machine.table.own
    if own.state != MemberState.ALIVE and not node.has_left:
        raise Violation(f"{node.name} believes itself {own.state.name}")
    age_s = world.now - node.started_at + 1
    if node.step_count > age_s * STEPS_PER_NODE_SECOND_MAX:
        raise Violation(f"{node.name} spins: {node.step_count} steps in {age_s:.0f} s")


def completeness(world: World, schedule: Schedule) -> Iterator[str]:
    """Everyone who crashed long ago is known to be gone by everyone who was well since."""
    bound_s = detection_bound_s(world.config, 8)
    for (name, life), crashed_at in schedule.crashed_at.items():
        current = world.nodes[name]
        if current.life != life or world.now - crashed_at < bound_s:
            continue
        for node in world.running():
            was_well = not any(
                one.name == node.name and _touches(one, crashed_at - 1, world.now)
                for one in schedule.disturbances
            )
            if was_well and name in node.live_view():
                yield f"{node.name} still believes in {name}, dead for {world.now - crashed_at:.0f}"


def disagreement(world: World) -> str | None:
    """Return how the views differ from who is really there, or None when they do not."""
    running = world.running()
    truth = {node.name: (node.address, node.machine.table.own.meta) for node in running}
    for node in running:
        rows = [row for row in node.machine.table if row.state == MemberState.ALIVE]
        view = {row.name: (row.address, row.meta) for row in rows}
        if view != truth:
            return f"{node.name} sees {sorted(view)}, there are {sorted(truth)}"
        if node.live_view() != set(truth):
            return f"{node.name} suspects somebody"
    return None
