"""The state of an agent: what was stored is there, whole, for this agent alone, and bounded."""

import asyncio
import sqlite3

import pytest

from caxton_node.tools.builtin.state_tool import StateTool
from caxton_node.tools.states import StateLimits
from tests.tool_bench import call, tool_context


class Desk:
    def __init__(self, context, limits=None):
        self.context = context
        self.tool = StateTool(limits)

    async def __call__(self, action, **arguments):
        return await call(self.tool, self.context, action=action, **arguments)


@pytest.fixture
async def desk(tmp_path):
    return Desk(await tool_context(tmp_path))


@pytest.mark.parametrize("value", [None, 0, "text ✓", [1, {"a": False}], {"deep": [[]]}])
async def test_what_was_stored_is_retrieved_by_another_tool_on_the_same_folder(desk, value):
    assert (await desk("store", key="a/b", value=value)).content == {"key": "a/b", "stored": True}
    again = await Desk(desk.context)("retrieve", key="a/b")
    assert again.content == {"key": "a/b", "found": True, "value": value}


async def test_storing_again_replaces(desk):
    await desk("store", key="n", value=1)
    await desk("store", key="n", value=2)
    assert (await desk("retrieve", key="n")).content["value"] == 2


async def test_what_is_not_there_is_no_error(desk):
    assert (await desk("retrieve", key="n")).content == {"key": "n", "found": False}
    assert (await desk("exists", key="n")).content == {"key": "n", "exists": False}
    assert (await desk("delete", key="n")).content == {"key": "n", "deleted": False}
    assert (await desk("list")).content == {"keys": [], "total": 0}
    assert not (desk.context.folder / "state.db").exists()


async def test_what_was_deleted_is_gone(desk):
    await desk("store", key="n", value=1)
    assert (await desk("delete", key="n")).content["deleted"]
    assert not (await desk("exists", key="n")).content["exists"]


async def test_keys_are_listed_by_how_they_begin_and_nothing_in_a_prefix_is_a_pattern(desk):
    await desk("batch_store", values={"log/1": 1, "log/2": 2, "l_g/3": 3, "other": 4})
    assert (await desk("list", prefix="log/")).content == {"keys": ["log/1", "log/2"], "total": 2}
    assert (await desk("list", prefix="l_g")).content == {"keys": ["l_g/3"], "total": 1}


async def test_several_are_retrieved_and_the_missing_are_named(desk):
    await desk("batch_store", values={"a": 1, "b": [2]})
    found = await desk("batch_retrieve", keys=["b", "x", "a"])
    assert found.content == {"values": {"b": [2], "a": 1}, "missing": ["x"]}


async def test_a_batch_is_stored_whole_or_not_at_all(tmp_path):
    desk = Desk(await tool_context(tmp_path), StateLimits(key_count_max=3))
    await desk("batch_store", values={"a": 1, "b": 2})
    refused = await desk("batch_store", values={"b": 9, "c": 3, "d": 4})
    assert refused.is_error
    assert (await desk("list")).content["total"] == 2
    assert (await desk("retrieve", key="b")).content["value"] == 2


@pytest.mark.parametrize(
    "limits", [StateLimits(value_bytes_max=10), StateLimits(total_bytes_max=10)]
)
async def test_too_much_is_refused_with_the_limit(tmp_path, limits):
    desk = Desk(await tool_context(tmp_path), limits)
    refused = await desk("store", key="a", value="x" * 20)
    assert refused.is_error
    assert "10" in refused.content["error"]


@pytest.mark.parametrize(("action", "name"), [("store", "value"), ("exists", "key")])
async def test_what_is_needed_is_named(desk, action, name):
    refused = await desk(action, **({"key": "a"} if name == "value" else {}))
    assert refused.content["error"] == f"For {action}, `{name}` is needed."


@pytest.mark.parametrize("values", [{"": 1}, {"k" * 257: 1}, {f"k{n}": n for n in range(101)}])
async def test_a_batch_with_a_wrong_key_or_too_many_is_refused(desk, values):
    assert (await desk("batch_store", values=values)).is_error
    assert (await desk("list")).content["total"] == 0


async def test_calls_at_once_lose_nothing(desk):
    await asyncio.gather(*(desk("store", key=f"k{n}", value=n) for n in range(20)))
    assert (await desk("list")).content["total"] == 20


async def test_a_damaged_file_is_reported_to_the_model(desk):
    await desk("store", key="a", value=1)
    path = desk.context.folder / "state.db"
    path.write_bytes(b"no database" * 100)
    refused = await desk("retrieve", key="a")
    assert refused.is_error
    assert "cannot be used" in refused.content["error"]


async def test_a_file_of_a_newer_version_is_left_alone(desk):
    await desk("store", key="a", value=1)
    connection = sqlite3.connect(desk.context.folder / "state.db")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    assert "newer version" in (await desk("store", key="a", value=2)).content["error"]
