"""`ticket_system`: what people asked of the agent and what became of it, beyond one conversation.

It never deletes, and every change is kept beside what was there before; so a provider that only
guesses may open a ticket when it is asked to in so many words.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from caxton_node.domain.tool import ToolResult, ToolSpec
from caxton_node.tools.outcome import Mistake, reports_mistakes, shortened
from caxton_node.tools.tickets import (
    PRIORITIES,
    STATUSES,
    Change,
    Entry,
    NewTicket,
    Ticket,
    TicketError,
    TicketFilter,
    Tickets,
)
from caxton_node.tools.tool import ToolContext

__all__ = ["TicketSystem"]

FILE_NAME: Final = "tickets.db"
LISTED_MAX: Final = 50
ENTRIES_SHOWN_MAX: Final = 20
WORDS_MAX: Final = 10
TEXT_LENGTH_MAX: Final = 8_000
DESCRIPTION_SHOWN_MAX: Final = 2_000

_NUMBER: Final = re.compile(r"(?:T-?|#)?([1-9][0-9]{0,8})", re.ASCII | re.IGNORECASE)


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class TicketSystem:
    """Opens, finds and changes tickets.

    Args:
        clock_ms: Tells the time, in milliseconds since 1970, UTC.
    """

    spec = ToolSpec(
        name="ticket_system",
        description=(
            "Create, list, get, update and comment on tickets, such as support requests. create "
            "takes a title; list finds those that match; get shows one with its history; update "
            "changes its status, priority, assignee or title."
        ),
        parameters={
            "type": "object",
            "properties": {
                "operation": {
                    "type": "string",
                    "enum": ["create", "list", "get", "update", "comment"],
                    "description": "What to do.",
                },
                "ticket": {
                    "type": "string",
                    "maxLength": 12,
                    "description": "For get, update and comment: the ticket, such as T-7.",
                },
                "title": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 200,
                    "description": "For create and update: what it is about, in one line.",
                },
                "description": {
                    "type": "string",
                    "maxLength": TEXT_LENGTH_MAX,
                    "description": "For create: all that is known.",
                },
                "text": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": TEXT_LENGTH_MAX,
                    "description": "For comment: the remark; for update: why.",
                },
                "status": {
                    "type": "string",
                    "enum": [*STATUSES, "active"],
                    "description": "For update; for list also active: neither resolved nor closed.",
                },
                "priority": {
                    "type": "string",
                    "enum": list(PRIORITIES),
                    "description": "For create, update and list.",
                },
                "assignee": {
                    "type": "string",
                    "maxLength": 100,
                    "description": "For create, update and list: who takes care of it.",
                },
                "query": {
                    "type": "string",
                    "maxLength": 200,
                    "description": "For list: words that all occur in it.",
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": LISTED_MAX,
                    "default": 20,
                    "description": "For list: how many at most.",
                },
            },
            "required": ["operation"],
            "additionalProperties": False,
        },
        config_schema={
            "type": "object",
            "properties": {
                "default_priority": {"type": "string", "enum": list(PRIORITIES)},
                "default_assignee": {"type": "string", "maxLength": 100},
            },
            "additionalProperties": False,
        },
    )

    def __init__(self, *, clock_ms: Callable[[], int] = _wall_clock_ms) -> None:
        self._clock_ms = clock_ms

    @reports_mistakes
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Do `operation`."""
        tickets = Tickets(context.folder / FILE_NAME)
        try:
            content = await asyncio.to_thread(self._do, tickets, arguments, context)
        except TicketError as error:
            raise Mistake(str(error)) from error
        return ToolResult(content=content)

    def _do(
        self, tickets: Tickets, arguments: Mapping[str, Any], context: ToolContext
    ) -> dict[str, Any]:
        match arguments["operation"]:
            case "create":
                new = _new_ticket(arguments, context)
                ticket = tickets.open(new, effect_id=context.effect_id, now_ms=self._clock_ms())
                return _shown(ticket)
            case "list":
                found, total = tickets.list(_filter(arguments), limit=arguments["limit"])
                return {"tickets": [_listed(ticket) for ticket in found], "total": total}
            case "get":
                ticket, entries, count = tickets.get(
                    _number(arguments), entry_count_max=ENTRIES_SHOWN_MAX
                )
                history = [_entry(entry) for entry in entries]
                return _shown(ticket) | {"history": history, "history_total": count}
            case _:
                ticket = tickets.change(
                    _number(arguments),
                    _change(arguments),
                    effect_id=context.effect_id,
                    now_ms=self._clock_ms(),
                )
                return _shown(ticket)


