"""Carries out what placement decides: starts, follows, and leaves agents as the cluster asks.

The shell around `caxton_node.runtime.placement`. It looks again at the agents whose place changed,
and at all of them, a slice at a time, when a node came or went. It decides nothing by itself.

Where the first candidate does not take an agent over within `PATIENCE_S`, the next one may: it may
not have heard of the agent, or be stuck. Should both do it in the end, one of them gives up.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from caxton_node.domain.errors import CaxtonError, Denied, NotFound, Rejected
from caxton_node.forwarding.agent_records import number_of, state_of
from caxton_node.forwarding.definitions import DefinitionKeeper
from caxton_node.forwarding.handover import Handover
from caxton_node.forwarding.retirement import Retirement
from caxton_node.forwarding.takeovers import Takeovers
from caxton_node.forwarding.whereabouts import Whereabouts
from caxton_node.runtime.claim import Claim
from caxton_node.runtime.deployments import Deployments
from caxton_node.runtime.placement import (
    Action,
    Copy,
    Follow,
    GiveUp,
    NodeView,
    Start,
    candidates,
    decide,
    fits,
    keepers,
    leader,
)
from caxton_node.telemetry.events import Events

__all__ = ["PATIENCE_S", "Placing", "Retire"]

PATIENCE_S: Final = 2.5
"""How long an agent may be missing before one more candidate may take it over."""

LOOK_INTERVAL_S: Final = 0.25
"""How often what does not announce itself is looked at: patience, seats that are being left."""

RETRY_MAX_S: Final = 1.0
"""Longest wait between attempts to take an agent over."""

WISH_ATTEMPTS_MAX: Final = 10
"""Attempts in a row that fail before a wish to take an agent over is forgotten."""

SLICE_COUNT: Final = 200
"""Agents looked at in a row before others run."""

STARTS_MAX: Final = 16
"""Agents taken over at once."""

KEEP_RANK: Final = 2
"""So many of the nodes that would be asked to take an agent over have its definition."""

KEEP_DELAY_S: Final = 0.2
"""How long after a change of agents their definitions are fetched."""

KEEP_ALL_DELAY_S: Final = 2.0
"""How long after a node came or went all are looked through. There is more to do first: whoever
joins asks everybody for what they run, and what a dead node ran is taken over."""

KEEP_ALL_INTERVAL_S: Final = 60.0
"""How often all are looked through, and those of nobody forgotten."""

_log = logging.getLogger("caxton.placement")


@dataclass(frozen=True, slots=True)
class Retire:
    """Take off this node an agent that was deleted on another one."""

    agent: str


class Placing:
    """Keeps the agents of this node as placement says.

    Args:
        own: This node's name.
        nodes: What placement sees of the live nodes; somebody else keeps it current.
        whereabouts: Of the agents.
        deployments: Changes who runs here.
        definitions: Finds what is to be run.
        handover: Takes the seats that are left.
        events: Tells those who watch.
        retirement: The agents that were deleted.
        takeovers: Gives the right to take an agent over.
    """

    def __init__(  # noqa: PLR0913 - the parts that placement acts on
        self,
        own: str,
        nodes: Mapping[str, NodeView],
        whereabouts: Whereabouts,
        *,
        deployments: Deployments,
        definitions: DefinitionKeeper,
        handover: Handover,
        events: Events,
        retirement: Retirement,
        takeovers: Takeovers,
    ) -> None:
        self._own = own
        self._nodes = nodes
        self._whereabouts = whereabouts
        self._deployments = deployments
        self._definitions = definitions
        self._handover = handover
        self._events = events
        self._takeovers = takeovers
        self._loop = asyncio.get_running_loop()
        self._wanted: dict[str, None] = {}
        """Agents to look at, in order."""
        self._is_all_wanted = True
        self._news = asyncio.Event()
        self._missing_since: dict[str, float] = {}
        self._wished: dict[str, None] = {}
        """Agents that this node was asked to take over."""
        self._acting: set[str] = set()
        self._failures: dict[str, int] = {}
        """Agent → attempts that failed in a row."""
        self._to_keep: dict[str, None] = {}
        """Agents whose definitions may be missing."""
        self._is_all_to_keep = True
        self._to_keep_news = asyncio.Event()
        self.retirement = retirement
        """The agents that were deleted."""
        self.may_take = False
        """Whether agents of others may be taken over: with the majority only, as membership sees
        it. Before it is done, a majority must answer, too."""
        self.taken_count = 0
        self.left_count = 0
        self.on_looked: Callable[[], None] = lambda: None
        """Told after each look at what there was to look at."""
        self.on_refused: Callable[[str], None] = lambda _digest: None
        """Told of a definition that cannot be brought into force here."""

    # In.

    def look_at(self, agents: Collection[str] | None) -> None:
        """Look at agents again; None is all of them."""
        if agents is None:
            self._is_all_wanted = self._is_all_to_keep = True
        else:
            self._wanted.update(dict.fromkeys(agents))
            self._to_keep.update(dict.fromkeys(agents))
        self._news.set()
        self._to_keep_news.set()

    def wish(self, agents: Collection[str]) -> None:
        """Take agents over from where they are, if they may run here."""
        self._wished.update(dict.fromkeys(agents))
        self.look_at(agents)

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to do at the moment."""
        return not (self._acting or self._wanted or self._is_all_wanted or len(self._handover))

    # The tasks.

    async def run(self) -> None:
        """Do what placement says, for ever."""
        async with asyncio.TaskGroup() as acting:
            while True:
                try:
                    async with asyncio.timeout(LOOK_INTERVAL_S):
                        await self._news.wait()
                except TimeoutError:
                    self._wanted.update(dict.fromkeys(self._missing_since))
                self._news.clear()
                self._handover.advance()
                await self._look(acting)
                self.on_looked()

    async def _look(self, acting: asyncio.TaskGroup) -> None:
        if self._is_all_wanted:
            self._is_all_wanted = False
            self._whereabouts.forget_gone(self._nodes.keys())
            self._wanted.update(dict.fromkeys(self._whereabouts.agents()))
        taken, self._wanted = self._wanted, {}
        if not self.may_take:
            # Only its own agents can concern a node that may not take over others: one that has
            # just joined hears of thousands, in many parts, and looks at them once it has all.
            own = self._whereabouts.agents_of(self._own)
            taken = {agent: None for agent in taken if agent in own}
        for count, agent in enumerate(taken, start=1):
            if agent in self._acting:
                # Whoever acts looks again when done.
                continue
            action = self._action(agent)
            if action is not None and len(self._acting) >= STARTS_MAX:
                self._wanted[agent] = None
            elif action is not None:
                self._acting.add(agent)
                acting.create_task(self._act(agent, action), name=f"place {agent}")
            if count % SLICE_COUNT == 0:
                await asyncio.sleep(0)

    def _action(self, agent: str) -> Action | Retire | None:
        copies = self._whereabouts.copies(agent)
        mine = next((copy for copy in copies if copy.node == self._own), None)
        if mine is not None and self.retirement.is_over(mine):
            return Retire(agent)
        copies = self.retirement.in_force(copies)
        if not copies or self._own not in self._nodes:
            self._missing_since.pop(agent, None)
            self._wished.pop(agent, None)
            return None
        like = leader(copies)
        # A copy on a node that drains is as good as missing.
        staying_count = len(keepers(self._nodes, copies, like))
        if mine is None and staying_count >= like.replicas:
            # Nearly all of ten thousands of agents: others run them, and enough of them do.
            self._missing_since.pop(agent, None)
            return self._wished_start(agent, copies)
        passed = self._passed_count(like, staying_count)
        found = decide(
            self._nodes,
            {agent: copies},
            own=self._own,
            may_take=self.may_take,
            passed_count=passed,
        )
        if found:
            return found[0]
        return self._wished_start(agent, copies)

    def _passed_count(self, like: Copy, staying_count: int) -> int:
        """Return how many candidates had their time to take a missing agent over, and did not.

        Args:
            like: The copy that is right about the agent.
            staying_count: How many copies stay where they are.
        """
        if staying_count >= like.replicas or (staying_count >= len(candidates(self._nodes, like))):
            self._missing_since.pop(like.agent, None)
            return 0
        now = self._loop.time()
        since = self._missing_since.setdefault(like.agent, now)
        return int((now - since) / PATIENCE_S)

    def _wished_start(self, agent: str, copies: list[Copy]) -> Start | None:
        if agent not in self._wished:
            return None
        like = leader(copies)
        is_here = any(copy.node == self._own for copy in copies)
        if is_here or not self.may_take or not fits(self._nodes[self._own], like):
            del self._wished[agent]
            return None
        return Start(like, max(copy.epoch for copy in copies) + 1)

    async def _act(self, agent: str, action: Action | Retire) -> None:
        is_over = True
        try:
            match action:
                case Start() | Follow():
                    is_over = await self._take_over(action)
                case GiveUp(_, successor):
                    await self._leave(agent, successor)
                case Retire():
                    _log.info("%s was deleted on another node", agent)
                    await self._deployments.retire(agent)
        except (Rejected, Denied, NotFound) as problem:
            _log.warning("%s cannot run here: %s", agent, problem)
            if isinstance(action, Start | Follow):
                self.on_refused(action.like.digest)
        except CaxtonError as problem:
            # The disk, or a node that does not answer: it is tried again, here or by the next.
            failures = self._failures[agent] = self._failures.get(agent, 0) + 1
            is_over = failures >= WISH_ATTEMPTS_MAX
            _log.log(
                logging.WARNING if failures == 1 else logging.DEBUG,
                "%s cannot be placed now: %s",
                agent,
                problem,
            )
            await asyncio.sleep(min(LOOK_INTERVAL_S * 2 ** min(failures, 10), RETRY_MAX_S))
        else:
            self._failures.pop(agent, None)
        finally:
            if isinstance(action, Start) and is_over:
                self._wished.pop(agent, None)
            self._acting.discard(agent)
            self.look_at((agent,))

    async def _take_over(self, action: Start | Follow) -> bool:
        """Run an agent here; return False where it changed meanwhile: look again."""
        like = action.like
        agent, epoch = like.agent, like.epoch
        listing = self._whereabouts.listing(agent, like.node)
        if listing is None:
            return False
        holders = [
            copy.node
            for copy in self._whereabouts.copies(agent)
            if copy.digest == like.digest and copy.node in self._nodes
        ]
        others = [node for node in candidates(self._nodes, like) if node not in holders]
        asked = [node for node in (*holders, *others) if node != self._own]
        definition = await self._definitions.find(like.digest, asked)
        if isinstance(action, Start):
            epoch = await self._takeovers.permit(like, action.epoch)
        if self._whereabouts.listing(agent, like.node) is not listing:
            return False
        if isinstance(action, Start) and self._action(agent) != action:
            return False
        claim = Claim(
            revision=like.revision,
            epoch=epoch,
            digest=like.digest,
            replicas=like.replicas,
            placement=str(like.rule),
        )
        record = listing.record
        is_new = not self._deployments.is_here(agent)
        await self._deployments.adopt(
            definition, claim, number=number_of(record), state=state_of(record)
        )
        if is_new:
            self.taken_count += 1
            _log.info("took %s over from %s, epoch %d", agent, like.node, epoch)
            self._events.publish(
                "agent.moved", agent=agent, source=like.node, target=self._own, epoch=epoch
            )
        return True

    async def _leave(self, agent: str, successor: str) -> None:
        seat = await self._deployments.release(agent)
        if seat is not None:
            self.left_count += 1
            _log.info("left %s to %s", agent, successor)
            self._handover.begin(seat)

    # Definitions.

    async def keep_definitions(self) -> None:
        """Have at hand what this node may be asked to take over, for ever."""
        while True:
            try:
                async with asyncio.timeout(KEEP_ALL_INTERVAL_S):
                    await self._to_keep_news.wait()
            except TimeoutError:
                self._is_all_to_keep = True
            # Changes come in bursts.
            await asyncio.sleep(KEEP_ALL_DELAY_S if self._is_all_to_keep else KEEP_DELAY_S)
            self._to_keep_news.clear()
            if not self.may_take:
                self._is_all_to_keep = True
                continue
            agents, self._to_keep = self._to_keep, {}
            is_all, self._is_all_to_keep = self._is_all_to_keep, False
            wanted = await self._wanted_definitions(
                self._whereabouts.agents() if is_all else agents
            )
            try:
                if is_all:
                    await self._definitions.forget_others(wanted)
                await self._definitions.fetch(wanted)
            except CaxtonError as problem:
                _log.warning("definitions of others cannot be kept: %s", problem)

    async def secure(self, agent: str) -> int:
        """Have those keep an agent's definition who would be asked to take the agent over.

        Returns:
            How many other nodes have it on disk now.
        """
        copies = self._whereabouts.copies(agent)
        if not copies:
            return 0
        like = leader(copies)
        homes = {copy.node for copy in copies if copy.digest == like.digest}
        next_ones = [node for node in candidates(self._nodes, like) if node not in homes]
        return await self._definitions.secure(like.digest, next_ones[:KEEP_RANK], self._own)

    async def _wanted_definitions(self, agents: Iterable[str]) -> Mapping[str, Collection[str]]:
        wanted: dict[str, set[str]] = {}
        own = self._own
        for count, agent in enumerate(agents, start=1):
            if count % SLICE_COUNT == 0:
                await asyncio.sleep(0)
            copies = self._whereabouts.copies(agent)
            if not copies:
                continue
            like = leader(copies)
            homes = {copy.node for copy in copies if copy.digest == like.digest}
            next_ones = [node for node in candidates(self._nodes, like) if node not in homes]
            if own in next_ones[:KEEP_RANK]:
                wanted.setdefault(like.digest, set()).update(homes & self._nodes.keys())
        return wanted
