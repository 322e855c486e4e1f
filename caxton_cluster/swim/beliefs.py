"""What we believe of each member, and what follows when somebody says otherwise.

Takes statements (alive, suspect, dead, whole tables), decides with `precedence`, changes the
table, spreads what was news, publishes events, and stands up for ourselves when accused. Only
what changed something is spread further, so that no rumour circles for ever.

Beyond the reference: rows of incompatible versions are refused one by one (one such row stops
anti-entropy in a whole ring of the reference); a member that says stale things of itself is told
directly what is said of it; a name restarted elsewhere is let in as soon as its old life is gone,
and a disputed old life is probed at once. The accused are probed by some out of turn, so that a
suspicion is soon confirmed or refuted. And gossip may miss a member: whoever knows of a suspicion
by hearsay alone asks the accused before the verdict, who answers old news about itself directly.

Reference: Das et al., "SWIM", sections 3.2 and 4.2; HashiCorp memberlist, state.go.
"""

from collections import deque
from dataclasses import replace
from typing import Final

from caxton_cluster.swim.context import Context
from caxton_cluster.swim.courier import Courier
from caxton_cluster.swim.events import (
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    RecordRefused,
)
from caxton_cluster.swim.precedence import AliveVerdict, accusation_wins, judge_alive
from caxton_cluster.swim.suspicion import Suspicion, confirmations_wanted, timeout_bounds_s
from caxton_cluster.swim.throttle import Throttle
from caxton_cluster.swim.timers import SuspicionOver
from caxton_cluster.swim.wire.messages import Alive, Dead, Record, Suspect
from caxton_cluster.types import INCARNATION_MAX, Address, Member, MemberState

__all__ = ["Beliefs"]

DISPUTED_MAX: Final = 64
"""Most members waiting for an early probe: they are accused, or their place is disputed."""

OPINIONS_MEAN: Final = 6.0
"""How many members probe an accused one out of turn, on average; in a small ring all do.

The suspicion needs independent confirmations to be short, and the accused hears of it with each
probe. Everyone at once would be a storm in a large ring."""

HEARINGS_MAX: Final = 3
"""How often the accused is asked before the verdict by who knows by hearsay alone."""