def _new_ticket(arguments: Mapping[str, Any], context: ToolContext) -> NewTicket:
    title = _one_line(_needed(arguments, "title"))
    if not title:
        raise Mistake("The title is blank.")
    config = context.config
    return NewTicket(
        title=title,
        description=_storable(arguments.get("description", "")),
        priority=arguments.get("priority") or config.get("default_priority", "normal"),
        assignee=_one_line(arguments.get("assignee") or config.get("default_assignee", "")),
        conversation_id=context.conversation_id,
    )


def _filter(arguments: Mapping[str, Any]) -> TicketFilter:
    words = _storable(arguments.get("query", "")).split()
    if len(words) > WORDS_MAX:
        raise Mistake(f"`query` has {len(words)} words; at most {WORDS_MAX}.")
    return TicketFilter(
        status=arguments.get("status"),
        priority=arguments.get("priority"),
        assignee=_maybe_one_line(arguments.get("assignee")),
        words=words,
    )


def _change(arguments: Mapping[str, Any]) -> Change:
    text = _storable(arguments.get("text", ""))
    if arguments["operation"] == "comment":
        if not text:
            raise Mistake("For comment, `text` is needed.")
        return Change(text=text)
    if arguments.get("status") == "active":
        raise Mistake(f"`status` is to be one of {', '.join(STATUSES)}.")
    return Change(
        status=arguments.get("status"),
        priority=arguments.get("priority"),
        assignee=_maybe_one_line(arguments.get("assignee")),
        title=_one_line(arguments.get("title", "")) or None,
        text=text,
    )


def _number(arguments: Mapping[str, Any]) -> int:
    told = _needed(arguments, "ticket").strip()
    match = _NUMBER.fullmatch(told)
    if match is None:
        raise Mistake(f"{told!r} is no ticket.", hint="Tickets are called T-1, T-2, …")
    return int(match[1])


def _needed(arguments: Mapping[str, Any], name: str) -> str:
    if name not in arguments:
        raise Mistake(f"For {arguments['operation']}, `{name}` is needed.")
    return str(arguments[name])


def _storable(text: str) -> str:
    """Return a text without blanks around it, and without halves of characters."""
    return text.strip().encode("utf-8", "replace").decode()


def _one_line(text: str) -> str:
    return " ".join(_storable(text).split())


def _maybe_one_line(text: str | None) -> str | None:
    return None if text is None else _one_line(text)


def _listed(ticket: Ticket) -> dict[str, Any]:
    """Return a ticket as a line of a list."""
    assignee = {"assignee": ticket.assignee} if ticket.assignee else {}
    return {
        "ticket": f"T-{ticket.number}",
        "title": ticket.title,
        "status": ticket.status,
        "priority": ticket.priority,
        **assignee,
        "changed_at": _instant(ticket.changed_at),
    }


def _shown(ticket: Ticket) -> dict[str, Any]:
    """Return a ticket with all that it says."""
    description = shortened(ticket.description, DESCRIPTION_SHOWN_MAX)
    described = {"description": description} if description else {}
    return _listed(ticket) | described | {"opened_at": _instant(ticket.opened_at)}


def _entry(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {"at": _instant(entry.at)}
    if entry.changes:
        shown["changes"] = {
            field: f"{was or 'none'} → {now or 'none'}"
            for field, (was, now) in entry.changes.items()
        }
    if entry.text:
        shown["text"] = shortened(entry.text, 500)
    return shown


def _instant(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
