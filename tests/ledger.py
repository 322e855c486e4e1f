"""The books of a run with faults: what was accepted, what was done, and how each message ended.

Kept apart from the system: it reads what clients were told, what agents wrote down as they worked,
and what nodes say of each message at the end. `faults` returns every broken promise as a sentence,
`losses` those about messages that are gone.

Instants are of the machine's monotonic clock, which all processes of one machine share.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

FINAL = frozenset({"delivered", "dead", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of a client, numbered within its conversation."""

    id: str
    conversation: str
    number: int
    mode: str
    is_accepted: bool
    """False: no answer came; it may or may not have been accepted."""


@dataclass(frozen=True, slots=True)
class Effect:
    """An agent's turn, as the agent itself wrote it down."""

    at_ns: int
    id: str
    node: str


@dataclass(slots=True)
class Ledger:
    """One run."""

    sent: list[Sent] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    """Message → its status, as the nodes tell it at the end."""
    answered: set[str] = field(default_factory=set)
    """Messages whose answer can be read in their conversation."""

    def summary(self) -> str:
        """Return the totals in a line."""
        ends = Counter(self.ends.get(one.id, "unknown") for one in self.sent if one.is_accepted)
        done = Counter(effect.id for effect in self.effects)
        return (
            f"accepted {sum(ends.values())} = "
            + " + ".join(f"{count} {end}" for end, count in sorted(ends.items()))
            + f"; turns {sum(done.values())}, of which repeated {sum(done.values()) - len(done)}"
        )


def faults(ledger: Ledger) -> list[str]:
    """Return every promise that was broken; none in a good run."""
    done = Counter(effect.id for effect in ledger.effects)
    return [*losses(ledger), *_repeated(ledger, done), *_disordered(ledger)]


def losses(ledger: Ledger) -> list[str]:
    """Return what was lost, and what appeared from nowhere."""
    done = Counter(effect.id for effect in ledger.effects)
    return [*_lost(ledger, done), *_invented(ledger, done)]


def _lost(ledger: Ledger, done: Counter[str]) -> Iterable[str]:
    for one in ledger.sent:
        if not one.is_accepted or one.mode == "at_most_once":
            continue
        end = ledger.ends.get(one.id)
        if end is None:
            yield f"{one.id} was accepted and no node knows it"
        elif end not in FINAL:
            yield f"{one.id} was accepted and has no end: {end}"
        elif end == "delivered" and not done[one.id]:
            yield f"{one.id} is said to be delivered and no agent took a turn for it"


def _repeated(ledger: Ledger, done: Counter[str]) -> Iterable[str]:
    for one in ledger.sent:
        if one.mode != "at_least_once" and done[one.id] > 1:
            nodes = sorted(effect.node for effect in ledger.effects if effect.id == one.id)
            yield f"{one.id} was sent {one.mode} and took effect on {nodes}"


def _invented(ledger: Ledger, done: Counter[str]) -> Iterable[str]:
    known = {one.id for one in ledger.sent}
    for message_id in done:
        if message_id not in known:
            yield f"{message_id} took effect and nobody sent it"


def _disordered(ledger: Ledger) -> Iterable[str]:
    """Within a conversation, first effects come in the order of sending.

    Not so for `exactly_once`: one that a dead node may have begun waits for that node, and those
    after it do not wait for it.
    """
    first: dict[str, int] = {}
    for effect in sorted(ledger.effects, key=lambda effect: effect.at_ns):
        first.setdefault(effect.id, effect.at_ns)
    conversations = defaultdict(list)
    for one in ledger.sent:
        if one.id in first and one.mode == "at_least_once":
            conversations[one.conversation].append(one)
    for name, members in conversations.items():
        members.sort(key=lambda one: one.number)
        for before, after in pairwise(members):
            if first[before.id] > first[after.id]:
                yield f"in {name}, {after.id} took effect before {before.id}"
