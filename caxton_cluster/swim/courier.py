"""Everything that leaves by datagram passes here, and takes rumours along for the ride.

SWIM spreads news on the back of pings and acks; what has no ride within a gossip interval gets
packets of its own. The courier packs both to the datagram budget.
"""

from collections.abc import Sequence

from caxton_cluster.swim.context import Context
from caxton_cluster.swim.gossip import RumourQueue, send_count_max
from caxton_cluster.swim.timers import GossipDue
from caxton_cluster.swim.wire import compound
from caxton_cluster.swim.wire.codec import encode
from caxton_cluster.swim.wire.messages import Message
from caxton_cluster.swim.wire.packet import PacketCodec
from caxton_cluster.types import Address, MemberState

__all__ = ["Courier"]

_CRC_PROTOCOL = 5


class Courier:
    """Packs messages and rumours into datagrams."""

    def __init__(self, context: Context, codec: PacketCodec) -> None:
        self._config = context.config
        self._codec = codec
        self._table = context.table
        self._timers = context.timers
        self._outbox = context.outbox
        self._random = context.random
        self._is_gossip_due = False
        self.queue = RumourQueue(context.config.user_queue_max)
        self.room_bytes = codec.room_bytes(context.config.datagram_size_bytes)
        """What one datagram holds."""

    def send(self, target: Address, *messages: Message) -> None:
        """Send `messages` in one datagram, with rumours in the room that is left."""
        parts = [encode(message) for message in messages]
        overhead = compound.PART_OVERHEAD_SIZE_BYTES
        room_bytes = self.room_bytes - compound.HEADER_SIZE_BYTES
        room_bytes -= sum(len(part) + overhead for part in parts)
        if room_bytes < 0 and len(messages) > 1:
            # Only the longest of names, under the longest of labels: each has its own datagram.
            for message in messages:
                self.send(target, message)
            return
        if len(self.queue) and room_bytes > 0:
            parts += self._take(room_bytes, compound.PARTS_MAX - len(parts))
        self._outbox.send(self._codec.encode(parts), target)

    def spread(self, name: str, message: Message, now: float) -> None:
        """Queue the newest rumour about member `name`."""
        self.queue.put(name, encode(message))
        self._wake(now)

    def spread_user(self, message: Message, now: float) -> None:
        """Queue a rumour of the application above."""
        self.queue.put_user(encode(message))
        self._wake(now)

    def _wake(self, now: float) -> None:
        if not self._is_gossip_due:
            self._is_gossip_due = True
            # A random wait lets news gather and keeps members out of step; half an interval on
            # average would be the reference's, which never sleeps.
            wait_s = self._random.random() * self._config.gossip_interval_s / 2
            self._timers.set(now + wait_s, GossipDue())

    def gossip(self, now: float) -> None:
        """Send one round of rumours, and plan the next while there are any."""
        self._is_gossip_due = False
        targets = self._table.gossip_order.take(
            self._config.gossip_fanout, lambda name: self._hears_gossip(name, now)
        )
        for name in targets:
            self.gossip_to(name)
        if targets and len(self.queue):
            self._is_gossip_due = True
            self._timers.set(now + self._config.gossip_interval_s, GossipDue())

    def gossip_to(self, name: str) -> None:
        """Send rumours to one member, if there are any."""
        parts = self._take(self.room_bytes - compound.HEADER_SIZE_BYTES, compound.PARTS_MAX)
        if not parts:
            return
        member = self._table[name]
        with_crc = member.versions.protocol_max >= _CRC_PROTOCOL
        self._outbox.send(self._codec.encode(parts, with_crc=with_crc), member.address)

    def send_parts(self, target: Address, parts: Sequence[bytes]) -> None:
        """Send encoded messages as they are."""
        self._outbox.send(self._codec.encode(parts), target)

    def _take(self, room_bytes: int, count_max: int) -> list[bytes]:
        limit = send_count_max(self._config, self._table.live_count)
        return self.queue.take(room_bytes, limit, count_max)

    def _hears_gossip(self, name: str, now: float) -> bool:
        member = self._table[name]
        if name == self._table.own_name or member.state == MemberState.LEFT:
            return False
        # The dead may be wrong about themselves, or we about them: they hear for a while.
        is_fresh = now - member.changed_at <= self._config.gossip_to_dead_s
        return member.state != MemberState.DEAD or is_fresh
