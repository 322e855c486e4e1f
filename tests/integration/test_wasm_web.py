"""A guest's way to the web: allowed places only, at every hop, and secrets that it never sees."""

import json

import pytest
from aiohttp import web

from tests import wasm_guests
from tests.integration.test_wasm_agents import deploy_guest
from tests.opened_node import ask, opened_node


@pytest.fixture
async def site():
    """A server of the test's own; yields its port and what it was sent."""
    seen = []

    async def answer(request):
        seen.append(dict(request.headers))
        if request.path == "/away":
            raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
        if request.path == "/post":
            raise web.HTTPFound(f"http://localhost:{port}/")
        return web.Response(text=f"your key is {request.headers.get('X-Key', 'nothing')}")

    application = web.Application()
    application.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    yield port, seen
    await runner.cleanup()


async def fetched(tmp_path, port, request, grants):
    """Return what a guest gets that fetches."""
    module = wasm_guests.asking("http.fetch", json.dumps({"request": request}))
    hosts = f"127.0.0.1:{port},localhost:{port}"
    async with opened_node(tmp_path, tools__allowed_private_hosts=hosts) as node:
        await deploy_guest(node, module, more=f"[grants]\n{grants}\n")
        return (await ask(node, receiver="Guest")).body()


async def test_an_allowed_place_is_fetched(tmp_path, site):
    port, _ = site
    url = f"http://127.0.0.1:{port}/"
    answer = await fetched(tmp_path, port, {"url": url}, f'http = ["http://127.0.0.1:{port}"]')
    assert answer["ok"]["status"] == 200


async def test_another_method_and_another_port_are_denied_by_name(tmp_path, site):
    port, seen = site
    request = {"url": f"http://127.0.0.1:{port}/", "method": "POST", "body": "x"}
    answer = await fetched(tmp_path, port, request, f'http = ["http://127.0.0.1:{port}"]')
    assert answer["error"]["code"] == "denied"
    assert f'http = ["POST http://127.0.0.1:{port}"]' in answer["error"]["message"]
    assert seen == []


@pytest.mark.parametrize("path", ["/away", "/post"])
async def test_a_redirect_to_a_place_that_is_not_allowed_is_denied(tmp_path, site, path):
    port, seen = site
    answer = await fetched(
        tmp_path,
        port,
        {"url": f"http://127.0.0.1:{port}{path}"},
        f'http = ["http://127.0.0.1:{port}"]',
    )
    assert answer["error"]["code"] == "denied"
    assert len(seen) == 1


async def test_a_secret_goes_out_in_a_header_and_never_reaches_the_guest(
    tmp_path, site, monkeypatch
):
    monkeypatch.setenv("AGENT_KEY", "s3cr3t-value")
    port, seen = site
    request = {"url": f"http://127.0.0.1:{port}/", "headers": {"X-Key": "${secret:AGENT_KEY}"}}
    grants = f'http = ["http://127.0.0.1:{port}"]\nsecrets = ["AGENT_KEY"]'
    answer = await fetched(tmp_path, port, request, grants)
    assert seen[0]["X-Key"] == "s3cr3t-value"
    assert answer["ok"]["body"] == "your key is ${secret:AGENT_KEY}"


async def test_a_secret_that_was_not_granted_is_denied(tmp_path, site, monkeypatch):
    monkeypatch.setenv("AGENT_KEY", "s3cr3t-value")
    port, seen = site
    request = {"url": f"http://127.0.0.1:{port}/", "headers": {"X-Key": "${secret:AGENT_KEY}"}}
    answer = await fetched(tmp_path, port, request, f'http = ["http://127.0.0.1:{port}"]')
    assert answer["error"]["code"] == "denied"
    assert seen == []
