"""An agent's tickets: what was asked for and is not done yet, with everything that was done to it.

One SQLite file in the agent's own folder. A ticket is never deleted and never loses anything: a
change is written down beside what was there before. A call that is made again after a crash, under
the same effect id, finds what it did the first time and does nothing.

A replica of the agent on another node has tickets of its own. Blocking: call it in a thread.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

__all__ = [
    "PRIORITIES",
    "STATUSES",
    "Change",
    "Entry",
    "NewTicket",
    "Ticket",
    "TicketError",
    "TicketFilter",
    "Tickets",
]

STATUSES: Final = ("open", "in_progress", "waiting", "resolved", "closed")
PRIORITIES: Final = ("low", "normal", "high", "urgent")

TICKET_COUNT_MAX: Final = 10_000
ENTRY_COUNT_MAX: Final = 500
"""Comments and changes of one ticket."""

BUSY_TIMEOUT_S: Final = 5.0
SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE ticket (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    priority TEXT NOT NULL,
    assignee TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    effect_id TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE entry (
    ticket INTEGER NOT NULL REFERENCES ticket (number),
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    text TEXT NOT NULL,
    changes TEXT NOT NULL,
    effect_id TEXT NOT NULL UNIQUE,
    PRIMARY KEY (ticket, number)
) STRICT;
"""

_BY_NUMBER: Final = """
SELECT number, title, description, status, priority, assignee, conversation_id, opened_at,
    changed_at
FROM ticket WHERE number = ?
"""

_MATCHING: Final = """
FROM ticket
WHERE (:status IS NULL OR status = :status
       OR (:status = 'active' AND status NOT IN ('resolved', 'closed')))
  AND (:priority IS NULL OR priority = :priority)
  AND (:assignee IS NULL OR folded(assignee) = folded(:assignee))
  AND NOT EXISTS (
    SELECT 1 FROM json_each(:words)
    WHERE instr(folded(title || char(10) || description), folded(value)) = 0)
"""

_COUNT: Final = "SELECT count(*)" + _MATCHING

_LIST: Final = (
    "SELECT number, title, description, status, priority, assignee, conversation_id, opened_at,"
    " changed_at" + _MATCHING + "ORDER BY changed_at DESC, number DESC LIMIT :limit"
)


