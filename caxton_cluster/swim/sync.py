"""Whole tables by stream: joining, anti-entropy, and finding back those who are missing.

Rumours may miss somebody; an exchange of tables with one member every half minute repairs that.
After a join two extra ones follow within seconds, so that no newcomer waits for the regular one.
And every few seconds somebody in the ring tries an address that should be a member and is not,
for ever, so that partitions of any length heal.

Reference: Das et al., "SWIM"; HashiCorp memberlist, state.go, pushPull; serf's reconnect.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from math import ceil, log2
from typing import Final

from caxton_cluster.swim.beliefs import Beliefs
from caxton_cluster.swim.context import Context
from caxton_cluster.swim.digest import split_state
from caxton_cluster.swim.events import SeedAnswered, SeedSilent, UserState
from caxton_cluster.swim.outbox import Exchange
from caxton_cluster.swim.peerbook import PeerBook
from caxton_cluster.swim.timers import EarlySyncDue, RejoinDue, SyncDue
from caxton_cluster.swim.wire.messages import ErrorReply, Message, Ping, PushPull, Record
from caxton_cluster.swim.wire.stream import StreamCodec
from caxton_cluster.types import Address, Member, MemberState

__all__ = ["Purpose", "Syncer"]

EXCHANGES_MAX: Final = 64
"""Most streams of ours under way at once; more are not dialled and counted."""

_EARLY_SYNCS_AFTER_JOIN: Final = 2
_EARLY_SYNC_GOSSIP_INTERVALS: Final = 2.5
_SYNC_SCALE_FROM: Final = 32


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why a stream was dialled."""

    target: Address
    is_join: bool = False
    ping_sequence: int | None = None


