"""What waits for the next commit: journal entries and ordinary writes, and their encoding.

A batch is gathered on the event loop, one cheap `add` a call, and turned into the four values
of ONE statement by `journal_parameters` whoever writes it. Statements are what must be few: each
step of SQLite releases and re-takes the interpreter lock, and next to a busy event loop that is
milliseconds, not microseconds. See `migrations/0001_store.sql`, view `journal`. The messages of a
large batch take a statement of their own, which costs them less: see `many_rows.py`.

State and encoding only: no thread, no loop, no file.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import msgspec
import orjson

from caxton_node.domain.message import Message, encode_message
from caxton_node.store.ends import pack_ends
from caxton_node.store.protocol import Committed, Mark, Settlement

__all__ = [
    "BATCH_BYTES_MAX",
    "BATCH_ENTRIES_MAX",
    "Batch",
    "JournalCall",
    "RowKind",
    "RowsWrite",
    "SingleWrite",
    "Write",
]

BATCH_ENTRIES_MAX: Final = 2_048
"""A fuller batch is closed and the next one begun. One call is never split."""

BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
"""Likewise, for the packed messages of a batch."""


class RowKind(Enum):
    """Ordinary writes that commute, so that all of a kind in a batch are one statement."""

    STEP = auto()
    USAGE = auto()
    LOG = auto()


@dataclass(slots=True)
class RowsWrite:
    """Rows for one table, written together with others of their kind."""

    kind: RowKind
    rows: Sequence[tuple[Any, ...]]
    blob: bytes = b""
    """For a step: the data of its only row."""
    done: asyncio.Future[Any] | None = None


@dataclass(slots=True)
class SingleWrite:
    """A write that stands alone, in order among the others.

    `apply` runs in the writer's thread, inside the batch's transaction. When it raises, it must
    have changed nothing.
    """

    apply: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any] | None = None


Write = RowsWrite | SingleWrite


class JournalCall(msgspec.Struct, frozen=True):
    """One `append` that nobody will be told the end of; kept to be tried again."""

    accepted: tuple[tuple[int, Message], ...]
    settled: tuple[Settlement, ...]

    @property
    def entry_count(self) -> int:
        """How many messages and settlements it has."""
        return len(self.accepted) + len(self.settled)


AcceptedRow = tuple[int, str, str, int, str, str, bytes]
"""Number, id, conversation, instant of acceptance, sender, receiver; the packed message."""


@dataclass(slots=True)
class Batch:
    """Entries that are committed together."""

    accepted: list[tuple[int, Message]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """The same messages, packed."""
    size_bytes: int = 0
    """Of the bodies, added up."""
    settled: list[Settlement] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    callbacks: list[Committed] = field(default_factory=list)
    silent: list[JournalCall] = field(default_factory=list)
    """The calls that came without a callback."""
    writes: list[Write] = field(default_factory=list)
    entry_count: int = 0
    """How many messages, settlements and ordinary writes it holds. Asked at every message, so
    it is kept instead of counted."""

    @property
    def is_full(self) -> bool:
        """Whether the next entry belongs to another batch."""
        return self.entry_count >= BATCH_ENTRIES_MAX or self.size_bytes >= BATCH_BYTES_MAX

    def add(
        self,
        accepted: Sequence[tuple[int, Message]],
        settled: Sequence[Settlement],
        committed: Committed | None,
        marks: Sequence[Mark] = (),
        packed: Sequence[bytes] = (),
    ) -> None:
        """Add one call of `append`.

        Raises:
            TypeError | ValueError: A message cannot be packed (a bug of whoever built it);
                nothing was added.
        """
        # Counted only once nothing can fail any more.
        entry_count = len(accepted) + len(settled)
        if accepted:
            # Packing here, not in the writer, keeps a bad message from failing all the others.
            bodies = packed or [encode_message(message) for _, message in accepted]
            assert len(bodies) == len(accepted), "each message has its body"
            for body in bodies:
                self.size_bytes += len(body)
            self.accepted += accepted
            self.bodies += bodies
        self.settled += settled
        if marks:
            self.marks += marks
            entry_count += len(marks)
        self.entry_count += entry_count
        if committed is not None:
            self.callbacks.append(committed)
        else:
            self.silent.append(JournalCall(tuple(accepted), tuple(settled)))

    def add_write(self, write: Write) -> None:
        """Add one ordinary write."""
        self.writes.append(write)
        self.entry_count += 1

    def extend(self, later: "Batch") -> None:
        """Add everything of `later`, after what is here."""
        self.accepted += later.accepted
        self.bodies += later.bodies
        self.size_bytes += later.size_bytes
        self.settled += later.settled
        self.marks += later.marks
        self.callbacks += later.callbacks
        self.silent += later.silent
        self.writes += later.writes
        self.entry_count += later.entry_count

    def rows(self) -> list[AcceptedRow]:
        """Return the new messages as the journal has them."""
        return [
            (
                seq,
                message.id,
                message.conversation_id,
                message.created_at,
                message.sender,
                message.receiver,
                body,
            )
            for (seq, message), body in zip(self.accepted, self.bodies, strict=True)
        ]

    def journal_parameters(
        self, mark: int, *, are_accepted_apart: bool = False
    ) -> tuple[str, bytes, str, str]:
        """Return the parameters of `accept_and_settle`.

        Args:
            mark: The low-water mark; settlements below it also leave the list of stragglers.
            are_accepted_apart: Whether the new messages are written by another statement.
        """
        late = [end.seq for end in self.settled if end.seq < mark]
        rows: list[tuple[int | str, ...]] = []
        bodies: list[bytes] = []
        if not are_accepted_apart:
            bodies = self.bodies
            offset = 1
            for row in self.rows():
                size_bytes = len(row[6])
                rows.append((*row[:6], offset, size_bytes))
                offset += size_bytes
        return (
            orjson.dumps(rows).decode(),
            b"".join(bodies),
            orjson.dumps(pack_ends(self.settled)).decode(),
            orjson.dumps(late).decode(),
        )

    def mark_rows(self) -> str:
        """Return the parameter of `mark`."""
        rows = [(one.seq, one.at, one.agent, one.attempts, one.node) for one in self.marks]
        return orjson.dumps(rows).decode()
