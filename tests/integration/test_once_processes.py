"""Processes that die in the middle of an effect that must happen once."""

import asyncio

from tests.integration.process_lab import cluster, until
from tests.opened_node import python_agent


def agent(folder, *, pause_s):
    """Return an agent that writes down that its turn begins, and then takes its time."""
    more = f'[parameters]\npath = "{folder / "effects"}"\npause_s = {pause_s}\n'
    (folder / "effects").touch()
    return python_agent("Worker", "WritesDown", more=more)


def effects(folder):
    return [line.split()[1] for line in (folder / "effects").read_text().splitlines()]


def request(name, delivery="exactly_once", conversation="one"):
    return {
        "id": name,
        "performative": "request",
        "sender": "client",
        "receiver": "Worker",
        "content": "work",
        "conversation_id": conversation,
        "delivery": delivery,
    }


async def began(folder, name):
    async def is_so():
        return name in effects(folder)

    await until(is_so)


async def ended(lab, node, name):
    async def is_so():
        found = await lab.get(node, f"messages/{name}")
        return found if found["status"] != "accepted" else None

    return await until(is_so)


async def moves_from(lab, node, *, seen_by):
    """Wait until the agent runs on another node, as another one sees it."""

    async def has_moved():
        home = await lab.only_home(seen_by, "Worker")
        return home if home not in (None, node) else None

    return await until(has_moved)


async def test_both_nodes_die_and_the_effect_is_not_repeated_elsewhere(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        await lab.deploy("b", agent(tmp_path, pause_s=30))
        await lab.runs_at("Worker", "b", seen_by="ac")
        await lab.post("a", "messages", request("m1"))
        await began(tmp_path, "m1")
        await lab.nodes["b"].kill()
        await lab.nodes["a"].kill()
        await lab.start("a")
        home = await moves_from(lab, "b", seen_by="a")
        # A message behind it is taken by the new holder: the first one would have been, too.
        await lab.post("a", "messages", request("m2", "at_least_once", conversation="two"))
        await began(tmp_path, "m2")
        assert (await lab.get("a", "messages/m1"))["status"] == "accepted"
        await lab.start("b")
        found = await ended(lab, "a", "m1")
        assert found["status"] == "dead"
        assert found["reason"].startswith("outcome_unknown")
        assert effects(tmp_path).count("m1") == 1
        assert home in {"a", "c"}


async def test_a_holder_that_had_not_begun_passes_it_on_when_it_is_back(tmp_path):
    async with cluster(tmp_path, "a", "b", "c") as lab:
        await lab.deploy("b", agent(tmp_path, pause_s=0.01))
        await lab.post("b", "agents/Worker/suspend")
        await lab.runs_at("Worker", "b", seen_by="ac")
        await lab.post("a", "messages", request("m1"))
        await _is_at(lab, "b", "m1")
        await lab.nodes["b"].kill()
        home = await moves_from(lab, "b", seen_by="a")
        await lab.post(home, "agents/Worker/resume")
        await lab.start("b")
        assert (await ended(lab, "a", "m1"))["status"] == "delivered"
        assert effects(tmp_path) == ["m1"]


async def _is_at(lab, node, name):
    async def is_so():
        listed = await lab.get(node, "messages?limit=10")
        return any(one["message"]["id"] == name for one in listed["items"])

    await until(is_so)


async def test_the_only_node_dies_in_a_turn_and_does_not_take_it_again(tmp_path):
    async with cluster(tmp_path, "a") as lab:
        await lab.deploy("a", agent(tmp_path, pause_s=0.3))
        await asyncio.gather(*(lab.post("a", "messages", request(f"m{n}")) for n in range(5)))
        await began(tmp_path, "m0")
        await lab.nodes["a"].kill()
        await lab.start("a")
        found = [await ended(lab, "a", f"m{n}") for n in range(5)]
        assert sorted(effects(tmp_path)) == [f"m{n}" for n in range(5)]
        dead = [one for one in found if one["status"] == "dead"]
        assert all(one["reason"].startswith("outcome_unknown") for one in dead)
        assert len(dead) == 1
