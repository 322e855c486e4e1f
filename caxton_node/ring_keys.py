"""The encryption keys of a ring, by fingerprint: changed on every node from any of them.

Keys come in by the API and never go out: what is shown is their fingerprints, and who holds them.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from random import Random

from caxton_cluster import Cluster
from caxton_cluster.errors import KeyRejected
from caxton_cluster.key_rotation import KeyRotation
from caxton_cluster.serf.tally import KeyReport
from caxton_node.domain.errors import Conflict, NotFound
from caxton_node.runtime import ring as views

__all__ = ["ClusterKeys"]


class ClusterKeys:
    """The `RingKeys` of a node, by `caxton_cluster`.

    Args:
        cluster: The node's member; its ring speaks serf.
        random: Numbers the questions to the others.
    """

    def __init__(self, cluster: Cluster, random: Random) -> None:
        self._cluster = cluster
        self._rotation = KeyRotation(cluster, random)

    async def list(self) -> views.RingKeyList:
        """Ask every node for its keys; there are none where nothing is encrypted."""
        if not self._cluster.keys():
            return views.RingKeyList((), views.KeyOutcome((), {}, ()))
        report = await self._rotation.list()
        own = list(map(b64encode, self._cluster.keys()))
        others = [key for key in report.holder_counts if key not in own]
        keys = tuple(self._key(key, report) for key in (*own, *sorted(others)))
        return views.RingKeyList(keys, _outcome(report))

    def _key(self, key: bytes, report: KeyReport) -> views.RingKey:
        return views.RingKey(
            fingerprint=views.fingerprint(b64decode(key)),
            is_in_use=b64decode(key) == self._cluster.keys()[0],
            holder_count=report.holder_counts.get(key, 0),
            user_count=report.user_counts.get(key, 0),
        )

    async def install(self, key: bytes) -> views.RingKeyChange:
        """Let every node decrypt with one more key.

        Raises:
            Conflict: `state_conflict`: nothing is encrypted here, or there are too many keys.
        """
        try:
            report = await self._rotation.install(key)
        except KeyRejected as error:
            raise _conflict("installed", error) from None
        return views.RingKeyChange(views.fingerprint(key), _outcome(report))

    async def use(self, fingerprint: str) -> views.RingKeyChange:
        """Let every node encrypt with a key that all of them hold.

        Raises:
            NotFound: `key_not_found`.
            Conflict: `state_conflict`: some node lacks the key, or did not say.
        """
        key = await self._secret(fingerprint)
        try:
            return views.RingKeyChange(fingerprint, _outcome(await self._rotation.use(key)))
        except KeyRejected as error:
            raise _conflict("used", error) from None

    async def remove(self, fingerprint: str) -> views.RingKeyChange:
        """Let every node forget a key that none encrypts with.

        Raises:
            NotFound: `key_not_found`.
            Conflict: `state_conflict`: it is in use, or some node did not say.
        """
        key = await self._secret(fingerprint)
        try:
            return views.RingKeyChange(fingerprint, _outcome(await self._rotation.remove(key)))
        except KeyRejected as error:
            raise _conflict("removed", error) from None

    async def _secret(self, fingerprint: str) -> bytes:
        """Return the key of a fingerprint, ours or one that only others hold."""
        found = _by_fingerprint(dict.fromkeys(map(b64encode, self._cluster.keys())), fingerprint)
        if found is None and self._cluster.keys():
            found = _by_fingerprint((await self._rotation.list()).holder_counts, fingerprint)
        if found is None:
            raise NotFound(
                "key_not_found", f"No key with the fingerprint {fingerprint} is installed"
            )
        return found


def _by_fingerprint(keys: Mapping[bytes, object], fingerprint: str) -> bytes | None:
    for key in map(b64decode, keys):
        if views.fingerprint(key) == fingerprint:
            return key
    return None


def _outcome(report: KeyReport) -> views.KeyOutcome:
    return views.KeyOutcome(report.done, report.failed, report.silent)


def _conflict(what: str, error: KeyRejected) -> Conflict:
    return Conflict("state_conflict", f"The key is not {what}: {error}")
