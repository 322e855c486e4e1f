"""Settings of the membership machine, with presets to choose from.

Choose a preset and change what you must: `replace(lan(), probe_interval_s=2.0)`. If unsure,
take `lan`. The three timings that matter are the probe interval (how often one member is
asked), the probe timeout (take three times the worst round trip) and the suspicion multiplier
(how long the accused may answer; below 3 a hiccup evicts healthy members, so it is refused).

The presets `lan`, `wan` and `local` carry the timings of memberlist's own, so that mixed rings
agree on how long a suspicion lasts.
"""

from dataclasses import dataclass

from caxton_cluster.errors import InvalidSetting

__all__ = ["SwimConfig", "fast", "lan", "local", "wan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimConfig:
    """Tuning of one member. Every member of a ring should have the same.

    Raises:
        InvalidSetting: Two settings contradict each other, or one is out of its range.
    """

    probe_interval_s: float = 1.0
    """How often one member is probed. Detection and idle traffic scale with it."""
    probe_timeout_s: float = 0.5
    """How long a direct ping may take before helpers are asked. At most the interval."""
    indirect_probe_count: int = 3
    """How many helpers are asked to ping a silent member."""
    nack_fraction: float = 0.8
    """When a helper says that it heard nothing either, as a share of the probe timeout.

    Below 1, so that the word arrives before the round ends (Lifeguard, section IV-A)."""
    suspicion_mult: int = 4
    """Shortest suspicion, in probe intervals times log10 of the members. At least 3."""
    witnessed_patience: float = 1.0
    """Share of the shortest suspicion for who is silent to us, to all our helpers and by stream.

    Below 1 a hanging host is found dead sooner, and a process that stalls has less time."""
    suspicion_max_mult: int = 6
    """Longest suspicion, as a multiple of the shortest."""
    gossip_interval_s: float = 0.2
    """How often rumours are sent while there are any."""
    gossip_fanout: int = 3
    """How many members each round of rumours goes to."""
    retransmit_mult: int = 4
    """Sends of one rumour, times log10 of the members; `retransmit_floor` may be higher."""
    retransmit_floor: int = 12
    """Least sends of one rumour in a large ring; in a ring below this size, one a member.

    Memberlist sends 4 below ten members, and now and then somebody never hears."""
    gossip_to_dead_s: float = 30.0
    """How long the dead still get rumours (they may be wrong about themselves) and stay listed."""
    push_pull_interval_s: float = 30.0
    """How often the whole table is exchanged with one member."""
    rejoin_interval_s: float = 10.0
    """How often a dead, forgotten or seed address is tried, for ever, to heal partitions."""
    reclaim_after_s: float = 1.0
    """How long a name must be dead before a newer incarnation may bring it to a new address."""
    awareness_max: int = 8
    """The local health score stays below this; probing slows down by score + 1."""
    stream_timeout_s: float = 10.0
    """Deadline of one TCP exchange."""
    leave_timeout_s: float = 5.0
    """Longest wait for the news of our leaving to spread."""
    lag_limit_s: float = 0.1
    """How late a timer may run before we blame ourselves instead of the members."""
    datagram_size_bytes: int = 1400
    """Budget of one datagram, all wrapping included. Below the path's MTU minus 48."""
    members_max: int = 4096
    """Most rows in the member table; newcomers beyond it are refused and counted."""
    user_queue_max: int = 1024
    """Most application rumours waiting to be sent; the oldest gives way."""

    def __post_init__(self) -> None:
        _require(self.probe_interval_s > 0, "probe_interval_s", "must be positive")
        _require(
            0 < self.probe_timeout_s <= self.probe_interval_s,
            "probe_timeout_s",
            "must be positive and at most probe_interval_s",
        )
        _require(0 < self.nack_fraction <= 1, "nack_fraction", "must be in (0, 1]")
        _require(self.suspicion_mult >= 3, "suspicion_mult", "must be at least 3")
        _require(0 < self.witnessed_patience <= 1, "witnessed_patience", "must be in (0, 1]")
        _require(self.suspicion_max_mult >= 1, "suspicion_max_mult", "must be at least 1")
        _require(self.gossip_interval_s > 0, "gossip_interval_s", "must be positive")
        _require(self.gossip_fanout >= 1, "gossip_fanout", "must be at least 1")
        _require(self.retransmit_mult >= 1, "retransmit_mult", "must be at least 1")
        _require(self.push_pull_interval_s > 0, "push_pull_interval_s", "must be positive")
        _require(self.rejoin_interval_s > 0, "rejoin_interval_s", "must be positive")
        _require(self.stream_timeout_s > 0, "stream_timeout_s", "must be positive")
        _require(self.awareness_max >= 1, "awareness_max", "must be at least 1")
        _require(self.lag_limit_s > 0, "lag_limit_s", "must be positive")
        _require(
            1152 <= self.datagram_size_bytes <= 65_507,
            "datagram_size_bytes",
            "must be in 1152..65507, to hold one record of full size under label and encryption",
        )
        _require(self.members_max >= 2, "members_max", "must be at least 2")
        _require(self.user_queue_max >= 1, "user_queue_max", "must be at least 1")


def _require(is_valid: bool, name: str, problem: str) -> None:
    if not is_valid:
        raise InvalidSetting(name, problem)


def lan() -> SwimConfig:
    """Return settings for one data centre: a crash or a hang is known everywhere in 3 to 6 s."""
    return SwimConfig(probe_timeout_s=0.4, witnessed_patience=0.65)


def wan() -> SwimConfig:
    """Return settings for links of up to a second's round trip and a few percent loss."""
    return SwimConfig(
        probe_interval_s=5.0,
        probe_timeout_s=3.0,
        suspicion_mult=6,
        gossip_interval_s=0.5,
        gossip_fanout=4,
        gossip_to_dead_s=60.0,
        push_pull_interval_s=60.0,
        rejoin_interval_s=30.0,
        stream_timeout_s=30.0,
        leave_timeout_s=10.0,
    )


def local() -> SwimConfig:
    """Return settings for one host or one rack without loss."""
    return SwimConfig(
        probe_timeout_s=0.2,
        indirect_probe_count=1,
        suspicion_mult=3,
        gossip_interval_s=0.1,
        retransmit_mult=2,
        gossip_to_dead_s=15.0,
        push_pull_interval_s=15.0,
        rejoin_interval_s=5.0,
        stream_timeout_s=1.0,
    )


def fast() -> SwimConfig:
    """Return settings that tell of a crash in under three seconds.

    The price, beside `lan`: two and a half times the idle traffic and CPU, and half the patience
    with a member that stalls. Not for lossy links or hosts that are often overloaded.
    """
    return SwimConfig(
        probe_interval_s=0.4,
        probe_timeout_s=0.16,
        suspicion_mult=3,
        gossip_interval_s=0.1,
        push_pull_interval_s=15.0,
        rejoin_interval_s=5.0,
        reclaim_after_s=0.5,
        stream_timeout_s=2.0,
        lag_limit_s=0.05,
    )
