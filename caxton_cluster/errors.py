"""Every way this package can fail.

The tree, grouped by what the caller can do:

- `ClusterError`
    - `MalformedPacket`: bytes from the network mean nothing; count them and go on.
        - `PacketTooLarge`: they announce or unfold to more than the limit.
        - `NotForUs`: they are well-formed but carry another label or an unknown key.
    - `InvalidSetting`: a configuration value cannot work; mend it.
    - `MetadataTooLarge`: metadata or a message exceeds the wire's limit; shorten it.
    - `RecordInvalid`: a record of ours is not one that peers would take; mend it.
    - `RegistryFull`: we own as many records as one node may; remove some.
    - `KeyRejected`: the key ring refuses a change; see its text.
    - `JoinFailed`: no seed could be reached before the deadline; retry.
    - `NotRunning`: the cluster was not started or is closed; a bug of the caller.
    - `MetadataError`: the store for cluster metadata did not do it.
        - `MetadataOff`: there is none; configure one, or go without.
        - `MetadataUnavailable`: no member of it answered in time and nothing was done; retry.
        - `OutcomeUnknown`: a write was sent and not answered; read before repeating it.
        - `MetadataDenied`: it does not let us; mend user, password or certificate.
        - `MetadataRefused`: it will never do this, such as a value that is too large; give up.
        - `LeaseLost`: the lease ended, and all that was held by it; start over.
        - `LockBusy`: somebody else holds the lock; retry.
"""

from typing import ClassVar

__all__ = [
    "ClusterError",
    "InvalidSetting",
    "JoinFailed",
    "KeyRejected",
    "LeaseLost",
    "LockBusy",
    "MalformedPacket",
    "MetadataDenied",
    "MetadataError",
    "MetadataOff",
    "MetadataRefused",
    "MetadataTooLarge",
    "MetadataUnavailable",
    "NotForUs",
    "NotRunning",
    "OutcomeUnknown",
    "PacketTooLarge",
    "RecordInvalid",
    "RegistryFull",
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


class RecordInvalid(ClusterError):
    """A record of ours that peers would refuse: a field breaks its bounds."""

    code = "record_invalid"


class RegistryFull(ClusterError):
    """One more record would be more than one node may own."""

    code = "registry_full"

    def __init__(self, records_max: int) -> None:
        super().__init__(f"this node owns {records_max} records already, the limit")
        self.records_max = records_max


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


class MetadataError(ClusterError):
    """The store for cluster metadata did not do what was asked."""

    code = "metadata_error"


class MetadataOff(MetadataError):
    """No store for cluster metadata is configured."""

    code = "metadata_off"

    def __init__(self) -> None:
        super().__init__("no store for cluster metadata is configured")


class MetadataUnavailable(MetadataError):
    """No member of the store answered in time. Nothing was done."""

    code = "metadata_unavailable"


class OutcomeUnknown(MetadataError):
    """A write was sent and not answered: it was done, will yet be done, or never."""

    code = "metadata_outcome_unknown"


class MetadataDenied(MetadataError):
    """The store does not know us, or does not let us do this."""

    code = "metadata_denied"


class MetadataRefused(MetadataError):
    """The store will not do this, however often it is asked."""

    code = "metadata_refused"


class LeaseLost(MetadataError):
    """The lease ended, and with it all that was held by it."""

    code = "lease_lost"


class LockBusy(MetadataError):
    """The lock was not free before the deadline."""

    code = "lock_busy"

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"the lock {name!r} is held by {holder or 'nobody known'}")
        self.name = name
        self.holder = holder
