"""The member table: one row a name, and the order in which rows are visited.

Bookkeeping only. Whether a claim beats what is known is `precedence`'s decision, what follows
from it is `beliefs`'.
"""

from collections.abc import Iterator

from caxton_cluster.swim.circle import Circle
from caxton_cluster.swim.rotation import Rotation
from caxton_cluster.types import Address, Member, Randomness

__all__ = ["MemberTable"]


class MemberTable:
    """Everyone we know of, ourselves included, the gone for a while too.

    Args:
        own: Our own row.
        random: Source of the visiting orders.
    """

    def __init__(self, own: Member, random: Randomness) -> None:
        self.own_name = own.name
        self.probe_order = Rotation(random)
        self.gossip_order = Rotation(random)
        self.circle = Circle()
        self._rows: dict[str, Member] = {}
        self._name_at: dict[Address, str] = {}
        self._gone_count = 0
        self.put(own)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._rows.values())

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> Member:
        return self._rows[name]

    def get(self, name: str) -> Member | None:
        """Return the row of `name`, or None."""
        return self._rows.get(name)

    @property
    def own(self) -> Member:
        """Our own row."""
        return self._rows[self.own_name]

    @property
    def live_count(self) -> int:
        """How many are alive or merely suspected, ourselves included; at least 1."""
        return max(1, len(self._rows) - self._gone_count)

    @property
    def has_peers(self) -> bool:
        """Whether anybody but ourselves is alive or merely suspected."""
        return len(self._rows) - self._gone_count > (not self.own.state.is_gone)

    @property
    def gone_count(self) -> int:
        """How many rows are of the dead and those that left."""
        return self._gone_count

    def named_at(self, address: Address) -> Member | None:
        """Return the member last put at `address`, or None."""
        name = self._name_at.get(address)
        return None if name is None else self._rows.get(name)

    def put(self, member: Member) -> None:
        """Insert or replace a row."""
        known = self._rows.get(member.name)
        if known is None:
            self.probe_order.add(member.name)
            self.gossip_order.add(member.name)
        else:
            self._step_out(known)
        self._rows[member.name] = member
        if member.state.is_gone:
            self._gone_count += 1
        else:
            self.circle.add(member.name)
            self._name_at[member.address] = member.name

    def remove(self, name: str) -> None:
        """Delete a row; it must exist and not be ours."""
        assert name != self.own_name, "we never forget ourselves"
        self._step_out(self._rows.pop(name))
        self.probe_order.remove(name)
        self.gossip_order.remove(name)

    def _step_out(self, member: Member) -> None:
        if member.state.is_gone:
            self._gone_count -= 1
        else:
            self.circle.remove(member.name)
        if self._name_at.get(member.address) == member.name:
            del self._name_at[member.address]
