"""Every way this package can fail.

The tree, grouped by what the caller can do:

- `ClusterError`
    - `MalformedPacket`: bytes from the network mean nothing; count them and go on.
        - `PacketTooLarge`: they announce or unfold to more than the limit.
        - `NotForUs`: they are well-formed but carry another label or an unknown key.
    - `InvalidSetting`: a configuration value cannot work; mend it.
    - `MetadataTooLarge`: metadata or a message exceeds the wire's limit; shorten it.
    - `KeyRejected`: the key ring refuses a change; see its text.
    - `JoinFailed`: no seed could be reached before the deadline; retry.
    - `NotRunning`: the cluster was not started or is closed; a bug of the caller.
"""

from typing import ClassVar

__all__ = [
    "ClusterError",
    "InvalidSetting",
    "JoinFailed",
    "KeyRejected",
    "MalformedPacket",
    "MetadataTooLarge",
    "NotForUs",
    "NotRunning",
    "PacketTooLarge",
]


class ClusterError(Exception):
    """Something about membership went wrong. `code` is stable across releases."""

    code: ClassVar[str] = "cluster_error"


class MalformedPacket(ClusterError):
    """Bytes from the network that no member would send."""

    code = "malformed_packet"


class PacketTooLarge(MalformedPacket):
    """A length beyond its limit, announced or reached while unfolding."""

    code = "packet_too_large"


class NotForUs(MalformedPacket):
    """Well-formed, but of another cluster: its label or its key is not ours."""

    code = "not_for_us"


class InvalidSetting(ClusterError):
    """A setting that cannot work, and why."""

    code = "invalid_setting"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class MetadataTooLarge(ClusterError):
    """Metadata or a user message longer than the wire allows."""

    code = "metadata_too_large"

    def __init__(self, what: str, size_bytes: int, size_bytes_max: int) -> None:
        super().__init__(f"{what} has {size_bytes} bytes; the limit is {size_bytes_max}")
        self.size_bytes = size_bytes
        self.size_bytes_max = size_bytes_max


class KeyRejected(ClusterError):
    """The key ring refused a change."""

    code = "key_rejected"


class JoinFailed(ClusterError):
    """No seed answered before the deadline."""

    code = "join_failed"

    def __init__(self, attempts: int, reasons: tuple[str, ...]) -> None:
        super().__init__(f"no seed answered in {attempts} attempts: {'; '.join(reasons)}")
        self.attempts = attempts
        self.reasons = reasons


class NotRunning(ClusterError):
    """An operation that needs a running cluster met one that is not."""

    code = "not_running"
