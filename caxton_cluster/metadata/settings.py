"""Where etcd is and how to come in."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from caxton_cluster.errors import InvalidSetting

__all__ = ["ENDPOINTS_MAX", "EtcdSettings"]

ENDPOINTS_MAX: Final = 16
"""Etcd itself advises seven members at most."""

_PREFIX: Final = re.compile(r"/(?:[A-Za-z0-9][A-Za-z0-9._-]*/)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """How to reach a cluster of etcd.

    Raises:
        InvalidSetting: Two settings contradict each other, or one is out of its range.
    """

    endpoints: tuple[str, ...]
    """URLs of members, `http://10.0.0.1:2379` or `https://…`; all with the same scheme. One is
    used at a time, the next one when it fails."""
    prefix: str = "/caxton/"
    """Begins and ends with a slash. All keys are below it, so that several clusters can share
    one etcd."""
    user: str = ""
    """Empty where etcd asks nobody for a name."""
    password: str = field(default="", repr=False)
    ca_path: Path | None = None
    """Certificates in PEM of who may have signed those of the members; the system's without it."""
    cert_path: Path | None = None
    """Our own certificate, where etcd asks for one. With `key_path`, or not at all."""
    key_path: Path | None = None
    timeout_s: float = 5.0
    """For a call with all its attempts."""
    attempt_timeout_s: float = 2.0
    """For one attempt at one member; then another one is tried."""
    probe_interval_s: float = 5.0
    """How often an idle store is asked whether it is still there."""

    def __post_init__(self) -> None:
        _require(
            0 < len(self.endpoints) <= ENDPOINTS_MAX, "endpoints", f"1 to {ENDPOINTS_MAX} are used"
        )
        for url in self.endpoints:
            _require(_is_endpoint(url), "endpoints", f"{url!r} is no http://host:port")
        schemes = {urlsplit(url).scheme for url in self.endpoints}
        _require(len(schemes) == 1, "endpoints", "http and https cannot be mixed")
        _require(bool(_PREFIX.fullmatch(self.prefix)), "prefix", "write it as in /caxton/")
        _require(bool(self.user) == bool(self.password), "user", "needs a password, and it a user")
        _require(
            (self.cert_path is None) == (self.key_path is None),
            "cert_path",
            "a certificate and its key go together",
        )
        if not self.is_encrypted:
            given = (self.ca_path, self.cert_path)
            _require(given == (None, None), "endpoints", "certificates need https://")
        _require(
            0 < self.attempt_timeout_s <= self.timeout_s,
            "attempt_timeout_s",
            "must be positive and at most timeout_s",
        )
        _require(self.probe_interval_s > 0, "probe_interval_s", "must be positive")

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return urlsplit(self.endpoints[0]).scheme == "https"


def _is_endpoint(url: str) -> bool:
    try:
        parts: SplitResult = urlsplit(url)
        has_port = parts.port is not None and parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and has_port
        and parts.username is None
        and parts.path in {"", "/"}
        and not parts.query
        and not parts.fragment
    )


def _require(is_valid: bool, name: str, problem: str) -> None:
    if not is_valid:
        raise InvalidSetting(name, problem)
