"""Agents in WebAssembly move between nodes; their files follow by digest."""

from tests import wasm_guests
from tests.clustered_nodes import cluster_of, until
from tests.opened_node import ask, deploy


async def test_an_agent_that_moves_takes_its_file_along(tmp_path):
    async with cluster_of(tmp_path, "one", "two") as (one, two):
        digest = await one.guests.put_module(wasm_guests.answering('{"content":"here"}'))
        await deploy(
            one,
            'name = "Guest"\nkind = "wasm"\ncapabilities = ["test"]\n'
            f'[wasm]\nsha256 = "{digest}"\n',
        )
        await until(lambda: list(two.cluster.fleet.holders("Guest")) == ["one"])
        one.cluster.fleet.move("Guest", "two")
        await until(lambda: two.roster.find("Guest") is not None)
        assert await two.guests.module_size(digest) is not None
        answer = await ask(two, receiver="Guest")
    assert answer.body() == "here"


async def test_a_node_that_keeps_a_definition_keeps_the_file_too(tmp_path):
    async with cluster_of(tmp_path, "one", "two") as (one, two):
        digest = await one.guests.put_module(wasm_guests.answering('{"content":1}'))
        await deploy(
            one,
            'name = "Guest"\nkind = "wasm"\ncapabilities = ["test"]\n'
            f'[wasm]\nsha256 = "{digest}"\n',
        )
        assert await one.cluster.fleet.secure("Guest") == 1
        assert await two.guests.module_size(digest) is not None