class Beliefs:
    """The rules by which the member table changes."""

    def __init__(self, context: Context, courier: Courier) -> None:
        self._config = context.config
        self._table = context.table
        self._timers = context.timers
        self._outbox = context.outbox
        self._awareness = context.awareness
        self._courier = courier
        self._random = context.random
        self._statistics = context.statistics
        self._suspicions: dict[str, Suspicion] = {}
        self._corrections = Throttle(context.config.probe_interval_s)
        self._objections = Throttle(context.config.probe_interval_s)
        self._conflicts = Throttle(context.config.rejoin_interval_s)
        self._refusals = Throttle(context.config.rejoin_interval_s)
        self.disputed: deque[str] = deque(maxlen=DISPUTED_MAX)
        """Members to probe before their turn."""
        self.is_leaving = False

    # Statements, one method each. They are idempotent and commute (see `precedence`).

    def hear_alive(self, claim: Alive, now: float) -> None:
        """Take in "`claim.node` is up"."""
        if claim.node == self._table.own_name:
            self._hear_alive_about_us(claim, now)
            return
        known = self._table.get(claim.node)
        if known is not None and _is_repeated(claim, known):
            return
        reason = self._refusal(claim)
        if reason is not None:
            if self._refusals.allows(claim.node, now):
                self._outbox.publish(RecordRefused(claim.node, reason))
            return
        match judge_alive(known, claim, now=now, reclaim_after_s=self._config.reclaim_after_s):
            case AliveVerdict.STALE:
                assert known is not None, "only the known can be stale"
                self._correct(known, claim.address, now)
            case AliveVerdict.CONFLICT:
                assert known is not None, "only the known can be disputed"
                self._report_conflict(known, claim.address, now)
                self._dispute(known.name)
            case AliveVerdict.NEWCOMER | AliveVerdict.NEWER | AliveVerdict.MOVED:
                self._accept(known, claim, now)

    def accuse(self, claim: Suspect, now: float, *, patience: float) -> None:
        """Say that a member did not answer us; `patience` as in `hear_suspect`."""
        self.hear_suspect(claim, now, patience=patience)
        suspicion = self._suspicions.get(claim.node)
        if suspicion is not None:
            suspicion.is_firsthand = True

    def hear_suspect(
        self, claim: Suspect, now: float, sender: Address | None = None, *, patience: float = 1.0
    ) -> None:
        """Take in "`claim.accuser` got no answer from `claim.node`".

        `sender` is whom a datagram with it came from; `patience` is the share of the shortest
        wait that evidence of our own leaves.
        """
        known = self._table.get(claim.node)
        if known is None:
            return
        if claim.incarnation < known.incarnation:
            if claim.node == self._table.own_name and sender is not None:
                self._object_to(sender, now)
            return
        if claim.node == self._table.own_name:
            self._refute(claim.incarnation, now)
            return
        if known.state.is_gone:
            # The accuser missed the verdict; tell it instead of letting it wait.
            if sender is not None:
                self._correct(known, sender, now)
            return
        if accusation_wins(known, MemberState.SUSPECT, claim.incarnation):
            self._suspect(known, claim, now)
        elif not self._suspicions[claim.node].confirm(claim.accuser):
            if patience >= 1.0:
                return
        else:
            self._courier.spread(claim.node, claim, now)
        suspicion = self._suspicions[claim.node]
        suspicion.patience = min(suspicion.patience, patience)
        self._timers.set(
            max(now, suspicion.ends_at), SuspicionOver(claim.node, suspicion.incarnation)
        )

    def hear_dead(self, claim: Dead, now: float) -> None:
        """Take in "`claim.node` is gone"; of its own will if it says so itself."""
        known = self._table.get(claim.node)
        if known is None or claim.incarnation < known.incarnation:
            return
        if claim.node == self._table.own_name:
            if not self.is_leaving:
                self._refute(claim.incarnation, now)
            return
        state = MemberState.LEFT if claim.node == claim.accuser else MemberState.DEAD
        if accusation_wins(known, state, claim.incarnation):
            self._bury(known, claim, state, now)

    def hear_table(self, records: tuple[Record, ...], now: float) -> bool:
        """Take in a peer's whole table; return whether it held news of anyone being up.

        Its dead are only suspected here: the news is second-hand, and they may be alive to us.
        """
        before = self._table.live_count
        own_name = self._table.own_name
        for record in records:
            node, incarnation = record.node, record.incarnation
            match record.state:
                case MemberState.ALIVE:
                    address, meta = record.address, record.meta
                    claim = Alive(incarnation, node, address, meta, record.versions)
                    self.hear_alive(claim, now)
                case MemberState.SUSPECT | MemberState.DEAD:
                    self.hear_suspect(Suspect(incarnation, node, own_name), now)
                case MemberState.LEFT:
                    self.hear_dead(Dead(incarnation, node, node), now)
        return self._table.live_count > before

    # What we do of our own accord.

    def announce(self, now: float) -> None:
        """Spread our own row as it is, unless we left."""
        if not self.is_leaving:
            self._courier.spread(self._table.own_name, self._own_alive(), now)

    def update_meta(self, meta: bytes, now: float) -> None:
        """Change our metadata and let everyone know."""
        own = self._table.own
        self._table.put(replace(own, meta=meta, incarnation=self._higher_than(own.incarnation)))
        self.announce(now)

    def leave(self, now: float) -> None:
        """Say goodbye; from here on nothing that is said of us is contradicted."""
        own = self._table.own
        self.is_leaving = True
        self._table.put(replace(own, state=MemberState.LEFT, changed_at=now))
        self._courier.spread(own.name, self.goodbye(), now)

    def goodbye(self) -> Dead:
        """Return what tells that we left of our own will."""
        own = self._table.own
        return Dead(own.incarnation, own.name, own.name)

    def suspicion_over(self, timer: SuspicionOver, now: float) -> None:
        """Declare the accused dead if its time is really up."""
        suspicion = self._suspicions.get(timer.name)
        if suspicion is None or suspicion.incarnation != timer.incarnation:
            return
        if suspicion.ends_at > now:
            return
        own_name = self._table.own_name
        if suspicion.is_firsthand or suspicion.hearing_count == HEARINGS_MAX:
            self.hear_dead(Dead(timer.incarnation, timer.name, own_name), now)
            return
        suspicion.hear_out(now + self._config.probe_timeout_s)
        self._timers.set(suspicion.ends_at, timer)
        address = self._table[timer.name].address
        self._courier.send(address, Suspect(timer.incarnation, timer.name, own_name))

    def accusation(self, name: str, address: Address) -> Suspect | Dead | None:
        """Return what `name` at `address` ought to know is said of it, or None."""
        known = self._table.get(name)
        if known is None or name == self._table.own_name or known.address != address:
            return None
        match known.state:
            case MemberState.ALIVE:
                return None
            case MemberState.SUSPECT:
                return Suspect(known.incarnation, name, self._table.own_name)
            case MemberState.DEAD | MemberState.LEFT:
                return Dead(known.incarnation, name, self._table.own_name)

    def reap(self, now: float) -> list[str]:
        """Forget those that have been gone for long, and return their names."""
        if not self._table.gone_count:
            return []
        horizon = now - self._config.gossip_to_dead_s
        gone = [
            member.name
            for member in self._table
            if member.state.is_gone
            and member.changed_at < horizon
            and member.name != self._table.own_name
        ]
        for name in gone:
            self._table.remove(name)
            self._courier.queue.forget(name)
            self._outbox.publish(MemberForgotten(name))
        return gone

    @property
    def suspicion_count(self) -> int:
        """How many members are under suspicion."""
        return len(self._suspicions)

    # Consequences.

    def _hear_alive_about_us(self, claim: Alive, now: float) -> None:
        own = self._table.own
        if self.is_leaving or claim.incarnation < own.incarnation:
            return
        if claim.address != own.address:
            self._report_conflict(own, claim.address, now)
            return
        is_what_we_say = claim.meta == own.meta and claim.versions == own.versions
        if claim.incarnation > own.incarnation or not is_what_we_say:
            # An earlier life of ours is still in circulation: outlive it.
            self._refute(claim.incarnation, now, is_blameless=True)

    def _refusal(self, claim: Alive) -> str | None:
        """Return why `claim` must not enter the table, or None."""
        if claim.versions is None:
            return "it gives no protocol versions"
        if not self._table.own.versions.accepts(claim.versions):
            return "its protocol versions and ours do not overlap"
        if claim.node not in self._table and len(self._table) >= self._config.members_max:
            return f"the table holds {self._config.members_max} members already"
        return None

    def _accept(self, known: Member | None, claim: Alive, now: float) -> None:
        assert claim.versions is not None, "refused before"
        squatter = self._table.named_at(claim.address)
        if squatter is not None and squatter.name != claim.node:
            # Two names at one address: only one of them will answer to its name.
            self._dispute(squatter.name)
        is_same_life = known is not None and known.state == MemberState.ALIVE
        member = Member(
            name=claim.node,
            address=claim.address,
            incarnation=claim.incarnation,
            meta=claim.meta,
            versions=claim.versions,
            changed_at=known.changed_at if known is not None and is_same_life else now,
        )
        self._table.put(member)
        self._suspicions.pop(claim.node, None)
        self._courier.spread(claim.node, claim, now)
        if known is None or known.state.is_gone:
            self._outbox.publish(MemberJoined(member))
            return
        if known.state == MemberState.SUSPECT:
            self._outbox.publish(MemberRecovered(member))
        if known.meta != member.meta:
            self._outbox.publish(MemberUpdated(member))

    def _suspect(self, known: Member, claim: Suspect, now: float) -> None:
        member = replace(
            known, state=MemberState.SUSPECT, incarnation=claim.incarnation, changed_at=now
        )
        self._table.put(member)
        count = self._table.live_count
        self._suspicions[claim.node] = Suspicion(
            accuser=claim.accuser,
            incarnation=claim.incarnation,
            started_at=now,
            bounds_s=timeout_bounds_s(self._config, count),
            wanted=confirmations_wanted(self._config, count),
        )
        self._courier.spread(claim.node, claim, now)
        if claim.accuser != self._table.own_name and self._random.random() * count < OPINIONS_MEAN:
            self._dispute(claim.node)
        if known.state == MemberState.ALIVE:
            self._statistics.suspicions += 1
            self._outbox.publish(MemberSuspected(member, claim.accuser))

    def _bury(self, known: Member, claim: Dead, state: MemberState, now: float) -> None:
        member = replace(known, state=state, incarnation=claim.incarnation, changed_at=now)
        self._table.put(member)
        self._suspicions.pop(claim.node, None)
        self._courier.spread(claim.node, claim, now)
        is_goodbye = state == MemberState.LEFT
        self._outbox.publish(MemberLeft(member) if is_goodbye else MemberFailed(member))

    def _refute(self, accused: int, now: float, *, is_blameless: bool = False) -> None:
        """Object with a higher incarnation than the one accused."""
        if self.is_leaving:
            return
        own = self._table.own
        incarnation = self._higher_than(max(own.incarnation, accused))
        self._table.put(replace(own, incarnation=incarnation))
        if not is_blameless:
            self._statistics.refutations += 1
            # Somebody could not hear us: perhaps we are the slow one.
            self._awareness.apply(1)
        self.announce(now)

    def _object_to(self, accuser: Address, now: float) -> None:
        """Tell who has not heard our objection, once a probe interval at most."""
        if not self.is_leaving and self._objections.allows(str(accuser), now):
            self._courier.send(accuser, self._own_alive())

    def _higher_than(self, incarnation: int) -> int:
        return min(incarnation + 1, INCARNATION_MAX)

    def _own_alive(self) -> Alive:
        own = self._table.own
        return Alive(own.incarnation, own.name, own.address, own.meta, own.versions)

    def _report_conflict(self, known: Member, claimed: Address, now: float) -> None:
        if self._conflicts.allows(f"{known.name} {claimed}", now):
            self._outbox.publish(NameConflict(known, claimed))

    def _dispute(self, name: str) -> None:
        if name not in self.disputed and name != self._table.own_name:
            self.disputed.append(name)

    def _correct(self, known: Member, address: Address, now: float) -> None:
        """Tell `address` directly what is held of `known`, once a probe interval at most."""
        if known.state == MemberState.ALIVE:
            return
        if not self._corrections.allows(known.name, now):
            return
        own_name = self._table.own_name
        if known.state == MemberState.SUSPECT:
            self._courier.send(address, Suspect(known.incarnation, known.name, own_name))
        else:
            is_goodbye = known.state == MemberState.LEFT and address != known.address
            accuser = known.name if is_goodbye else own_name
            self._courier.send(address, Dead(known.incarnation, known.name, accuser))


def _is_repeated(claim: Alive, known: Member) -> bool:
    """Return whether `claim` is what we hold; nearly all that is heard during a join is."""
    return (
        claim.incarnation == known.incarnation
        and known.state == MemberState.ALIVE
        and claim.address == known.address
    )
