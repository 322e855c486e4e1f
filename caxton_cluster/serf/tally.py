"""What became of a change of keys, member by member, as their answers come in.

A key that some members lack must not be used: what is encrypted with it parts the ring. So
each change waits for everyone who seems to be alive, and says who did not do it and why.

Arithmetic and state only. `key_rotation` asks and waits.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from caxton_cluster.serf.messages import KeyAnswer

__all__ = ["KeyReport", "KeyTally"]

REASON_LENGTH_MAX: Final = 200
"""Characters of a member's reason that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """How a question about keys was answered by the members of a ring."""

    done: tuple[str, ...]
    """Members that did it, by name."""
    failed: Mapping[str, str]
    """Members that would not, and why."""
    silent: tuple[str, ...]
    """Members that seem to be alive and did not answer."""
    holder_counts: Mapping[bytes, int]
    """Keys in base64, and how many of those that answered hold them; of a listing only."""
    user_counts: Mapping[bytes, int]
    """Keys in base64, and how many encrypt with them; older agents of serf do not say."""

    @property
    def is_complete(self) -> bool:
        """Whether everyone did it."""
        return not self.failed and not self.silent


class KeyTally:
    """Answers to one question.

    Args:
        awaited: Names of those who should answer.
    """

    def __init__(self, awaited: tuple[str, ...]) -> None:
        self._awaited = dict.fromkeys(awaited)
        self._answers: dict[str, KeyAnswer] = {}

    @property
    def silent(self) -> tuple[str, ...]:
        """Who has not answered yet."""
        return tuple(name for name in self._awaited if name not in self._answers)

    def hear(self, name: str, answer: KeyAnswer) -> None:
        """Take in an answer; the first of a member counts, a stranger's does not."""
        if name in self._awaited:
            self._answers.setdefault(name, answer)

    def report(self) -> KeyReport:
        """Return what is known by now."""
        holders: Counter[bytes] = Counter()
        users: Counter[bytes] = Counter()
        for answer in self._answers.values():
            holders.update(dict.fromkeys(answer.keys, 1))
            if answer.primary:
                users[answer.primary] += 1
        return KeyReport(
            done=tuple(sorted(name for name, one in self._answers.items() if one.is_done)),
            failed={
                name: one.text[:REASON_LENGTH_MAX] or "it gives no reason"
                for name, one in sorted(self._answers.items())
                if not one.is_done
            },
            silent=tuple(sorted(self.silent)),
            holder_counts=dict(holders),
            user_counts=dict(users),
        )
