"""Probing: one member an interval, first directly, then through helpers and by TCP.

A round opens with a ping. If no ack comes in the probe timeout, a few helpers are asked to ping
for us and the member is dialled by TCP, in case only datagrams are lost. Whoever answers, the
member is well. If nobody does until the round ends, it is suspected.

Helpers that heard nothing say so (*nack*): then the target is silent. If not even nacks come,
it is rather we who cannot hear, and our health score rises. The nack is sent before the round
ends, and the score is settled a little after it, so that a slow nack is no mark against us.

Beyond the reference: a round ends as soon as the evidence is in, and what it consists of decides
how long the accused may object: a refused TCP connection is told apart from silence, and silence
to which every helper is a witness from silence that may be our own deafness. Every other round
asks our neighbour in the circle, so that nobody goes unasked for longer than two rounds.

Reference: Das et al., "SWIM", section 3.1; Dadgar et al., "Lifeguard", section IV-A.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from caxton_cluster.swim.beliefs import Beliefs
from caxton_cluster.swim.context import Context
from caxton_cluster.swim.courier import Courier
from caxton_cluster.swim.suspicion import timeout_scale
from caxton_cluster.swim.timers import AckOverdue, HealthDue, ProbeDue, RoundOver
from caxton_cluster.swim.wire.messages import IndirectPing, Ping, Suspect
from caxton_cluster.types import Address, Member, MemberState

__all__ = ["Prober"]

_NACK_PROTOCOL: Final = 4
_STREAM_PING_PROTOCOL: Final = 3

REFUSED_PATIENCE: Final = 0.5
"""Share of a small ring's shortest suspicion that is left to whose host refused a connection.

In a large ring suspicions last longer, so that the rumour can reach the accused. This one has no
process that it could reach."""

REFUSED_GRACE: Final = 0.2
"""Share of the probe timeout in which helpers may still contradict a refused connection.

A host may refuse streams and let datagrams pass, of which one was lost."""

ROUNDS_MAX: Final = 16
"""Most rounds remembered at once: the running one and those waiting for late nacks."""

DialPing = Callable[[Member, Ping, float], None]
"""Have a member pinged by TCP within so many seconds."""


@dataclass(slots=True)
class _Round:
    sequence: int
    target: Member
    started_at: float
    ends_at: float
    timer: int = -1
    """The one that brings the round on: first for the ack, then for the end."""
    helper_count: int = 0
    nackers_asked: int = 0
    nackers: dict[Address, None] = field(default_factory=dict)
    is_refused: bool = False
    is_over: bool = False

    @property
    def is_witnessed(self) -> bool:
        """Whether every helper heard nothing either, and there are helpers."""
        return 0 < self.helper_count <= len(self.nackers)

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing that could still arrive would help the target.

        The nacks took most of a probe timeout, in which a stream would have been answered.
        """
        return self.is_witnessed or (self.is_refused and not self.helper_count)


