"""`http_client` and `http_sender` against real servers on loopback."""

import asyncio
import contextlib
import json
import socket
import sys
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.errors import Rejected
from caxton_node.tools.builtin import builtin_tools
from caxton_node.tools.fetch import Fetcher, GuardedResolver
from caxton_node.tools.network_rule import NetworkRule, UrlRefused, parse_host_pattern
from caxton_node.tools.registry import ToolRegistry
from tests.tool_bench import call, tool_context

CSV = "region,amount\nnorth,1\n"


class ScriptedResolver(AbstractResolver):
    """Answers each name with the next address of its script; the last one stays."""

    def __init__(self, **scripts: list[str]) -> None:
        self.scripts = {name.replace("_", "."): list(script) for name, script in scripts.items()}
        self.asked: list[str] = []

    async def resolve(self, host, port=0, family=socket.AF_INET) -> list[Any]:
        self.asked.append(host)
        script = self.scripts.get(host)
        if script is None:
            raise OSError("no such name")
        address = script.pop(0) if len(script) > 1 else script[0]
        return [
            {
                "hostname": host,
                "host": one,
                "port": port,
                "family": socket.AF_INET6 if ":" in one else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for one in address.split(" ")
        ]

    async def close(self) -> None:
        pass


def answers(**response):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(**response)

    return answer


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "headers": dict(request.headers),
            "body": (await request.read()).decode(),
        }
    )


async def redirect(request: web.Request) -> web.Response:
    return web.Response(
        status=int(request.query.get("status", "302")), headers={"Location": request.query["to"]}
    )


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"x" * 65_536)
    return response


async def silent(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets the event")


async def slow_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"x")
    await asyncio.Event().wait()
    return response


async def bomb(request: web.Request) -> web.Response:
    response = web.Response(body=b"\0" * 5_000_000)
    response.enable_compression(web.ContentCoding.gzip)
    return response


@pytest.fixture
async def server():
    app = web.Application()
    app.router.add_get("/sales.csv", answers(text=CSV, content_type="text/csv"))
    app.router.add_get("/vague.csv", answers(text=CSV))
    app.router.add_get("/large.txt", answers(text="word " * 1_000))
    app.router.add_get("/missing", answers(status=404, text="not here"))
    app.router.add_get("/empty", answers(status=204))
    app.router.add_get("/loop", answers(status=302, headers={"Location": "/loop"}))
    app.router.add_route("*", "/echo", echo)
    app.router.add_route("*", "/redirect", redirect)
    app.router.add_get("/endless", endless)
    app.router.add_get("/silent", silent)
    app.router.add_get("/slow", slow_body)
    app.router.add_get("/bomb", bomb)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@contextlib.asynccontextmanager
async def tools(port, *, hosts=("127.0.0.1", "inside.test"), resolver=None):
    allowed = [f"{host}:{port}" for host in hosts]
    resolver = resolver or ScriptedResolver(inside_test=["127.0.0.1"])
    async with builtin_tools(allowed_private_hosts=allowed, resolver=resolver) as built:
        yield ToolRegistry(built)


async def fetch(tmp_path, port, path, *, hosts=("127.0.0.1", "inside.test"), resolver=None, **more):
    context = await tool_context(tmp_path, **more)
    async with tools(port, hosts=hosts, resolver=resolver) as registry:
        url = f"http://127.0.0.1:{port}{path}" if path.startswith("/") else path
        return await call(registry.get("http_client"), context, url=url)


async def test_a_page_becomes_an_artifact_and_short_text_is_shown(tmp_path, server):
    result = await fetch(tmp_path, server, "/sales.csv")
    assert not result.is_error
    assert result.content == {
        "status": 200,
        "url": f"http://127.0.0.1:{server}/sales.csv",
        "media_type": "text/csv",
        "size_bytes": len(CSV),
        "artifact": "artifact:1",
        "preview": CSV,
        "text": CSV,
    }
    assert result.artifacts[0].name == "sales.csv"


