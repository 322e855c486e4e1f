"""The membership machine: bytes and times go in, bytes and events come out.

It is driven by four kinds of sources: datagrams (`receive`), streams (`serve`,
`exchange_answered`, `exchange_failed`), time (`tick`, when `wakeup_at` says so), and the
application (`join`, `leave`, `update_meta`, `broadcast`). After every call the shell takes what
has collected: `take_datagrams`, `take_exchanges`, `take_events`.

This module wires the parts together and routes; each part decides its own:
`probe` whom to ask and whom to accuse, `relay` how to help others ask, `beliefs` what to think
of an accusation, `courier` what to spread, `sync` whom to exchange tables with.

Time that we did not run does not count: after a stall (an overloaded loop, a stopped process)
the machine's clock goes on from where it stood, so that no timer fires in a bunch and nobody is
buried for our own absence. The health score rises instead.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, assert_never

from caxton_cluster.config import SwimConfig
from caxton_cluster.errors import MalformedPacket, MetadataTooLarge, NotForUs
from caxton_cluster.swim.awareness import Awareness
from caxton_cluster.swim.beliefs import Beliefs
from caxton_cluster.swim.context import Context
from caxton_cluster.swim.courier import Courier
from caxton_cluster.swim.digest import Digests, from_ack
from caxton_cluster.swim.events import Event, LeaveFinished, MemberForgotten, UserMessage
from caxton_cluster.swim.members import MemberTable
from caxton_cluster.swim.outbox import Datagram, Exchange
from caxton_cluster.swim.peerbook import PeerBook
from caxton_cluster.swim.probe import Prober
from caxton_cluster.swim.relay import Relay
from caxton_cluster.swim.statistics import Statistics
from caxton_cluster.swim.sync import Syncer
from caxton_cluster.swim.timers import (
    AckOverdue,
    EarlySyncDue,
    GossipDue,
    HealthDue,
    LeaveOver,
    NackDue,
    ProbeDue,
    RejoinDue,
    RelayOver,
    RoundOver,
    SuspicionOver,
    SyncDue,
    Timer,
)
from caxton_cluster.swim.wire import compound
from caxton_cluster.swim.wire.codec import encode
from caxton_cluster.swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Message,
    Nack,
    Ping,
    PushPull,
    Suspect,
    User,
)
from caxton_cluster.swim.wire.stream import StreamDecoder
from caxton_cluster.swim.wire.wire import Wire
from caxton_cluster.types import (
    META_SIZE_BYTES_MAX,
    Address,
    Member,
    MemberState,
    Randomness,
)

__all__ = ["Machine"]

TIMER_SLACK_S: Final = 0.0011
"""Timers due so soon are due: event loops wake up to a millisecond early, and would spin."""


class Machine:
    """One member.

    Args:
        config: Timings and limits; the same in the whole ring.
        own: Our row: name, address as others reach it, metadata, versions, first incarnation.
            The incarnation must be higher than any of an earlier life: use the clock.
        random: Source of all chance.
        now: The time, in seconds on any steady clock.
        wire: The cluster's label and keys.
        user_state: Gives the application's state for a push/pull (`True` when it is a join).
        is_digest_reader: Whether a member reads the digest that rides on acks.
        names_source: Whether to write our address into each ping. Without it peers answer to
            where a ping came from, which is the same unless we advertise another address than
            we send from.
    """

    def __init__(
        self,
        config: SwimConfig,
        own: Member,
        *,
        random: Randomness,
        now: float,
        wire: Wire,
        user_state: Callable[[bool], bytes] = lambda _: b"",
        is_digest_reader: Callable[[Member], bool] = lambda _: True,
        names_source: bool = False,
    ) -> None:
        _check_meta(own.meta)
        self.config = config
        self.statistics = Statistics()
        self.awareness = Awareness(config.awareness_max)
        self.table = MemberTable(own, random)
        self._context = context = Context(
            config,
            self.table,
            random,
            self.awareness,
            self.statistics,
            names_source=names_source,
        )
        self._random = random
        self._now = now
        self._behind_s = 0.0  # how far our clock is behind the caller's
        self._outbox = context.outbox
        self._timers = context.timers
        self._has_left = False
        self._is_leave_pending = False
        self._packets = wire.packets
        self._streams = wire.streams
        self._courier = Courier(context, wire.packets)
        self.beliefs = Beliefs(context, self._courier)
        self.digests = Digests(own.name, is_digest_reader)
        self._syncer = Syncer(
            context,
            self.beliefs,
            wire.streams,
            lambda is_join: self.digests.sign(user_state(is_join)),
        )
        self._prober = Prober(context, self.beliefs, self._courier, self._syncer.dial_ping)
        self._relay = Relay(context, self._courier)
        self._start_timers()

    def _start_timers(self) -> None:
        now, config, chance = self._now, self.config, self._random.random
        # A random phase each, so that members that start together do not march in step.
        self._timers.set(now + chance() * config.probe_interval_s, ProbeDue())
        self._timers.set(now + chance() * config.push_pull_interval_s, SyncDue())
        self._timers.set(now + chance() * config.rejoin_interval_s, RejoinDue())

    # What the shell asks.

    def wakeup_at(self) -> float | None:
        """Return when `tick` is due next, on the caller's clock, or None."""
        at = self._timers.next_at()
        return None if at is None else at + self._behind_s

    def take_datagrams(self) -> list[Datagram]:
        """Return the datagrams to send and forget them."""
        taken = self._outbox.take_datagrams()
        for datagram in taken:
            self.statistics.datagram_bytes_sent += len(datagram.payload)
        return taken

    def take_exchanges(self) -> list[Exchange]:
        """Return the streams to dial and forget them; each must be answered or failed."""
        taken = self._outbox.take_exchanges()
        for exchange in taken:
            self.statistics.stream_bytes_sent += len(exchange.request)
        return taken

    def take_events(self) -> list[Event]:
        """Return the events to publish and forget them."""
        return self._outbox.take_events()

    def round_trip_s(self, name: str) -> float | None:
        """Return the last direct round trip to `name` in seconds, or None."""
        return self._prober.round_trip_s(name)

    @property
    def has_said_goodbye(self) -> bool:
        """Whether this life is over, or about to be; the next one is another machine's."""
        return self.beliefs.is_leaving or self._is_leave_pending

    def inherit(self, earlier: "Machine") -> None:
        """Take over what an earlier life knew and counted, before anything else happens.

        Its peers are taken to be as they were; the exchange of tables and the probes tell.
        """
        self.statistics.go_on_from(earlier.statistics)
        self.digests = earlier.digests
        self._syncer.book = earlier.book
        for row in earlier.table:
            if row.name == self.table.own_name:
                continue
            if row.state.is_gone:
                self._outbox.publish(MemberForgotten(row.name))
            else:
                self.table.put(replace(row, state=MemberState.ALIVE))

    @property
    def book(self) -> PeerBook:
        """Whom we look for when they are missing."""
        return self._syncer.book

    @property
    def exchanges_refused_count(self) -> int:
        """Streams not dialled because too many were under way."""
        return self._syncer.refused_count

    @property
    def rumour_count(self) -> int:
        """Rumours waiting to be sent."""
        return len(self._courier.queue)

    @property
    def timer_count(self) -> int:
        """Timers set, the void ones included."""
        return len(self._timers)

    # Time.

    def tick(self, now: float) -> None:
        """Do everything that is due."""
        now = self._advance(now)
        while (due := self._timers.pop_due(now + TIMER_SLACK_S)) is not None:
            at, timer = due
            self._fire(timer, max(now, at))

    def _advance(self, now: float) -> float:
        """Move our clock to `now`, leaving out the time that we did not run."""
        local = now - self._behind_s
        if local < self._now:
            # The clock went back: ours stands still for this call and goes on from here.
            self._behind_s = now - self._now
            local = self._now
        due_at = self._timers.next_at()
        if due_at is not None and local - due_at > self.config.lag_limit_s:
            lag_s = local - max(due_at, self._now)
            if lag_s > self.config.lag_limit_s:
                self._behind_s += lag_s
                local -= lag_s
                self.statistics.lags += 1
                self.awareness.apply(1)
        self._now = local
        return local

    def _fire(self, timer: Timer, now: float) -> None:  # noqa: C901 - one arm a timer
        match timer:
            case ProbeDue() | SyncDue() | EarlySyncDue() | RejoinDue() | SuspicionOver() if (
                self.beliefs.is_leaving
            ):
                pass  # who leaves starts nothing new, and no longer hears those who object
            case ProbeDue():
                self._prober.begin(now)
            case AckOverdue(sequence):
                self._prober.ack_overdue(sequence, now)
            case RoundOver(sequence):
                self._prober.round_over(sequence, now)
            case HealthDue(sequence):
                self._prober.health_due(sequence)
            case NackDue(sequence):
                self._relay.nack_due(sequence)
            case RelayOver(sequence):
                self._relay.relay_over(sequence)
            case SuspicionOver():
                self.beliefs.suspicion_over(timer, now)
            case GossipDue():
                self._courier.gossip(now)
                self._go_on_leaving(now)
            case SyncDue():
                self._syncer.sync_due(now)
            case EarlySyncDue():
                self._syncer.early_sync_due()
            case RejoinDue():
                self._syncer.rejoin_due(now)
            case LeaveOver():
                self._leave_over(now)
            case _:
                assert_never(timer)

    # Datagrams.

    def receive(self, data: bytes, sender: Address, now: float) -> None:
        """Take in a datagram. Whatever it holds, nothing is raised: it is counted."""
        now = self._advance(now)
        self.statistics.datagrams_received += 1
        self.statistics.datagram_bytes_received += len(data)
        try:
            decoded = self._packets.decode(data)
        except NotForUs:
            self.statistics.not_for_us += 1
            return
        except MalformedPacket:
            self.statistics.malformed += 1
            return
        self.statistics.malformed += decoded.malformed_count
        for message in decoded.messages:
            self._hear(message, sender, now)

    def _hear(self, message: Message, sender: Address, now: float) -> None:
        match message:
            case Ping():
                self._answer(message, sender)
            case IndirectPing():
                self._relay.hear_request(message, sender, now)
            case Ack():
                self._hear_ack(message, now)
            case Nack(sequence):
                self._prober.hear_nack(sequence, sender, now)
            case Alive():
                self.beliefs.hear_alive(message, now)
            case Suspect():
                self.beliefs.hear_suspect(message, now, sender)
            case Dead():
                self.beliefs.hear_dead(message, now)
            case User(payload):
                self._outbox.publish(UserMessage(payload))
            case PushPull() | ErrorReply():
                self.statistics.malformed += 1
            case _:
                assert_never(message)

    def _hear_ack(self, ack: Ack, now: float) -> None:
        target = self._prober.hear_ack(ack.sequence, now)
        if target is None:
            self._relay.hear_ack(ack.sequence)
        elif (heard := from_ack(target, ack.payload)) is not None:
            self._outbox.publish(heard)

    def _answer(self, ping: Ping, sender: Address) -> None:
        own = self.table.own
        if ping.node and ping.node != own.name:
            return  # meant for somebody who was here before us
        target = ping.source or sender
        asker = self.table.get(ping.source_node)
        ack = Ack(ping.sequence, self.digests.ack_payload(asker))
        if self.beliefs.is_leaving:
            # Who still asks for us missed the goodbye, or heard our name as we left.
            self._courier.send(target, ack, self.beliefs.goodbye())
            return
        charge = self.beliefs.accusation(ping.source_node, target)
        if charge is None:
            self._courier.send(target, ack)
        else:
            self._courier.send(target, ack, charge)
        if ping.source_node:
            self._syncer.meet(ping.source_node, target, self._now)

    # Streams that others dial.

    def request_decoder(self) -> StreamDecoder:
        """Return a decoder for what a peer that dialled us sends."""
        return self._streams.request_decoder()

    def serve(self, request: Message, now: float) -> bytes | None:
        """Take in a request and return the bytes of the reply, or None when there is none."""
        now = self._advance(now)
        match request:
            case Ping(sequence, node):
                is_for_us = node in {"", self.table.own_name}
                return self._streams.encode_reply(Ack(sequence)) if is_for_us else None
            case PushPull():
                # Our table goes out as it was before the request: the joiner knows itself.
                reply = self._streams.encode_reply(self._syncer.answer_to(request))
                self.statistics.stream_bytes_sent += len(reply)
                self._syncer.merge(request, now, is_join=False)
                return reply
            case User(payload):
                self._outbox.publish(UserMessage(payload))
                return None
            case _:
                self.statistics.malformed += 1
                return None

    def refuse(self, error: MalformedPacket) -> bytes:
        """Count a request that could not be read, and return what to reply."""
        self._count(error)
        return self._streams.encode_reply(ErrorReply(str(error)))

    # Streams that we dial.

    def reply_decoder(self) -> StreamDecoder:
        """Return a decoder for the reply on a stream that we dialled."""
        return self._streams.reply_decoder()

    def exchange_answered(self, exchange_id: int, reply: Message | None, now: float) -> None:
        """Take in the reply to an exchange; None for one that wants none."""
        purpose = self._syncer.finish(exchange_id)
        now = self._advance(now)
        if purpose.ping_sequence is not None:
            if isinstance(reply, Ack) and reply.sequence == purpose.ping_sequence:
                self._prober.hear_ack(purpose.ping_sequence, now)
            else:
                self._prober.stream_failed(purpose.ping_sequence, now, is_refused=False)
        else:
            self._syncer.table_answered(purpose, reply, now)

    def exchange_failed(
        self, exchange_id: int, reason: str, now: float, *, is_refused: bool = False
    ) -> None:
        """Take in that an exchange failed; `is_refused` if the host said nobody listens."""
        purpose = self._syncer.finish(exchange_id)
        now = self._advance(now)
        if purpose.ping_sequence is not None:
            self._prober.stream_failed(purpose.ping_sequence, now, is_refused=is_refused)
        else:
            self._syncer.table_failed(purpose, reason)

    def exchange_malformed(self, exchange_id: int, error: MalformedPacket, now: float) -> None:
        """Take in that the reply to an exchange made no sense."""
        self._count(error)
        self.exchange_failed(exchange_id, str(error), now)

    def _count(self, error: MalformedPacket) -> None:
        if isinstance(error, NotForUs):
            self.statistics.not_for_us += 1
        else:
            self.statistics.malformed += 1

    # What the application asks.

    def join(self, seeds: Iterable[Address], now: float) -> None:
        """Exchange tables with each of `seeds`; each ends as `SeedAnswered` or `SeedSilent`."""
        self._advance(now)
        self._syncer.join(seeds)

    def leave(self, now: float) -> None:
        """Say goodbye; `LeaveFinished` follows. Keep serving until then.

        Application messages that still wait to be spread go out before the goodbye.
        """
        now = self._advance(now)
        if self.beliefs.is_leaving or self._is_leave_pending:
            return
        self._is_leave_pending = True
        self._timers.set(now + self.config.leave_timeout_s / 2, LeaveOver())
        if self._courier.queue.user_count:
            self._courier.gossip(now)
        self._go_on_leaving(now)

    def update_meta(self, meta: bytes, now: float) -> None:
        """Change our metadata everywhere.

        Raises:
            MetadataTooLarge: It has more than 512 bytes.
        """
        _check_meta(meta)
        self.beliefs.update_meta(meta, self._advance(now))

    def broadcast(self, payload: bytes, now: float) -> None:
        """Spread an application message as a rumour: to most members, without a promise.

        Raises:
            MetadataTooLarge: It does not fit a datagram.
        """
        self._check_user(payload)
        self._courier.spread_user(User(payload), self._advance(now))

    def send_user(self, payload: bytes, target: Address, now: float) -> None:
        """Send an application message to one address, without a promise.

        Raises:
            MetadataTooLarge: It does not fit a datagram.
        """
        self._check_user(payload)
        self._advance(now)
        self._courier.send_parts(target, [encode(User(payload))])

    def _check_user(self, payload: bytes) -> None:
        overhead = compound.HEADER_SIZE_BYTES + compound.PART_OVERHEAD_SIZE_BYTES + 1
        limit = self._courier.room_bytes - overhead
        if len(payload) > limit:
            raise MetadataTooLarge("a user message", len(payload), limit)

    # Leaving.

    def _go_on_leaving(self, now: float) -> None:
        is_alone = not self.table.has_peers
        if self._is_leave_pending and (is_alone or not self._courier.queue.user_count):
            self._say_goodbye(now)
        is_told = self.table.own_name not in self._courier.queue
        if self.beliefs.is_leaving and (is_told or is_alone):
            self._finish_leave(is_announced=is_told)

    def _say_goodbye(self, now: float) -> None:
        self._is_leave_pending = False
        self.beliefs.leave(now)
        # At once and to several, not at the next gossip interval: it may be our last.
        self._courier.gossip(now)
        self._timers.set(now + self.config.leave_timeout_s / 2, LeaveOver())

    def _leave_over(self, now: float) -> None:
        if self._is_leave_pending:
            self._say_goodbye(now)
        elif self.beliefs.is_leaving and now >= self.table.own.changed_at + 0.4 * (
            self.config.leave_timeout_s
        ):
            self._finish_leave(is_announced=False)

    def _finish_leave(self, *, is_announced: bool) -> None:
        if not self._has_left:
            self._has_left = True
            self._outbox.publish(LeaveFinished(is_announced))


def _check_meta(meta: bytes) -> None:
    if len(meta) > META_SIZE_BYTES_MAX:
        raise MetadataTooLarge("metadata", len(meta), META_SIZE_BYTES_MAX)
