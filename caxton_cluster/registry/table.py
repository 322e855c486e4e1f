"""The registry of a cluster, as one node holds it: what comes in, what goes out.

Four kinds of input drive it: membership (`member_up`, `member_suspect`, `member_down`, `joined`),
peers (`receive_delta`, `receive_digest`, `receive_chunk`, `pull_ended`, `serve_pull`,
`connected`), the node itself (`put`, `remove`, `report_load`) and time (`tick`, when `wakeup_at`
says so). After every call the shell takes what has collected: `take_deltas`, `take_digests`,
`take_pulls`, `take_events`.

This module routes, and keeps the clock of the others; each part decides its own: `author` what of
ours to tell and when, `replicas` what becomes of what others tell, by the rule in `acceptance`,
`repair` whom to ask for what is missing, `readiness` when we know enough, `query` who is found.

Who is alive is membership's word alone. Nothing here detects failures, and what is said when
nothing happens does not change.
"""

from typing import Final, assert_never

from caxton_cluster.registry.author import Author
from caxton_cluster.registry.config import RegistryConfig
from caxton_cluster.registry.digests import Comparison, compare, compose, root_of
from caxton_cluster.registry.events import DigestToSend, Event, Pull, Superseded, event_of
from caxton_cluster.registry.holding import Change, Holding, Listing
from caxton_cluster.registry.query import Lookup
from caxton_cluster.registry.readiness import Readiness
from caxton_cluster.registry.records import (
    DIGEST_OWNERS_MAX,
    FRAME_SIZE_BYTES_MAX,
    AgentRecord,
    Delta,
    Digest,
    Owner,
    OwnerDigest,
)
from caxton_cluster.registry.repair import Repair
from caxton_cluster.registry.replicas import RegistryStatistics, Replicas
from caxton_cluster.types import Randomness

__all__ = ["Registry"]

HOUSEKEEPING_INTERVAL_S: Final = 5.0
"""How often the gone and the forgotten are looked through."""

LOAD_SWEEP_INTERVAL_S: Final = 1.0
"""How often loads that wait for their time are looked at."""

TIMER_SLACK_S: Final = 0.0011
"""What is due so soon is due: event loops wake up to a millisecond early, and would spin."""