class TicketError(Exception):
    """It cannot be done. The text is for a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicket:
    """What a ticket says when it is opened."""

    title: str
    description: str = ""
    priority: str = "normal"
    assignee: str = ""
    conversation_id: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as it stands."""

    number: int
    title: str
    description: str
    status: str
    priority: str
    assignee: str
    conversation_id: str
    """In which it was opened."""
    opened_at: int
    """Milliseconds since 1970, UTC."""
    changed_at: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What was said about a ticket, or done to it."""

    at: int
    text: str
    changes: Mapping[str, Sequence[str]]
    """Field → what it was and what it became."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a ticket. None leaves a field as it is."""

    status: str | None = None
    priority: str | None = None
    assignee: str | None = None
    title: str | None = None
    text: str = ""
    """Why, or a comment without any change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFilter:
    """Which tickets are listed. None lets all pass."""

    status: str | None = None
    """`active` is everything but resolved and closed."""
    priority: str | None = None
    assignee: str | None = None
    words: Sequence[str] = ()
    """All of them occur in the title or the description, in whatever case."""


class Tickets:
    """The tickets in one file.

    Args:
        path: Of the file; it and its folder are made at the first ticket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, new: NewTicket, *, effect_id: str, now_ms: int) -> Ticket:
        """Open a ticket, or return the one that this effect opened before.

        Raises:
            TicketError: There are too many, or the file cannot be written.
        """
        with self._writing() as connection:
            known = connection.execute(
                "SELECT number FROM ticket WHERE effect_id = ?", (effect_id,)
            ).fetchone()
            if known is not None:
                return _find(connection, *known)
            (count,) = connection.execute("SELECT count(*) FROM ticket").fetchone()
            if count >= TICKET_COUNT_MAX:
                raise TicketError(f"There are {TICKET_COUNT_MAX:,} tickets, which is the most.")
            (number,) = connection.execute(
                "INSERT INTO ticket (title, description, status, priority, assignee,"
                " conversation_id, opened_at, changed_at, effect_id)"
                " VALUES (?, ?, 'open', ?, ?, ?, ?, ?, ?) RETURNING number",
                (
                    new.title,
                    new.description,
                    new.priority,
                    new.assignee,
                    new.conversation_id,
                    now_ms,
                    now_ms,
                    effect_id,
                ),
            ).fetchone()
            return _find(connection, number)

    def change(self, number: int, change: Change, *, effect_id: str, now_ms: int) -> Ticket:
        """Change a ticket, or comment on it, and write down what was done.

        Raises:
            TicketError: There is no such ticket, nothing would change, it has too many entries, or
                the file cannot be written.
        """
        with self._writing() as connection:
            before = _find(connection, number)
            done = connection.execute(
                "SELECT 1 FROM entry WHERE effect_id = ?", (effect_id,)
            ).fetchone()
            if done is not None:
                return before
            wanted = {
                "status": change.status,
                "priority": change.priority,
                "assignee": change.assignee,
                "title": change.title,
            }
            changes = {
                field: [was, value]
                for field, value in wanted.items()
                if value is not None and (was := getattr(before, field)) != value
            }
            if not changes and not change.text:
                raise TicketError(f"T-{number} is like that already: nothing would change.")
            (count,) = connection.execute(
                "SELECT count(*) FROM entry WHERE ticket = ?", (number,)
            ).fetchone()
            if count >= ENTRY_COUNT_MAX:
                raise TicketError(f"T-{number} has {ENTRY_COUNT_MAX} entries, which is the most.")
            connection.execute(
                "INSERT INTO entry (ticket, number, at, text, changes, effect_id)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (number, count + 1, now_ms, change.text, _json(changes), effect_id),
            )
            after = {
                field: getattr(before, field) if value is None else value
                for field, value in wanted.items()
            }
            connection.execute(
                "UPDATE ticket SET title = :title, status = :status, priority = :priority,"
                " assignee = :assignee, changed_at = :now_ms WHERE number = :number",
                after | {"now_ms": now_ms, "number": number},
            )
            return _find(connection, number)

    def get(self, number: int, *, entry_count_max: int) -> tuple[Ticket, list[Entry], int]:
        """Return a ticket, its last entries in order, and how many there are altogether.

        Raises:
            TicketError: There is no such ticket, or the file cannot be read.
        """
        with self._reading() as connection:
            if connection is None:
                raise _absent(number)
            ticket = _find(connection, number)
            rows = connection.execute(
                "SELECT at, text, changes, number FROM entry WHERE ticket = ?"
                " ORDER BY number DESC LIMIT ?",
                (number, entry_count_max),
            ).fetchall()
        entries = [Entry(at, text, msgspec.json.decode(raw)) for at, text, raw, _ in rows]
        return ticket, entries[::-1], rows[0][3] if rows else 0

    def list(self, wanted: TicketFilter, *, limit: int) -> tuple[list[Ticket], int]:
        """Return tickets, those that changed last first, and how many there are altogether.

        Raises:
            TicketError: The file cannot be read.
        """
        values = {
            "status": wanted.status,
            "priority": wanted.priority,
            "assignee": wanted.assignee,
            "words": msgspec.json.encode(wanted.words).decode(),
            "limit": limit,
        }
        with self._reading() as connection:
            if connection is None:
                return [], 0
            (total,) = connection.execute(_COUNT, values).fetchone()
            rows = connection.execute(_LIST, values).fetchall()
        return [Ticket(*row) for row in rows], total

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _telling():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    _bring_to_schema(connection)
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection; None where no ticket was ever opened."""
        with _telling():
            if not self._path.exists():
                yield None
                return
            with closing(self._connect()) as connection:
                yield connection if _schema_version(connection) else None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        # SQLite's own `lower` knows ASCII only.
        connection.create_function("folded", 1, str.casefold, deterministic=True)
        return connection


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what the disk says into what a model can read."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TicketError(f"The tickets cannot be used: {reason}.") from error


def _bring_to_schema(connection: sqlite3.Connection) -> None:
    if _schema_version(connection) == 0:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise TicketError("The tickets were written by a newer version of this program.")
    return int(version)


def _find(connection: sqlite3.Connection, number: int) -> Ticket:
    row = connection.execute(_BY_NUMBER, (number,)).fetchone()
    if row is None:
        raise _absent(number)
    return Ticket(*row)


def _absent(number: int) -> TicketError:
    return TicketError(f"There is no ticket T-{number}.")


def _json(changes: Mapping[str, Sequence[str]]) -> str:
    return msgspec.json.encode(changes).decode()
