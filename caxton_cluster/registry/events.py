"""What the registry wants done and what it tells, one value each."""

import msgspec

from caxton_cluster.registry.holding import Change, Listing
from caxton_cluster.registry.records import Digest, Owner

__all__ = [
    "AgentAppeared",
    "AgentChanged",
    "AgentVanished",
    "DigestToSend",
    "Event",
    "OwnerAppeared",
    "OwnerVanished",
    "Pull",
    "Superseded",
    "event_of",
]


class Pull(msgspec.Struct, frozen=True, gc=False):
    """A request to make of a peer. Each ends with `Registry.pull_ended`."""

    id: int
    peer: str
    """Whom to ask."""
    owner: Owner
    """Whose records. The peer's may be of a later epoch by now; then it sends those."""
    after_version: int
    """What we have reached; 0 for everything."""


class DigestToSend(msgspec.Struct, frozen=True, gc=False):
    """A digest for one peer. It may be lost: another follows."""

    peer: str
    digest: Digest


class AgentAppeared(msgspec.Struct, frozen=True, gc=False):
    """A visible node, perhaps our own, lists an agent that it did not list before."""

    listing: Listing


class AgentChanged(msgspec.Struct, frozen=True, gc=False):
    """A visible node changed a record."""

    before: Listing
    after: Listing


class AgentVanished(msgspec.Struct, frozen=True, gc=False):
    """A visible node lists an agent no longer."""

    listing: Listing


class OwnerAppeared(msgspec.Struct, frozen=True, gc=False):
    """All that a node lists is visible now, at once; `Registry.listings` returns it."""

    owner: Owner
    agent_count: int
    """How many agents there are at this moment; a newcomer's follow one by one."""


class OwnerVanished(msgspec.Struct, frozen=True, gc=False):
    """All that a node lists is hidden now, at once. `is_replaced` if a later life follows."""

    owner: Owner
    agent_count: int
    is_replaced: bool


class Superseded(msgspec.Struct, frozen=True, gc=False):
    """Peers know records of us from a later epoch than ours, and ignore what we say.

    The clock went back over a restart, or two nodes have one name. `Registry.renew` with a
    higher epoch, announced to membership too, makes peers listen again.
    """

    epoch: int
    """The one that they know. Ours must be higher."""


Event = AgentAppeared | AgentChanged | AgentVanished | OwnerAppeared | OwnerVanished | Superseded


def event_of(change: Change) -> Event | None:
    """Return what to tell of a change of a visible record; None if nothing was there to begin."""
    before, after = change.before, change.after
    if after is None:
        return None if before is None else AgentVanished(before)
    return AgentAppeared(after) if before is None else AgentChanged(before, after)