class Prober:
    """Runs the rounds and accuses those that do not answer."""

    def __init__(
        self, context: Context, beliefs: Beliefs, courier: Courier, dial_ping: DialPing
    ) -> None:
        self._config = context.config
        self._table = context.table
        self._timers = context.timers
        self._awareness = context.awareness
        self._random = context.random
        self._context = context
        self._statistics = context.statistics
        self._beliefs = beliefs
        self._courier = courier
        self._dial_ping = dial_ping
        self._rounds: dict[int, _Round] = {}
        self._current: _Round | None = None
        self._asks_neighbour = False
        self._round_trips_s: dict[str, float] = {}

    def round_trip_s(self, name: str) -> float | None:
        """Return the last direct round trip to `name` in seconds, or None."""
        return self._round_trips_s.get(name)

    def begin(self, now: float) -> None:
        """Start the next round, or wait for the running one if we gave it more time."""
        if self._current is not None:
            self._timers.set(self._current.ends_at, ProbeDue())
            return
        for name in self._beliefs.reap(now):
            self._round_trips_s.pop(name, None)
        self._timers.set(now + self._config.probe_interval_s, ProbeDue())
        target = self._choose()
        if target is None:
            return
        sequence = self._context.next_sequence()
        ends_at = now + self._awareness.scale(self._config.probe_interval_s)
        round_ = self._current = self._rounds[sequence] = _Round(sequence, target, now, ends_at)
        ping = self._context.ping(sequence, target.name)
        if target.state == MemberState.ALIVE:
            self._courier.send(target.address, ping)
        else:
            # The accused learns of the charge with the question (Lifeguard's buddy system).
            charge = Suspect(target.incarnation, target.name, self._table.own_name)
            self._courier.send(target.address, ping, charge)
        overdue_at = now + self._config.probe_timeout_s
        round_.timer = self._timers.set(overdue_at, AckOverdue(sequence))

    def _choose(self) -> Member | None:
        while self._beliefs.disputed:
            name = self._beliefs.disputed.popleft()
            if self._is_probed(name):
                return self._table[name]
        neighbour = self._table.circle.after(self._table.own_name)
        self._asks_neighbour = not self._asks_neighbour
        if self._asks_neighbour and neighbour is not None:
            return self._table[neighbour]
        names = self._table.probe_order.take(
            1, lambda name: name != neighbour and self._is_probed(name)
        )
        chosen = names[0] if names else neighbour
        return None if chosen is None else self._table[chosen]

    def _is_probed(self, name: str) -> bool:
        member = self._table.get(name)
        return member is not None and name != self._table.own_name and not member.state.is_gone

    def ack_overdue(self, sequence: int, now: float) -> None:
        """Ask helpers, and dial the target."""
        round_ = self._rounds.get(sequence)
        if round_ is None or round_.is_over:
            return
        round_.timer = self._timers.set(round_.ends_at, RoundOver(sequence))
        own, target = self._table.own, round_.target
        candidates = [
            member
            for member in self._table
            if member.state == MemberState.ALIVE and member.name not in {own.name, target.name}
        ]
        count = min(self._config.indirect_probe_count, len(candidates))
        for helper in self._random.sample(candidates, count):
            can_nack = helper.versions.protocol_max >= _NACK_PROTOCOL
            round_.helper_count += 1
            round_.nackers_asked += can_nack
            request = IndirectPing(
                sequence, target.address, target.name, can_nack, own.address, own.name
            )
            self._courier.send(helper.address, request)
        if target.versions.protocol_max >= _STREAM_PING_PROTOCOL:
            remaining_s = max(round_.ends_at - now, self._config.probe_timeout_s / 2)
            self._dial_ping(target, Ping(sequence, target.name, own.address, own.name), remaining_s)

    def hear_ack(self, sequence: int, now: float) -> str | None:
        """Take in an ack, direct or relayed; return whom we asked, None if it was not we."""
        round_ = self._rounds.get(sequence)
        if round_ is None:
            return None
        if not round_.is_over:
            self._statistics.probes_answered += 1
            if not round_.helper_count:
                round_trip_s = now - round_.started_at
                self._round_trips_s[round_.target.name] = round_trip_s
                self._statistics.observe_round_trip(round_trip_s)
            self._awareness.apply(-1)
            self._finish(round_)
            del self._rounds[sequence]
        return round_.target.name

    def hear_nack(self, sequence: int, helper: Address, now: float) -> None:
        """Take in that a helper got no answer either; the network may say it twice."""
        round_ = self._rounds.get(sequence)
        if round_ is not None and len(round_.nackers) < round_.nackers_asked:
            round_.nackers[helper] = None
            self._conclude_if_hopeless(round_, now)

    def stream_failed(self, sequence: int, now: float, *, is_refused: bool) -> None:
        """Take in that the TCP ping failed; `is_refused` if the host said nobody listens."""
        round_ = self._rounds.get(sequence)
        if round_ is None:
            return
        round_.is_refused = is_refused
        if is_refused and not round_.is_over:
            self._end_soon(round_, now)
        self._conclude_if_hopeless(round_, now)

    def _end_soon(self, round_: _Round, now: float) -> None:
        end_at = now + REFUSED_GRACE * self._config.probe_timeout_s
        if end_at < round_.ends_at:
            self._timers.cancel(round_.timer)
            round_.ends_at = end_at
            round_.timer = self._timers.set(end_at, RoundOver(round_.sequence))

    def _conclude_if_hopeless(self, round_: _Round, now: float) -> None:
        if not round_.is_over and round_.is_hopeless:
            self.round_over(round_.sequence, now)

    def round_over(self, sequence: int, now: float) -> None:
        """Accuse the target of an unanswered round."""
        round_ = self._rounds.get(sequence)
        if round_ is None or round_.is_over:
            return
        self._finish(round_)
        grace_s = (1 - self._config.nack_fraction) * self._config.probe_timeout_s
        self._timers.set(now + grace_s, HealthDue(sequence))
        while len(self._rounds) > ROUNDS_MAX:
            del self._rounds[next(iter(self._rounds))]
        target = self._table.get(round_.target.name)
        if target is None or target.state.is_gone or target.address != round_.target.address:
            return
        self._statistics.probes_failed += 1
        charge = Suspect(target.incarnation, target.name, self._table.own_name)
        self._beliefs.accuse(charge, now, patience=self._patience(round_))

    def _patience(self, round_: _Round) -> float:
        if round_.is_refused:
            return REFUSED_PATIENCE / timeout_scale(self._table.live_count)
        if round_.is_witnessed and not self._awareness.score:
            return self._config.witnessed_patience
        return 1.0

    def _finish(self, round_: _Round) -> None:
        round_.is_over = True
        self._timers.cancel(round_.timer)
        if self._current is round_:
            self._current = None

    def health_due(self, sequence: int) -> None:
        """Draw the conclusion for our own health, late nacks included."""
        round_ = self._rounds.pop(sequence, None)
        if round_ is None or round_.is_refused:
            return  # a refusal came over the network, and before the nacks: we hear well
        if round_.nackers_asked:
            self._awareness.apply(round_.nackers_asked - len(round_.nackers))
        else:
            # Nobody could vouch for our hearing.
            self._awareness.apply(1)
