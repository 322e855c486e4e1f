"""Tickets: opened once, changed without losing anything, found again, and bounded."""

import dataclasses
import sqlite3

import pytest

from caxton_node.tools import tickets
from caxton_node.tools.builtin.ticket_system import TicketSystem
from tests.tool_bench import call, tool_context


class Desk:
    """A tool with a clock of its own, and a new effect for each call."""

    def __init__(self, context):
        self.context = context
        self.now_ms = 1_700_000_000_000
        self.tool = TicketSystem(clock_ms=lambda: self.now_ms)
        self.effect_count = 0

    async def __call__(self, operation, **arguments):
        self.effect_count += 1
        self.now_ms += 1_000
        return await self.again(operation, **arguments)

    async def again(self, operation, **arguments):
        context = dataclasses.replace(self.context, effect_id=f"msg-1/{self.effect_count}")
        return await call(self.tool, context, operation=operation, **arguments)


@pytest.fixture
async def desk(tmp_path):
    return Desk(await tool_context(tmp_path))


def titles(result):
    return [ticket["title"] for ticket in result.content["tickets"]]


async def test_a_ticket_is_opened(desk):
    result = await desk("create", title=" The printer\nis broken ", description="Second floor")
    assert result.content == {
        "ticket": "T-1",
        "title": "The printer is broken",
        "status": "open",
        "priority": "normal",
        "description": "Second floor",
        "changed_at": "2023-11-14T22:13:21Z",
        "opened_at": "2023-11-14T22:13:21Z",
    }


async def test_the_same_effect_opens_one_ticket(desk):
    await desk("create", title="Once")
    repeated = await desk.again("create", title="Once")
    assert repeated.content["ticket"] == "T-1"
    assert (await desk("list")).content["total"] == 1


async def test_the_same_effect_comments_once(desk):
    await desk("create", title="Once")
    await desk("comment", ticket="T-1", text="Hello")
    await desk.again("comment", ticket="T-1", text="Hello")
    assert (await desk("get", ticket="T-1")).content["history_total"] == 1


async def test_a_change_is_kept_beside_what_was_there_before(desk):
    await desk("create", title="Printer", assignee="ada")
    await desk("comment", ticket="T-1", text="It is on fire.")
    await desk("update", ticket="#1", status="in_progress", priority="urgent", text="Now!")
    await desk("update", ticket="t-1", assignee="")
    ticket = (await desk("get", ticket="1")).content
    assert (ticket["status"], ticket["priority"], ticket.get("assignee")) == (
        "in_progress", "urgent", None,
    )  # fmt: skip
    assert [entry.get("text") for entry in ticket["history"]] == ["It is on fire.", "Now!", None]
    assert ticket["history"][1]["changes"] == {
        "status": "open → in_progress",
        "priority": "normal → urgent",
    }
    assert ticket["history"][2]["changes"] == {"assignee": "ada → none"}


async def test_a_change_that_changes_nothing_is_a_mistake(desk):
    await desk("create", title="Printer")
    result = await desk("update", ticket="T-1", status="open")
    assert result.is_error
    assert result.content["error"] == "T-1 is like that already: nothing would change."


async def test_tickets_are_found_by_what_they_say(desk):
    await desk("create", title="Ärger with 100% of printers", priority="high")
    await desk("create", title="No network", description="Since the printer broke", assignee="Ada")
    await desk("create", title="Coffee")
    await desk("update", ticket="T-3", status="resolved")
    assert titles(await desk("list")) == ["Coffee", "No network", "Ärger with 100% of printers"]
    assert titles(await desk("list", status="active", limit=1)) == ["No network"]
    assert (await desk("list", status="active", limit=1)).content["total"] == 2
    assert titles(await desk("list", query="PRINTER network")) == ["No network"]
    assert titles(await desk("list", query="ärger 100%")) == ["Ärger with 100% of printers"]
    assert titles(await desk("list", query="100_")) == []
    assert titles(await desk("list", assignee="ada")) == ["No network"]
    assert titles(await desk("list", priority="high")) == ["Ärger with 100% of printers"]


async def test_where_nothing_was_opened_nothing_is_found_and_no_file_made(desk):
    assert (await desk("list")).content == {"tickets": [], "total": 0}
    assert (await desk("get", ticket="T-1")).content == {"error": "There is no ticket T-1."}
    assert not list(desk.context.folder.glob("tickets*"))


@pytest.mark.parametrize(
    ("operation", "arguments", "expected"),
    [
        ("create", {}, "For create, `title` is needed."),
        ("create", {"title": " \n"}, "The title is blank."),
        ("get", {}, "For get, `ticket` is needed."),
        ("get", {"ticket": "T-0"}, "'T-0' is no ticket."),
        ("comment", {"ticket": "T-1"}, "For comment, `text` is needed."),
        ("update", {"ticket": "T-9", "status": "open"}, "There is no ticket T-9."),
        ("update", {"ticket": "T-9", "status": "active"}, "`status` is to be one of open, "),
        ("list", {"query": "a " * 11}, "`query` has 11 words; at most 10."),
    ],
)
async def test_mistakes_are_told(desk, operation, arguments, expected):
    result = await desk(operation, **arguments)
    assert result.is_error
    assert result.content["error"].startswith(expected)


async def test_what_an_agents_file_says_stands_in_for_what_is_not_said(tmp_path):
    config = {"default_priority": "low", "default_assignee": "team"}
    desk = Desk(await tool_context(tmp_path, config=config))
    plain = (await desk("create", title="A")).content
    said = (await desk("create", title="B", priority="high", assignee="ada")).content
    assert (plain["priority"], plain["assignee"]) == ("low", "team")
    assert (said["priority"], said["assignee"]) == ("high", "ada")


async def test_tickets_are_bounded(desk, monkeypatch):
    monkeypatch.setattr(tickets, "TICKET_COUNT_MAX", 1)
    monkeypatch.setattr(tickets, "ENTRY_COUNT_MAX", 1)
    await desk("create", title="A")
    await desk("comment", ticket="T-1", text="a")
    assert "1 tickets, which is the most" in (await desk("create", title="B")).content["error"]
    full = await desk("comment", ticket="T-1", text="b")
    assert "1 entries, which is the most" in full.content["error"]


async def test_half_a_character_does_no_harm(desk):
    result = await desk("create", title="broken \ud83d")
    assert result.content["title"] == "broken ?"


async def test_a_damaged_file_is_told_and_left_alone(desk):
    desk.context.folder.mkdir(parents=True, exist_ok=True)
    path = desk.context.folder / "tickets.db"
    path.write_bytes(b"no database at all" * 100)
    result = await desk("create", title="A")
    assert result.content == {"error": "The tickets cannot be used: file is not a database."}
    assert path.read_bytes().startswith(b"no database")


async def test_a_file_of_a_newer_version_is_refused(desk):
    await desk("create", title="A")
    with sqlite3.connect(desk.context.folder / "tickets.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer version" in (await desk("list")).content["error"]
