"""MCP servers in WebAssembly through REST: deployed, listed, called, limited, rolled back, kept."""

import hashlib

from tests import wasm_guests
from tests.rest_node import rest_node


async def upload(rest, module):
    """Send a file; return its digest."""
    async with rest.session.post(
        rest.address("modules"), data=module, headers={"Content-Type": "application/wasm"}
    ) as response:
        assert response.status == 201, await response.text()
        return (await response.json())["sha256"]


async def deploy_server(rest, module, *, name="calc", more="", status=201, query=""):
    digest = await upload(rest, module)
    source = f'name = "{name}"\n[wasm]\nsha256 = "{digest}"\n{more}'
    return await rest.post(f"tool-servers{query}", {"source": source}, status=status)


async def test_a_file_is_kept_under_its_digest(tmp_path):
    async with rest_node(tmp_path) as rest:
        digest = await upload(rest, wasm_guests.ADDER)
        found = await rest.get(f"modules/{digest}")
        await rest.get(f"modules/{'0' * 64}", status=404)
    assert digest == hashlib.sha256(wasm_guests.ADDER).hexdigest()
    assert found["size_bytes"] == len(wasm_guests.ADDER)


async def test_what_is_no_webassembly_is_refused(tmp_path):
    async with (
        rest_node(tmp_path) as rest,
        rest.session.post(
            rest.address("modules"),
            data=b"#!/bin/sh\n",
            headers={"Content-Type": "application/wasm"},
        ) as response,
    ):
        assert response.status == 422
        assert (await response.json())["code"] == "invalid_module"


async def test_the_tools_of_a_server_are_listed_and_called_like_all_others(tmp_path):
    async with rest_node(tmp_path) as rest:
        await deploy_server(rest, wasm_guests.ADDER)
        listed = {tool["name"]: tool for tool in (await rest.get("tools"))["items"]}
        answer = await rest.post("tools/calc.add/call", {"arguments": {"a": 4, "b": 3}})
        shown = await rest.get("tool-servers/calc")
    assert listed["calc.add"]["read_only"]
    assert answer == {"tool": "calc.add", "is_error": False, "content": 7}
    assert shown["calls"] == 1


async def test_arguments_that_do_not_fit_the_schema_never_reach_the_guest(tmp_path):
    async with rest_node(tmp_path) as rest:
        await deploy_server(rest, wasm_guests.ADDER)
        problem = await rest.post(
            "tools/calc.add/call", {"arguments": {"a": "one", "b": 3}}, status=422
        )
        shown = await rest.get("tool-servers/calc")
    assert problem["code"] == "invalid_request"
    assert shown["calls"] == 0


async def test_a_server_is_there_again_after_a_restart(tmp_path):
    async with rest_node(tmp_path) as rest:
        await deploy_server(rest, wasm_guests.ADDER)
    async with rest_node(tmp_path) as rest:
        answer = await rest.post("tools/calc.add/call", {"arguments": {"a": 1, "b": 1}})
    assert answer["content"] == 2


async def test_an_earlier_version_can_be_brought_back(tmp_path):
    async with rest_node(tmp_path) as rest:
        await deploy_server(rest, wasm_guests.ADDER)
        second = await deploy_server(rest, wasm_guests.ADDER, more='[limits]\ntime = "1s"\n')
        back = await rest.post("tool-servers/calc/rollback")
    assert (second["number"], back["number"]) == (2, 1)


async def test_a_version_that_asks_for_more_waits_for_approval(tmp_path):
    more = '[grants]\nkv = "1KB"\n'
    async with rest_node(tmp_path) as rest:
        await deploy_server(rest, wasm_guests.ADDER)
        problem = await deploy_server(rest, wasm_guests.ADDER, more=more, status=409)
        await deploy_server(rest, wasm_guests.ADDER, more=more, query="?approve_grants=true")
        shown = await rest.get("tool-servers/calc")
    assert "kv = 1000" in problem["detail"]
    assert shown["grants"] == ["kv = 1000"]


async def test_a_removed_server_takes_its_tools_along(tmp_path):
    async with rest_node(tmp_path) as rest:
        await deploy_server(rest, wasm_guests.ADDER)
        await rest.call("DELETE", "tool-servers/calc", status=204)
        names = [tool["name"] for tool in (await rest.get("tools"))["items"]]
        await rest.get("tool-servers/calc", status=404)
    assert "calc.add" not in names


async def test_a_manifest_with_a_mistake_says_where(tmp_path):
    async with rest_node(tmp_path) as rest:
        problem = await rest.post(
            "tool-servers",
            {"source": 'name = "x"\n[wasm]\nsha256 = "short"\n[grant]\nkv = 1\n'},
            status=422,
        )
    fields = {place["field"]: place["line"] for place in problem["errors"]}
    assert fields["wasm.sha256"] == 3
    assert "grant" in fields


async def test_an_agent_is_no_server_of_tools(tmp_path):
    async with rest_node(tmp_path) as rest:
        problem = await deploy_server(rest, wasm_guests.COUNTER, status=422)
    assert problem["code"] == "invalid_module"


async def test_descriptions_that_hide_something_are_refused(tmp_path):
    listed = '[{"name":"t","description":"good\\u200b","inputSchema":{"type":"object"}}]'
    module = wasm_guests.guest(
        f"""(func (export "list_tools") (result i32)
               (call $result (i32.const 1024) (i32.const {len(listed)})))
            (func (export "handle_tool_call") (param i32 i32) (result i32) i32.const 0)""",
        (1024, listed),
    )
    async with rest_node(tmp_path) as rest:
        problem = await deploy_server(rest, module, status=422)
    assert "nobody sees" in problem["detail"]


async def test_a_server_that_is_stopped_too_often_is_put_into_quarantine(tmp_path):
    listed = '[{"name":"spin"}]'
    module = wasm_guests.guest(
        f"""(func (export "list_tools") (result i32)
               (call $result (i32.const 1024) (i32.const {len(listed)})))
            (func (export "handle_tool_call") (param i32 i32) (result i32)
               (loop br 0) i32.const 0)""",
        (1024, listed),
    )
    async with rest_node(tmp_path) as rest:
        await deploy_server(rest, module, more='[limits]\ncpu = "10ms"\n')
        for _ in range(5):
            stopped = await rest.post("tools/calc.spin/call", {"arguments": {}})
            assert stopped["content"]["code"] == "stopped"
        await rest.post("tools/calc.spin/call", {"arguments": {}}, status=502)
        shown = await rest.get("tool-servers/calc")
    assert shown["state"] == "quarantined"
