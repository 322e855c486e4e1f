"""Everyone who was ever a member, so that a lonely or partitioned member finds back.

The reference forgets the dead after half a minute and then never tries them again: two halves of
a healed network stay apart until somebody intervenes. The book keeps addresses until their
owner said goodbye or the book is full, and says which one to try next.

Pure; the façade writes `entries` to disk and reads them back.
"""

from collections.abc import Iterable
from typing import Final

from caxton_cluster.types import Address, Randomness

__all__ = ["PEERS_MAX", "PeerBook"]

PEERS_MAX: Final = 1024
"""Most addresses kept; the one not heard of for longest gives way."""


class PeerBook:
    """Addresses by name, the latest heard of last, and seeds without a name."""

    def __init__(self) -> None:
        self._addresses: dict[str, Address] = {}
        self._seeds: tuple[Address, ...] = ()

    @property
    def entries(self) -> dict[str, Address]:
        """A copy of what is known by name."""
        return dict(self._addresses)

    def remember(self, name: str, address: Address) -> None:
        """Note that `name` is, or was, at `address`."""
        self._addresses.pop(name, None)
        self._addresses[name] = address
        if len(self._addresses) > PEERS_MAX:
            del self._addresses[next(iter(self._addresses))]

    def forget(self, name: str) -> None:
        """Strike out a member that said goodbye."""
        self._addresses.pop(name, None)

    def set_seeds(self, addresses: Iterable[Address]) -> None:
        """Replace the seeds, as a name service lists them now."""
        self._seeds = tuple(addresses)[:PEERS_MAX]

    def choose_missing(
        self, present: frozenset[Address], member_count: int, random: Randomness
    ) -> Address | None:
        """Return an address to try, or None for this time.

        A lonely member tries always. Others share the work: each tries with a probability that
        makes about one attempt a missing address over the whole ring.

        Args:
            present: Where live members, ourselves included, are.
            member_count: How many live members share the work.
            random: Source of the choice.
        """
        known = dict.fromkeys((*self._addresses.values(), *self._seeds))
        missing = [address for address in known if address not in present]
        if not missing:
            return None
        if member_count > 1 and random.random() >= len(missing) / member_count:
            return None
        return missing[random.randrange(len(missing))]