async def test_a_vague_media_type_is_found_by_the_name(tmp_path, server):
    result = await fetch(tmp_path, server, "/vague.csv")
    assert result.content["media_type"] == "text/csv"


async def test_long_text_is_only_previewed(tmp_path, server):
    result = await fetch(tmp_path, server, "/large.txt")
    assert len(result.content["preview"]) == 500
    assert "text" not in result.content


async def test_a_response_without_a_body_keeps_nothing(tmp_path, server):
    result = await fetch(tmp_path, server, "/empty")
    assert (result.content["status"], result.artifacts) == (204, ())
    assert "artifact" not in result.content


async def test_head_returns_no_body(tmp_path, server):
    context = await tool_context(tmp_path)
    async with tools(server) as registry:
        result = await call(
            registry.get("http_client"),
            context,
            url=f"http://127.0.0.1:{server}/sales.csv",
            method="HEAD",
        )
    assert (result.content["status"], result.content["size_bytes"]) == (200, 0)


async def test_an_http_error_is_an_error_result_with_an_excerpt(tmp_path, server):
    result = await fetch(tmp_path, server, "/missing")
    assert result.is_error
    assert (result.content["status"], result.content["excerpt"]) == (404, "not here")


async def test_nothing_of_the_environment_is_sent(tmp_path, server, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    result = await fetch(tmp_path, server, "/echo")
    assert "secret" not in result.content["text"]
    assert "Authorization" not in result.content["text"]


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://2130706433/",
        "http://localhost/",
        "//0.0.0.0/",
        "file:///etc/passwd",
        "http://user@127.0.0.1/",
    ],
)
async def test_a_redirect_leads_nowhere_that_a_request_could_not(tmp_path, server, target):
    resolver = ScriptedResolver(localhost=["127.0.0.1"])
    result = await fetch(tmp_path, server, f"/redirect?to={target}", resolver=resolver)
    assert result.is_error
    assert result.content["refused"]


async def test_a_redirect_is_followed_and_the_final_address_told(tmp_path, server):
    result = await fetch(tmp_path, server, "/redirect?to=/sales.csv")
    assert result.content["url"].endswith("/sales.csv")


async def test_redirects_are_counted(tmp_path, server):
    result = await fetch(tmp_path, server, "/loop")
    assert "redirects more than 5 times" in result.content["error"]


async def test_a_configured_redirect_limit_is_kept(tmp_path, server):
    path = "/redirect?to=/sales.csv"
    result = await fetch(tmp_path, server, path, config={"max_redirects": 0})
    assert result.is_error


async def test_a_name_that_leads_inside_is_refused(tmp_path, server):
    resolver = ScriptedResolver(evil_test=["127.0.0.1"])
    result = await fetch(tmp_path, server, f"http://evil.test:{server}/", resolver=resolver)
    assert result.content["refused"]


async def test_a_name_that_leads_inside_is_reached_if_the_operator_named_it(tmp_path, server):
    result = await fetch(tmp_path, server, f"http://inside.test:{server}/sales.csv")
    assert result.content["text"] == CSV


async def test_a_name_with_a_public_and_a_private_address_is_refused(tmp_path, server):
    resolver = ScriptedResolver(mixed_test=["93.184.216.34 127.0.0.1"])
    result = await fetch(tmp_path, server, f"http://mixed.test:{server}/", resolver=resolver)
    assert result.content["refused"]


async def test_the_metadata_service_hides_behind_no_name_that_was_allowed(tmp_path, server):
    resolver = ScriptedResolver(inside_test=["169.254.169.254"])
    result = await fetch(tmp_path, server, f"http://inside.test:{server}/", resolver=resolver)
    assert result.content["refused"]


async def test_every_answer_of_a_resolver_is_judged_and_not_only_the_first():
    resolver = GuardedResolver(
        ScriptedResolver(rebind_test=["93.184.216.34", "127.0.0.1"]), NetworkRule()
    )
    assert (await resolver.resolve("rebind.test", 80))[0]["host"] == "93.184.216.34"
    with pytest.raises(UrlRefused):
        await resolver.resolve("rebind.test", 80)


