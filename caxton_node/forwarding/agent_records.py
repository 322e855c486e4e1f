"""An agent in the registry: what its node says of it there, and what placement reads out of it.

The registry is an index for routing. What placement needs besides rides in the record's labels,
under the names below; agents have no labels of their own. Between versions of the program a
missing label means its default.

The registry ranks duplicates by (version, epoch). Its version is a claim's revision here, with the
author's own version behind the `+`, which does not count: a rollback is newer than what it undoes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from caxton_cluster.registry import AgentRecord, Listing
from caxton_cluster.registry.holding import spellings
from caxton_node.domain.agent import AgentKind, AgentSpec, AgentState
from caxton_node.domain.placement import ANYWHERE, PlacementRule, read_placement
from caxton_node.forwarding.remote_agent import MAILBOX_DEFAULT
from caxton_node.runtime.claim import Claim
from caxton_node.runtime.fleet import FleetAgent
from caxton_node.runtime.placement import Copy

__all__ = [
    "author_version",
    "copy_of",
    "distance_of",
    "fleet_agent",
    "kind_of",
    "mailbox_of",
    "number_of",
    "record_of",
    "right_of",
    "state_of",
]

_WORD_LENGTH_MAX: Final = 64
_LABEL_LENGTH_MAX: Final = 100
_DESCRIPTION_LENGTH_MAX: Final = 200

_NUMBER: Final = "number"
_REPLICAS: Final = "replicas"
_PLACEMENT: Final = "placement"
_HANDLER: Final = "handler"
_MAILBOX: Final = "mailbox"


def record_of(spec: AgentSpec, claim: Claim, *, state: AgentState, number: int) -> AgentRecord:
    """Return what a node tells the others of an agent that it runs.

    Args:
        spec: The definition in force.
        claim: By what right the node runs it.
        state: Of the agent.
        number: Of the version, as this node counts.
    """
    replicas = claim.replica_count(spec)
    placement = spec.deployment.placement if claim.placement is None else claim.placement
    labels = {_NUMBER: str(number), _REPLICAS: str(replicas)} | _cut(_PLACEMENT, placement)
    if spec.limits.mailbox != MAILBOX_DEFAULT:
        labels[_MAILBOX] = str(spec.limits.mailbox)
    if spec.handler and len(spec.handler) <= _LABEL_LENGTH_MAX:
        # A longer one is not told: a node that does not allow it refuses when it tries.
        labels[_HANDLER] = spec.handler
    return AgentRecord(
        agent=spec.name,
        capabilities=tuple(str(capability) for capability in spec.capabilities),
        agent_version=f"{claim.revision}+{spec.version}"[:_WORD_LENGTH_MAX],
        agent_epoch=claim.epoch,
        state=state.value,
        kind=spec.kind.value,
        labels=tuple(labels.items()),
        definition_digest=bytes.fromhex(claim.digest),
        description=spec.description[:_DESCRIPTION_LENGTH_MAX],
    )


def _cut(name: str, text: str) -> dict[str, str]:
    """Return labels that together hold a text: `name`, `name.1`, `name.2` and so on."""
    parts = [
        text[start : start + _LABEL_LENGTH_MAX] for start in range(0, len(text), _LABEL_LENGTH_MAX)
    ]
    return {f"{name}.{place}" if place else name: part for place, part in enumerate(parts)}


def _joined(name: str, labels: Mapping[str, str]) -> str:
    text, place = labels.get(name, ""), 1
    while (part := labels.get(f"{name}.{place}")) is not None:
        text += part
        place += 1
    return text


def copy_of(listing: Listing) -> Copy:
    """Return what placement must know of an agent on a node.

    What a node of another version of the program wrote and this one cannot read, counts as if it
    were not there: one replica, anywhere.
    """
    record = listing.record
    labels = dict(record.labels)
    replicas = labels.get(_REPLICAS, "1")
    return Copy(
        agent=listing.agent,
        node=listing.node,
        revision=_leading_number(record.agent_version),
        epoch=record.agent_epoch,
        digest=record.definition_digest.hex(),
        replicas=max(1, int(replicas)) if _is_number(replicas) else 1,
        rule=_rule(_joined(_PLACEMENT, labels)),
        handler=labels.get(_HANDLER, ""),
    )


def right_of(listing: Listing) -> tuple[int, int]:
    """Return the revision and the epoch by which a node runs an agent. The higher one is right."""
    return (_leading_number(listing.record.agent_version), listing.record.agent_epoch)


def _rule(text: str) -> PlacementRule:
    try:
        return read_placement(text)
    except ValueError:
        return ANYWHERE


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _leading_number(version: str) -> int:
    text = version.partition("+")[0]
    return int(text) if _is_number(text) else 0


def author_version(record: AgentRecord) -> str:
    """Return the version of the definition as its author counts."""
    return record.agent_version.partition("+")[2]


def distance_of(offers: Sequence[str], capability: str) -> int:
    """Return how far the nearest of an agent's offers is from what is asked for.

    0 is what is asked for; one of the offers must answer it.
    """
    return min(
        spellings(offer).index(capability) for offer in offers if capability in spellings(offer)
    )


def kind_of(record: AgentRecord) -> AgentKind:
    """Return the kind of the agent; one that this version does not know counts as `llm`."""
    try:
        return AgentKind(record.kind)
    except ValueError:
        return AgentKind.LLM


def number_of(record: AgentRecord) -> int:
    """Return the number of the version, as the node counts that runs it."""
    text = dict(record.labels).get(_NUMBER, "")
    return max(1, int(text)) if _is_number(text) else 1


def mailbox_of(record: AgentRecord) -> int:
    """Return how many messages may wait for the agent."""
    text = dict(record.labels).get(_MAILBOX, "")
    return int(text) if _is_number(text) else MAILBOX_DEFAULT


def state_of(record: AgentRecord) -> AgentState:
    """Return the state of the agent; one that this version does not know counts as stopped."""
    try:
        return AgentState(record.state)
    except ValueError:
        return AgentState.STOPPED


def fleet_agent(listing: Listing, copy: Copy) -> FleetAgent:
    """Return what the edges show of an agent on a node."""
    record = listing.record
    return FleetAgent(
        name=listing.agent,
        node=copy.node,
        state=state_of(record),
        version=author_version(record),
        number=number_of(record),
        kind=kind_of(record),
        capabilities=record.capabilities,
        description=record.description,
        replicas=copy.replicas,
        placement=str(copy.rule),
        epoch=copy.epoch,
        load=record.load,
    )