class Registry:
    """One node's registry.

    Args:
        config: Timings and limits.
        owner: Ourselves: our name in the ring, and an epoch higher than in any earlier life.
        random: Source of all chance.
        now: The time, in seconds on any steady clock.
    """

    def __init__(
        self, config: RegistryConfig, owner: Owner, *, random: Randomness, now: float
    ) -> None:
        self.config = config
        self.lookup = Lookup()
        self._random = random
        self._events: list[Event] = []
        self._author = Author(config, owner)
        self._repair = Repair(config, random)
        self._replicas = Replicas(config, self.lookup, self._repair, self._events)
        self._readiness = Readiness(config.bootstrap_peers)
        self._live = self._replicas.live
        self._seen: dict[str, int] = {}
        """Live peer → version of ours that it has reached."""
        self._checked_at: dict[str, float] = {}
        """Live peer → when a checksum of its was last found wrong."""
        self._answered_at: dict[str, float] = {}
        self._turns: list[str] = []
        """Peers still to be told our digest in this round."""
        self._line_turn = 0
        self._superseded_by = 0
        self._digest_at = now + random.random() * config.digest_interval_s
        self._housekeeping_at = now + HOUSEKEEPING_INTERVAL_S
        self._load_sweep_at = now
        self._deltas: list[Delta] = []
        self._digests: list[DigestToSend] = []
        self._pulls: list[Pull] = []
        self.lookup.show(self._author.holding)

    # What the shell asks.

    @property
    def owner(self) -> Owner:
        """Ourselves, in this life."""
        return self._author.holding.owner

    @property
    def statistics(self) -> RegistryStatistics:
        """Counters since the start."""
        return self._replicas.statistics

    def wakeup_at(self) -> float:
        """Return when `tick` is due next."""
        due = [self._digest_at, self._housekeeping_at]
        optional = (self._author.flush_at, self._repair.next_at())
        due += [at for at in optional if at is not None]
        if self._author.has_loads:
            due.append(self._load_sweep_at)
        return min(due)

    def flush(self) -> None:
        """Let our changes go out now, instead of waiting for others to share their delta."""
        if self._author.flush_at is not None:
            self._deltas += self._author.flush()

    def take_deltas(self) -> list[Delta]:
        """Return our changes, to be sent to every live peer in this order, and forget them."""
        taken, self._deltas = self._deltas, []
        return taken

    def take_digests(self) -> list[DigestToSend]:
        """Return the digests to send, each to its peer, and forget them."""
        taken, self._digests = self._digests, []
        return taken

    def take_pulls(self) -> list[Pull]:
        """Return the pulls to make and forget them; each must be ended by `pull_ended`."""
        taken, self._pulls = self._pulls, []
        return taken

    def take_events(self) -> list[Event]:
        """Return the events to publish and forget them."""
        taken = self._events.copy()
        self._events.clear()
        return taken

    @property
    def is_ready(self) -> bool:
        """Whether all that peers knew when we came has been received. Once true, always true."""
        return not self.waiting_for()

    def waiting_for(self) -> tuple[str, ...]:
        """Return what we are not ready for want of, in words for a person."""
        held = ((node, self._replicas.get(node)) for node in self._live)
        return self._readiness.missing(
            {
                node: (-1, 0) if holding is None else (holding.owner.epoch, holding.max_version)
                for node, holding in held
            }
        )

    def listings(self, node: str) -> tuple[Listing, ...]:
        """Return the records of a node, in order of their last change.

        Those of a gone node too, as long as they are kept: what it ran must run elsewhere.
        """
        holding = self._holding_of(node)
        return () if holding is None else tuple(holding.listings())

    def lines(self) -> tuple[OwnerDigest, ...]:
        """Return how far we are with every owner held, ourselves first, then by name."""
        holdings = (self._author.holding, *self._replicas.by_name())
        return tuple(holding.line() for holding in holdings)

    def _holding_of(self, node: str) -> Holding | None:
        return self._author.holding if node == self.owner.node else self._replicas.get(node)

    # The node itself.

    def put(self, record: AgentRecord, now: float) -> None:
        """List an agent of ours, or change its record. Peers hear of it within moments.

        Once its load was reported, the record's own load no longer counts.

        Raises:
            RecordInvalid: A field breaks its bounds.
            RegistryFull: We list too many.
        """
        self._follow_own(self._author.put(record, now))

    def remove(self, agent: str, now: float) -> None:
        """List an agent of ours no longer. Unknown names are fine."""
        self._follow_own(self._author.remove(agent, now))

    def report_load(self, agent: str, waiting_count: int, now: float) -> None:
        """Tell how many messages an agent of ours has waiting or in work.

        Call it as often as you like: peers hear of it in eight buckets, every few seconds at most.
        """
        self._follow_own(self._author.report_load(agent, waiting_count, now))

    def renew(self, epoch: int, now: float) -> None:
        """Begin a later life with the same records: the answer to `Superseded`.

        Args:
            epoch: Higher than the present one and the one that peers know. Tell membership too.
            now: The time, in seconds.
        """
        assert epoch > self.owner.epoch, "epochs only grow"
        before = self._author.holding
        self.lookup.hide(before)
        self.lookup.drop(before)
        self._author = self._author.renew(Owner(self.owner.node, epoch), now)
        self._seen.clear()
        self.lookup.enter(self._author.holding)
        self.lookup.show(self._author.holding)

    def _follow_own(self, change: Change | None) -> None:
        if change is None:
            return
        self.lookup.follow(change)
        event = event_of(change)
        if event is not None:
            self._events.append(event)

    # Membership.

    def member_up(self, node: str, epoch: int, now: float) -> None:
        """Note that a peer is alive, in the life that its metadata tell; also when it recovers.

        Members without a registry, such as serf agents, are not to be told of.
        """
        if node != self.owner.node and self._replicas.up(Owner(node, epoch), now):
            self._seen.pop(node, None)
            self._send_digest(node)

    def member_suspect(self, node: str) -> None:
        """Note that a peer may be gone: its agents rank below others. `member_up` ends it."""
        self._replicas.suspect(node)

    def member_down(self, node: str, now: float) -> None:
        """Note that a peer is dead or has left: nothing of it is found from now on."""
        if self._replicas.down(node, now):
            for known in (self._seen, self._answered_at, self._checked_at):
                known.pop(node, None)

    def joined(self) -> None:
        """Note that membership has told of everyone there is, or that there is nobody."""
        self._readiness.joined()

    def connected(self, peer: str) -> None:
        """Note that a link to a peer is open: it is told what we have."""
        self._send_digest(peer)

    # Deltas.

    def receive_delta(self, delta: Delta, now: float) -> None:
        """Take in a delta that its owner sent. Whatever it holds, nothing is raised."""
        self.statistics.deltas += 1
        if delta.owner.node == self.owner.node:
            self._hear_of_ourselves(delta.owner, delta.through_version)
        else:
            self._replicas.take_in(delta, now, None)

    def receive_chunk(self, pull_id: int, delta: Delta, now: float) -> None:
        """Take in a part of what a pull brings. Whatever it holds, nothing is raised."""
        want = self._repair.active(pull_id)
        if want is None or want.owner.node != delta.owner.node:
            self.statistics.late_chunks += 1
            return
        self.statistics.deltas += 1
        self._repair.progressed(want, now)
        self._replicas.take_in(delta, now, want)

    def _hear_of_ourselves(self, owner: Owner, version: int) -> None:
        ours = (self.owner.epoch, self._author.holding.max_version)
        if (owner.epoch, version) > ours and owner.epoch > self._superseded_by:
            self._superseded_by = owner.epoch
            self._events.append(Superseded(owner.epoch))

    # Digests.

    def digest(self, size_bytes_max: int = FRAME_SIZE_BYTES_MAX) -> Digest:
        """Return what we have, in short.

        Args:
            size_bytes_max: Room for it once encoded. Where the lines of all owners do not fit it
                has the hash of all and some lines, others each time.
        """
        return self._compose(self.config.vector_owners_max, size_bytes_max)

    def _compose(self, lines_max: int, size_bytes_max: int) -> Digest:
        lines = self.lines()
        rotating = self.config.rotating_owners
        self._line_turn += rotating
        return compose(
            self._root(lines),
            lines,
            lines_max=lines_max,
            rotating=rotating,
            turn=self._line_turn,
            size_bytes_max=size_bytes_max,
        )

    def _root(self, lines: tuple[OwnerDigest, ...]) -> int:
        # The gone do not count: not all nodes forget them at the same moment.
        here = (self._live.keys() | {self.owner.node}).__contains__
        return root_of([line for line in lines if here(line.owner.node)])

    def _send_digest(self, peer: str) -> None:
        self._digests.append(DigestToSend(peer, self.digest()))

    def receive_digest(self, peer: str, digest: Digest, now: float) -> None:
        """Take in what a peer has. Whatever it holds, nothing is raised."""
        if digest.root == self._root(self.lines()):
            if peer in self._live:
                self._seen[peer] = self._author.holding.max_version
            self._readiness.heard(peer, ())
            self._replicas.collect(digest.owners)
            return
        if digest.is_whole:
            self._readiness.heard(peer, digest.owners)
        is_behind = False
        for line in digest.owners:
            is_behind |= self._hear_line(peer, line, now)
        if is_behind or not digest.is_whole:
            self._answer(peer, now)

    def _hear_line(self, peer: str, line: OwnerDigest, now: float) -> bool:
        """Take in a line; return whether the peer is behind us in it."""
        owner = line.owner
        if owner.node == self.owner.node:
            self._hear_of_ourselves(owner, line.version)
            ours = (self.owner.epoch, self._author.holding.max_version)
            if owner.epoch == self.owner.epoch and peer in self._live:
                self._seen[peer] = min(line.version, self._author.holding.max_version)
            return (owner.epoch, line.version) < ours
        holding = self._replicas.get(owner.node)
        if holding is None or self._replicas.is_forgotten(owner):
            # Whom membership has not told of, or who is gone for long, is nobody to ask for.
            return False
        comparison = compare(line, holding, is_from_owner=peer == owner.node)
        match comparison:
            case Comparison.AHEAD:
                self._repair.want(owner, line.version, peer, now)
            case Comparison.CONTRADICTS:
                self._start_over(holding, now)
            case Comparison.EQUAL:
                self._replicas.collect((line,))
            case Comparison.BEHIND:
                return True
            case _:
                assert_never(comparison)
        return False

    def _start_over(self, holding: Holding, now: float) -> None:
        node = holding.owner.node
        checked_at = self._checked_at.get(node)
        if checked_at is not None and now - checked_at < self.config.check_interval_s:
            return
        self._checked_at[node] = now
        self.statistics.mismatches += 1
        self._repair.want(holding.owner, holding.max_version, node, now, is_reset=True)

    def _answer(self, peer: str, now: float) -> None:
        """Let a peer know that we differ; seldom, because it answers likewise."""
        answered_at = self._answered_at.get(peer)
        is_early = answered_at is not None and now - answered_at < self.config.digest_interval_s
        if peer in self._live and not is_early:
            self._answered_at[peer] = now
            everything = self._compose(DIGEST_OWNERS_MAX, FRAME_SIZE_BYTES_MAX)
            self._digests.append(DigestToSend(peer, everything))

    # Pulls.

    def serve_pull(self, owner: Owner, after_version: int) -> list[Delta]:
        """Return what a peer misses of an owner's records, in chunks to be sent in this order.

        Args:
            owner: As the peer knows it. If we know a later life, that one is served, from 0.
            after_version: What the peer has reached.
        """
        holding = self._holding_of(owner.node)
        if holding is None or holding.owner.epoch < owner.epoch:
            return []
        if not holding.is_whole and owner.node in self._live:
            return []  # half a state is worth passing on only when nobody has the whole any more
        after = after_version if holding.owner.epoch == owner.epoch else 0
        return holding.deltas(after, size_bytes_max=self.config.chunk_size_bytes)

    def pull_ended(self, pull_id: int, now: float, *, is_complete: bool) -> None:
        """Note that a pull is over.

        Args:
            pull_id: Of the `Pull`.
            now: The time, in seconds.
            is_complete: Whether the peer said that this was all; False if it could not be reached,
                refused, or broke off.
        """
        want = self._repair.active(pull_id)
        if want is not None:
            self._replicas.pull_ended(want, now, is_complete=is_complete)

    # Time.

    def tick(self, now: float) -> None:
        """Do everything that is due."""
        soon = now + TIMER_SLACK_S
        if self._author.has_loads and self._load_sweep_at <= soon:
            self._load_sweep_at = now + LOAD_SWEEP_INTERVAL_S
            for change in self._author.tell_loads(now):
                self._follow_own(change)
        if self._author.flush_at is not None and self._author.flush_at <= soon:
            self._deltas += self._author.flush()
        if self._digest_at <= soon:
            self._digest_at = now + self.config.digest_interval_s
            self._tell_next_peer()
        for pull in self._repair.due(soon, self._replicas.version_of, self._live.__contains__):
            self.statistics.pulls += 1
            self._replicas.begin_pull(pull.owner.node)
            self._pulls.append(pull)
        if self._housekeeping_at <= soon:
            self._housekeeping_at = now + HOUSEKEEPING_INTERVAL_S
            self._keep_house(now)

    def _tell_next_peer(self) -> None:
        while self._live:
            if not self._turns:
                self._turns = self._random.sample(sorted(self._live), len(self._live))
            peer = self._turns.pop()
            if peer in self._live:
                self._send_digest(peer)
                return

    def _keep_house(self, now: float) -> None:
        self._replicas.keep_house(now)
        everywhere = min(
            (self._seen.get(peer, 0) for peer in self._live),
            default=self._author.holding.max_version,
        )
        self._author.collect(everywhere, now)