async def test_a_connection_goes_to_the_one_answer_that_was_judged(tmp_path, server):
    resolver = ScriptedResolver(inside_test=["127.0.0.1", "169.254.169.254"])
    result = await fetch(tmp_path, server, f"http://inside.test:{server}/echo", resolver=resolver)
    assert result.content["status"] == 200
    assert resolver.asked == ["inside.test"]


async def test_a_name_that_turns_inside_between_two_hops_is_refused(tmp_path, server):
    resolver = ScriptedResolver(inside_test=["127.0.0.1", "169.254.169.254"])
    url = f"http://inside.test:{server}/redirect?to=/sales.csv"
    result = await fetch(tmp_path, server, url, resolver=resolver)
    assert result.content["refused"]
    assert resolver.asked == ["inside.test", "inside.test"]


async def test_an_agents_list_narrows_what_the_operator_allowed(tmp_path, server):
    narrow = PermissionSettings(network_hosts=("inside.test",))
    refused = await fetch(tmp_path, server, "/sales.csv", permissions=narrow)
    url = f"http://inside.test:{server}/sales.csv"
    allowed = await fetch(tmp_path, server, url, permissions=narrow)
    assert (refused.is_error, allowed.is_error) == (True, False)


async def test_an_agents_list_does_not_widen_what_the_operator_allowed(tmp_path, server):
    wide = PermissionSettings(network_hosts=("127.0.0.1",))
    result = await fetch(tmp_path, server, "/sales.csv", hosts=(), permissions=wide)
    assert result.content["refused"]


async def test_a_list_of_hosts_that_cannot_be_read_ends_the_turn(tmp_path, server):
    wrong = PermissionSettings(network_hosts=("http://x/",))
    with pytest.raises(Rejected):
        await fetch(tmp_path, server, "/sales.csv", permissions=wrong)


@pytest.mark.parametrize("path", ["/endless", "/bomb"])
async def test_a_body_above_the_limit_is_cut_off(tmp_path, server, path):
    result = await fetch(tmp_path, server, path, config={"max_response_size": "100kB"})
    assert result.content["error"] == "The response is larger than 100,000 bytes."


@pytest.mark.parametrize("path", ["/silent", "/slow"])
async def test_a_server_that_dawdles_is_left(tmp_path, server, path):
    result = await fetch(tmp_path, server, path, config={"timeout": "100ms"})
    assert "within 0.1 s" in result.content["error"]