class Syncer:
    """The streams that we dial, and the tables that pass through them."""

    def __init__(
        self,
        context: Context,
        beliefs: Beliefs,
        streams: StreamCodec,
        user_state: Callable[[bool], bytes],
    ) -> None:
        self._config = context.config
        self._table = context.table
        self._timers = context.timers
        self._outbox = context.outbox
        self._random = context.random
        self._beliefs = beliefs
        self._streams = streams
        self._user_state = user_state
        self._ids = count(1)
        self._under_way: dict[int, Purpose] = {}
        self._early_syncs_due = 0
        self._stranger_met_at = float("-inf")
        self.book = PeerBook()
        self.refused_count = 0
        """Streams not dialled because too many were under way."""

    # Dialling.

    def dial_ping(self, target: Member, ping: Ping, timeout_s: float) -> None:
        """Have `target` pinged by stream."""
        request = self._streams.encode_request(ping)
        self._dial(Purpose(target.address, ping_sequence=ping.sequence), request, timeout_s)

    def dial_table(self, target: Address, *, is_join: bool = False, squeezes: bool = False) -> bool:
        """Exchange tables with `target`; return whether there was room for one more stream."""
        table = self.own_table(is_join=is_join)
        if squeezes:
            # In one order for all: in a quiet ring everybody's table then is the same bytes, which
            # need no squeezing and unfolding anew.
            table = replace(table, records=tuple(sorted(table.records, key=_name)))
        request = self._streams.encode_request(table, squeezes=squeezes)
        purpose = Purpose(target, is_join=is_join)
        return self._dial(purpose, request, self._config.stream_timeout_s)

    def _dial(self, purpose: Purpose, request: bytes, timeout_s: float) -> bool:
        if len(self._under_way) >= EXCHANGES_MAX:
            self.refused_count += 1
            return False
        exchange_id = next(self._ids)
        self._under_way[exchange_id] = purpose
        self._outbox.dial(Exchange(exchange_id, purpose.target, request, timeout_s))
        return True

    def finish(self, exchange_id: int) -> Purpose:
        """Return what a stream that ended was for; each ends once."""
        return self._under_way.pop(exchange_id)

    def join(self, seeds: Iterable[Address]) -> None:
        """Exchange tables with each of `seeds`."""
        for address in seeds:
            if not self.dial_table(address, is_join=True):
                self._outbox.publish(SeedSilent(address, "too many exchanges are under way"))

    # What comes back.

    def table_answered(self, purpose: Purpose, reply: Message | None, now: float) -> None:
        """Take in the reply to a table that we sent."""
        if not isinstance(reply, PushPull):
            reason = reply.text if isinstance(reply, ErrorReply) else "an answer out of place"
            self.table_failed(purpose, reason)
            return
        has_news = self.merge(reply, now, is_join=purpose.is_join)
        if purpose.is_join:
            self._outbox.publish(SeedAnswered(purpose.target))
            # Those whom the seed told us of hear of us from ourselves too.
            self._beliefs.announce(now)
            self._plan_early_syncs(now, _EARLY_SYNCS_AFTER_JOIN)
        elif has_news:
            self._plan_early_syncs(now, 1)

    def table_failed(self, purpose: Purpose, reason: str) -> None:
        """Take in that a table that we sent was not answered."""
        if purpose.is_join:
            self._outbox.publish(SeedSilent(purpose.target, reason))

    def own_table(self, *, is_join: bool = False) -> PushPull:
        """Return our table as it goes on the wire."""
        return PushPull(tuple(map(_record, self._table)), is_join, self._user_state(is_join))

    def answer_to(self, theirs: PushPull) -> PushPull:
        """Return our table without the rows that a peer has just shown to hold as we do.

        In a quiet ring that is nearly all of them. Whoever is not simply alive is always told of.
        """
        shown = {record.node: record for record in theirs.records}
        news = (
            record
            for record in map(_record, self._table)
            if record.state != MemberState.ALIVE or record != shown.get(record.node)
        )
        return PushPull(tuple(news), False, self._user_state(False))

    def merge(self, theirs: PushPull, now: float, *, is_join: bool) -> bool:
        """Take in a peer's table; return whether it held news of anyone being up."""
        has_news = self._beliefs.hear_table(theirs.records, now)
        state, heard = split_state(theirs.user_state)
        if state:
            self._outbox.publish(UserState(state, is_join))
        if heard is not None and heard.name in self._table and heard.name != self._table.own_name:
            self._outbox.publish(heard)
        return has_news

    # By the clock.

    def sync_due(self, now: float) -> None:
        """Exchange tables with somebody, and plan the next time."""
        member_count = self._table.live_count
        # The larger the ring, the more exchanges there are; the reference's scale keeps them in
        # proportion.
        scale = ceil(log2(member_count) - 5) + 1 if member_count > _SYNC_SCALE_FROM else 1
        self._timers.set(now + scale * self._config.push_pull_interval_s, SyncDue())
        self.remember_peers()
        # Once in half a minute there is time to be brief. Joins and their sequels come in crowds.
        self._sync_with_somebody(squeezes=True)

    def early_sync_due(self) -> None:
        """Exchange tables with somebody, once more after a join."""
        self._early_syncs_due -= 1
        self._sync_with_somebody()

    def _sync_with_somebody(self, *, squeezes: bool = False) -> None:
        own_name = self._table.own_name
        alive = [
            member
            for member in self._table
            if member.state == MemberState.ALIVE and member.name != own_name
        ]
        if alive:
            chosen = alive[self._random.randrange(len(alive))]
            self.dial_table(chosen.address, squeezes=squeezes)

    def _plan_early_syncs(self, now: float, wanted: int) -> None:
        unit_s = _EARLY_SYNC_GOSSIP_INTERVALS * self._config.gossip_interval_s
        for number in range(self._early_syncs_due, wanted):
            self._early_syncs_due += 1
            wait_s = unit_s * (number + 1) * (1 + self._random.random())
            self._timers.set(now + wait_s, EarlySyncDue())

    def rejoin_due(self, now: float) -> None:
        """Try an address that should be a member and is not, if it is our turn."""
        self._timers.set(now + self._config.rejoin_interval_s, RejoinDue())
        self.remember_peers()
        present = frozenset(
            row.address
            for row in self._table
            if not row.state.is_gone or row.name == self._table.own_name
        )
        missing = self.book.choose_missing(present, self._table.live_count, self._random)
        if missing is not None:
            self.dial_table(missing)

    def remember_peers(self) -> None:
        """Write everyone into the book but those who said goodbye."""
        for row in self._table:
            if row.state == MemberState.LEFT:
                self.book.forget(row.name)
            elif row.name != self._table.own_name:
                self.book.remember(row.name, row.address)

    def meet(self, name: str, address: Address, now: float) -> None:
        """Get to know somebody who knows us, and whom we do not know, or not there."""
        known = self._table.get(name)
        is_stranger = known is None or (known.state.is_gone and known.address != address)
        if is_stranger and now - self._stranger_met_at >= self._config.probe_interval_s:
            self._stranger_met_at = now
            self.dial_table(address)


def _name(record: Record) -> str:
    return record.node


def _record(row: Member) -> Record:
    return Record(row.name, row.address, row.incarnation, row.state, row.meta, row.versions)
