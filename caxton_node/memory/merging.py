"""Merges an observation into one that says the same, once its vector is known.

For the writer's thread. Nothing is deleted: the newer one becomes history that names the older
one, which grows stronger; deleting the older one makes the newer current again.
"""

import sqlite3
from typing import Final

import numpy as np

from caxton_node.memory.records import Kind
from caxton_node.memory.sameness import says_the_same

__all__ = ["merge"]

COMPARED_MAX: Final = 50
"""Newest observations of the same entity that one is compared with."""

COSINE_MIN: Final = 0.9

_OTHERS: Final = """
SELECT o.id, o.text, v.data FROM observations one
JOIN observations o ON o.entity = one.entity AND o.id <> one.id
JOIN vectors v ON v.observation = o.id AND v.model = :model
WHERE one.id = :id AND one.valid_to IS NULL AND one.kind <> :episode
AND o.valid_to IS NULL AND o.kind = one.kind AND o.attribute = one.attribute
ORDER BY o.valid_from DESC LIMIT :limit
"""

_GROW: Final = """
UPDATE observations SET
    use_count = observations.use_count + 1 + one.use_count,
    used_at = max(observations.used_at, one.used_at),
    strength = 1.0 - (1.0 - observations.strength) * 0.5,
    confidence = max(observations.confidence, one.confidence),
    is_pinned = max(observations.is_pinned, one.is_pinned),
    expires_at = CASE WHEN one.expires_at IS NULL THEN NULL
        ELSE max(coalesce(observations.expires_at, one.expires_at), one.expires_at) END
FROM (SELECT use_count, used_at, confidence, is_pinned, expires_at FROM observations
    WHERE id = :id) AS one
WHERE observations.id = :into
"""


def merge(
    connection: sqlite3.Connection, *, observation_id: int, vector: bytes, model: int, now: int
) -> int | None:
    """Merge an observation with one of its entity that says the same, into the older of them.

    Returns:
        The newer one, which is history now; None when there was nothing to merge.
    """
    others = connection.execute(
        _OTHERS,
        {"id": observation_id, "model": model, "episode": Kind.EPISODE, "limit": COMPARED_MAX},
    ).fetchall()
    if not others:
        return None
    (text,) = connection.execute(
        "SELECT text FROM observations WHERE id = ?", (observation_id,)
    ).fetchone()
    numbers = np.frombuffer(vector, "<f4")
    for other, other_text, data in others:
        is_near = float(np.frombuffer(data, "<f4") @ numbers) >= COSINE_MIN
        if is_near and says_the_same(text, other_text):
            into, gone = sorted((observation_id, int(other)))
            connection.execute(_GROW, {"id": gone, "into": into})
            connection.execute(
                "UPDATE observations SET valid_to = max(?, valid_from), merged_into = ? "
                "WHERE id = ?",
                (now, into, gone),
            )
            return gone
    return None