async def test_the_turns_own_time_bounds_a_fetch(tmp_path, server):
    result = await fetch(tmp_path, server, "/silent", timeout_s=0.1)
    assert "within 0.1 s" in result.content["error"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse instead of waiting")
async def test_a_server_that_accepts_nobody_is_left(tmp_path):
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # The queue of the system is full after a connection or two; later ones get no answer.
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        config = {"connect_timeout": "50ms"}
        result = await fetch(tmp_path, full.getsockname()[1], "/", config=config)
    assert "could not be connected to within 0.05 s" in result.content["error"]


async def test_a_closed_port_is_an_error_result(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = await fetch(tmp_path, unused.getsockname()[1], "/")
    assert result.is_error


@pytest.mark.parametrize(
    "headers",
    [{"Host": "x"}, {"Proxy-Authorization": "x"}, {"X": "a\r\nb: c"}, {"a b": "x"}, {"X": 1}],
)
async def test_headers_that_belong_to_the_connection_are_refused(tmp_path, server, headers):
    context = await tool_context(tmp_path)
    async with tools(server) as registry:
        result = await call(
            registry.get("http_client"),
            context,
            url=f"http://127.0.0.1:{server}/echo",
            headers=headers,
        )
    assert result.is_error


async def send(tmp_path, port, config, **arguments):
    context = await tool_context(tmp_path, config=config)
    async with tools(port) as registry:
        return await call(registry.get("http_sender"), context, **arguments)


async def test_nothing_is_sent_unless_the_author_allowed_the_method(tmp_path, server):
    url = f"http://127.0.0.1:{server}/echo"
    result = await send(tmp_path, server, {"methods": ["PUT"]}, url=url, method="POST", text="x")
    assert result.is_error
    assert result.content["allowed"] == ["PUT"]


async def test_what_is_sent_carries_the_steps_id(tmp_path, server):
    url = f"http://127.0.0.1:{server}/echo"
    config = {"methods": ["POST"]}
    result = await send(tmp_path, server, config, url=url, method="POST", data={"a": 1})
    assert '"Idempotency-Key": "msg-1/0"' in result.content["text"]
    assert '"Content-Type": "application/json"' in result.content["text"]
    assert '"body": "{\\"a\\":1}"' in result.content["text"]


@pytest.mark.parametrize(
    ("body", "media_type", "sent"),
    [
        ({"text": "é"}, "text/plain; charset=utf-8", "é"),
        ({"artifact": "artifact:1"}, "text/csv", "a,b"),
        ({}, None, ""),
    ],
)
async def test_a_body_is_sent_in_every_form(tmp_path, server, body, media_type, sent):
    context = await tool_context(tmp_path, config={"methods": ["PUT"]})
    await context.artifacts.put(name="a.csv", media_type="text/csv", data=b"a,b")
    url = f"http://127.0.0.1:{server}/echo"
    async with tools(server) as registry:
        result = await call(registry.get("http_sender"), context, url=url, method="PUT", **body)
    echoed = json.loads(result.content["text"])
    assert (echoed["method"], echoed["body"]) == ("PUT", sent)
    if media_type:
        assert echoed["headers"]["Content-Type"] == media_type


async def test_two_bodies_are_a_mistake(tmp_path, server):
    url = f"http://127.0.0.1:{server}/echo"
    config = {"methods": ["POST"]}
    result = await send(tmp_path, server, config, url=url, method="POST", text="x", data=1)
    assert "only one body" in result.content["error"]


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_what_was_sent_is_not_sent_again_where_the_answer_lies(tmp_path, server, status):
    url = f"http://127.0.0.1:{server}/redirect?status={status}&to=/echo"
    config = {"methods": ["POST"]}
    result = await send(tmp_path, server, config, url=url, method="POST", text="x")
    echoed = json.loads(result.content["text"])
    assert (echoed["method"], echoed["body"]) == ("GET", "")


@pytest.mark.parametrize(
    ("hosts", "address"),
    [((), "127.0.0.1"), ((), "::1"), (("x.test",), "169.254.169.254"), (("x.test",), "::")],
)
def test_no_socket_is_made_for_an_address_that_no_rule_lets_pass(hosts, address):
    rule = NetworkRule(tuple(parse_host_pattern(host) for host in hosts))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(OSError, match="must not be connected to"):
        Fetcher(rule)._socket((family, socket.SOCK_STREAM, 6, "", (address, 80)))


async def test_what_was_sent_follows_no_redirect_to_another_host(tmp_path, server):
    target = f"http://inside.test:{server}/echo"
    url = f"http://127.0.0.1:{server}/redirect?status=307&to={target}"
    config = {"methods": ["POST"]}
    result = await send(tmp_path, server, config, url=url, method="POST", text="secret")
    assert "another host" in result.content["error"]


async def test_headers_do_not_follow_a_redirect_to_another_host(tmp_path, server):
    context = await tool_context(tmp_path)
    async with tools(server) as registry:
        result = await call(
            registry.get("http_client"),
            context,
            url=f"http://127.0.0.1:{server}/redirect?to=http://inside.test:{server}/echo",
            headers={"Authorization": "Bearer secret"},
        )
    assert result.content["status"] == 200
    assert "secret" not in result.content["text"]


async def test_a_wrong_host_in_the_settings_is_rejected():
    with pytest.raises(Rejected) as caught:
        async with builtin_tools(allowed_private_hosts=["ok.test", "http://x"]):
            pass
    assert caught.value.places[0].field == "allowed_private_hosts[1]"
