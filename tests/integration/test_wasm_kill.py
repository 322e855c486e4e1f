"""A real node killed while versions of a guest take over from each other: nothing is half there."""

import asyncio
from contextlib import suppress

import aiohttp

from tests import wasm_guests
from tests.node_process import node_process

API = "/api/v1"


def source(digest, version):
    return (
        f'name = "Counter"\nkind = "wasm"\nversion = "1.{version}.0"\n'
        f'capabilities = ["counting"]\n[wasm]\nsha256 = "{digest}"\n'
    )


async def post(session, url, body, **more):
    async with session.post(url, json=body, **more) as response:
        return response.status, await response.json()


async def ask(session, node):
    status, answer = await post(
        session, f"{node.url}{API}/agents/Counter/chat", {"message": "count"}
    )
    assert status == 200, answer
    return answer


async def test_a_node_killed_during_a_new_version_has_whole_versions_only(tmp_path):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        async with node_process(tmp_path) as node:
            async with session.post(
                f"{node.url}{API}/modules",
                data=wasm_guests.COUNTER,
                headers={"Content-Type": "application/wasm"},
            ) as response:
                digest = (await response.json())["sha256"]
            body = {"source": source(digest, 0), "format": "toml"}
            assert (await post(session, f"{node.url}{API}/agents", body))[0] == 201
            await ask(session, node)

            async def deploy_on():
                with suppress(aiohttp.ClientError):
                    for version in range(1, 1_000):
                        body = {"source": source(digest, version), "format": "toml"}
                        await post(session, f"{node.url}{API}/agents", body)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(deploy_on())
                # Some versions have taken over, and one is about to.
                async with asyncio.timeout(20):
                    while (await versions(session, node))[-1]["number"] < 3:
                        await asyncio.sleep(0.01)
                await node.kill()
        async with node_process(tmp_path) as node:
            kept = await versions(session, node)
            assert [one["number"] for one in kept] == list(range(1, len(kept) + 1))
            await ask(session, node)
            status, back = await post(session, f"{node.url}{API}/agents/Counter/rollback", {})
            assert status == 200, back
            await ask(session, node)


async def versions(session, node):
    async with session.get(f"{node.url}{API}/agents/Counter/versions") as response:
        return sorted((await response.json())["items"], key=lambda one: one["number"])
