"""Certificates at work: who may call what, who is refused, and new files while links are up."""

import asyncio
import os
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from caxton import CaxtonClient, Denied, Tls, Unavailable
from caxton.v1 import peer_pb2
from caxton_node.app import open_node
from caxton_node.config import load_settings
from caxton_node.domain.errors import Rejected
from caxton_node.edges import open_edges
from caxton_node.forwarding.credentials import open_channel
from caxton_node.grpc_api.server import open_grpc
from caxton_node.process import grpc_ports, open_certificates
from caxton_node.runtime.node import Node
from caxton_node.security.authority import make_authority, read_authority
from caxton_node.security.secret_files import write_all
from caxton_node.security.tls_files import TlsFiles
from tests.clustered_nodes import is_whole, until
from tests.opened_node import python_agent

CALL_S = 5.0


class Papers:
    """An authority, and the files of those it vouches for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.issued = make_authority("test", now=datetime.now(UTC))
        self.authority = read_authority(self.issued.certificate, self.issued.key)

    def write(self, name, *, kind="node", ago=timedelta(), days=30, trusted=b"") -> Path:
        """Write ca, crt and key for a node or client, and return their folder."""
        made = self.authority.issue(
            kind,
            name,
            hosts=() if kind == "client" else ("localhost",),
            now=datetime.now(UTC) - ago,
            days=days,
        )
        place = self.folder / name
        write_all(
            {
                place / "ca": trusted or self.issued.certificate,
                place / "key": made.key,
                place / "crt": made.certificate,
            },
            is_forced=True,
        )
        return place

    def files(self, name, **more) -> TlsFiles:
        """Write the files of a node and read them."""
        place = self.write(name, **more)
        return TlsFiles(
            authority=place / "ca", certificate=place / "crt", key=place / "key", node=name
        )

    def tls(self, name) -> Tls:
        """Write the files of a client."""
        place = self.write(name, kind="client")
        return Tls(ca=place / "ca", certificate=place / "crt", key=place / "key")


@pytest.fixture
def papers(tmp_path):
    return Papers(tmp_path / "papers")


@dataclass
class Secure:
    """A node with certificates."""

    node: Node
    files: TlsFiles
    address: str
    """Where nodes call, and clients with certificates."""
    open_address: str
    """Where clients call."""


@asynccontextmanager
async def secure_node(folder, papers, name, **flags):
    folder.mkdir()
    place = papers.folder / name
    if not place.exists():
        papers.write(name)
    given = {
        "node.name": name,
        "node.data_dir": str(folder),
        "python.allow": "tests.*",
        "limits.drain_timeout": "1s",
        "memory.enabled": "false",
        "cluster.gossip": "127.0.0.1:0",
        "cluster.preset": "fast",
        "grpc.bind": "127.0.0.1:0",
        "security.ca_file": str(place / "ca"),
        "security.cert_file": str(place / "crt"),
        "security.key_file": str(place / "key"),
    }
    keys = {key.replace("__", "."): value for key, value in flags.items()}
    loaded = load_settings(flags=given | keys, environment={}, working_dir=folder, home=folder)
    settings = loaded.settings
    files = open_certificates(settings)
    async with (
        open_node(loaded, environment=os.environ, files=files) as node,
        open_edges(node) as edges,
        open_grpc(
            grpc_ports(settings, files),
            edges.services,
            message_bytes_max=settings.grpc.max_message_bytes,
        ) as bound,
    ):
        node.ring.announce_grpc(*bound[-1])
        yield Secure(node, files, f"localhost:{bound[-1][1]}", f"localhost:{bound[0][1]}")
        await node.cluster.depart()


@pytest.fixture
async def secure(tmp_path, papers):
    async with secure_node(tmp_path / "a", papers, "a", grpc__peer_bind="127.0.0.1:0") as secure:
        yield secure


async def ask_as_peer(channel):
    """Call what only nodes may call; return the status."""
    call = channel.unary_stream(
        "/caxton.v1.Peer/Call",
        request_serializer=peer_pb2.PeerCallRequest.SerializeToString,
        response_deserializer=peer_pb2.PeerCallResponse.FromString,
    )
    request = peer_pb2.PeerCallRequest(method="GET", path="/api/v1/agents")
    try:
        async for _ in call(request, timeout=CALL_S):
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def status_of(files, address, *, node="a"):
    channel = open_channel(address, node=node, files=files)
    try:
        return await ask_as_peer(channel)
    finally:
        await channel.close()


async def test_a_node_may_call_a_node(secure, papers):
    assert await status_of(papers.files("b"), secure.address) is grpc.StatusCode.OK


async def test_a_node_that_proves_another_name_is_not_talked_to(secure, papers):
    status = await status_of(papers.files("b"), secure.address, node="c")
    assert status is grpc.StatusCode.UNAVAILABLE


async def test_names_that_differ_in_case_are_different_nodes(secure, papers):
    status = await status_of(papers.files("b"), secure.address, node="A")
    assert status is grpc.StatusCode.UNAVAILABLE


async def test_a_node_of_another_authority_is_refused(secure, tmp_path):
    stranger = Papers(tmp_path / "strange")
    # It trusts ours, so that only we can refuse it.
    files = stranger.files("b", trusted=(secure.files.current().authority))
    assert await status_of(files, secure.address) is grpc.StatusCode.UNAVAILABLE


async def test_a_node_that_we_do_not_trust_is_not_talked_to(secure, papers, tmp_path):
    trusts_others = Papers(tmp_path / "strange").issued.certificate
    files = papers.files("b", trusted=trusts_others)
    assert await status_of(files, secure.address) is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_certificate_is_refused(secure, papers):
    files = papers.files("b", ago=timedelta(days=10), days=9)
    assert await status_of(files, secure.address) is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_from_the_future_is_refused(secure, papers):
    files = papers.files("b", ago=-timedelta(days=1))
    assert await status_of(files, secure.address) is grpc.StatusCode.UNAVAILABLE


async def test_whoever_speaks_without_tls_is_not_understood(secure):
    assert await status_of(None, secure.address) is grpc.StatusCode.UNAVAILABLE


async def test_who_shows_no_certificate_may_not_call_as_a_node(secure, papers):
    ca = grpc.ssl_channel_credentials(papers.issued.certificate)
    async with grpc.aio.secure_channel(secure.open_address, ca) as channel:
        assert await ask_as_peer(channel) is grpc.StatusCode.PERMISSION_DENIED
    async with grpc.aio.secure_channel(secure.address, ca) as channel:
        assert await ask_as_peer(channel) is grpc.StatusCode.UNAVAILABLE


async def test_a_client_may_call_as_a_client_and_not_as_a_node(secure, papers):
    tls = papers.tls("billing")
    async with CaxtonClient(secure.address, tls=tls) as client:
        assert await client.agents() == []
    async with grpc.aio.secure_channel(secure.address, tls.credentials()) as channel:
        assert await ask_as_peer(channel) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_node_may_not_call_as_a_client(secure, papers):
    place = papers.write("b")
    tls = Tls(ca=place / "ca", certificate=place / "crt", key=place / "key")
    async with CaxtonClient(secure.address, tls=tls) as client:
        with pytest.raises(Denied) as caught:
            await client.agents()
    assert caught.value.code == "denied"


async def test_a_client_without_a_certificate_uses_the_port_that_asks_for_none(secure, papers):
    place = papers.write("c")
    async with CaxtonClient(secure.open_address, tls=Tls(ca=place / "ca")) as client:
        assert await client.agents() == []
    async with CaxtonClient(secure.address, tls=Tls(ca=place / "ca"), timeout_s=1) as client:
        with pytest.raises(Unavailable):
            await client.agents()


async def test_a_client_can_demand_the_node_by_its_name(secure, papers):
    place = papers.write("c")
    for name, is_served in (("a", True), ("b", False)):
        tls = Tls(ca=place / "ca", server_name=f"{name}.node.caxton.internal")
        async with CaxtonClient(secure.open_address, tls=tls, timeout_s=1) as client:
            try:
                assert await client.agents() == []
            except Unavailable:
                assert not is_served
            else:
                assert is_served


async def test_a_node_without_its_own_certificate_does_not_start(tmp_path, papers):
    papers.write("b")
    (papers.folder / "b").rename(papers.folder / "a")
    with pytest.raises(Rejected, match="is for the node b, and this is the node a"):
        async with secure_node(tmp_path / "a", papers, "a"):
            pass


# Links.


@pytest.fixture
async def linked(tmp_path, papers):
    """Two nodes, a and b, that trust each other."""
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(secure_node(tmp_path / "a", papers, "a"))
        joins = {"cluster__peers": a.node.ring.address}
        b = await stack.enter_async_context(secure_node(tmp_path / "b", papers, "b", **joins))
        await until(lambda: is_whole(a.node, 2) and is_whole(b.node, 2))
        yield a, b


async def test_messages_travel_between_nodes_that_trust_each_other(linked, papers):
    a, b = linked
    async with (
        CaxtonClient(a.address, tls=papers.tls("one")) as at_a,
        CaxtonClient(b.address, tls=papers.tls("two")) as at_b,
    ):
        await at_a.deploy(python_agent("echo", "Echo"), node="a")
        await until(lambda: b.node.cluster.holder("echo") == "a")
        assert (await at_b.request("echo", "hi")).content == "hi"
        assert (await at_b.agent("echo")).name == "echo"


async def test_new_certificates_are_presented_while_links_stay_up(linked, papers):
    a, b = linked
    before = serial_at(a)
    for name in "ab":
        papers.write(name)
    assert await status_of(b.files, a.address) is grpc.StatusCode.OK
    assert serial_at(a) != before
    assert await presented(a) == a.files.current().certificate
    assert a.node.cluster.links.is_up("b")
    assert b.node.cluster.links.is_up("a")


async def test_an_authority_is_replaced_step_by_step(linked, papers, tmp_path):
    a, b = linked
    successor = Papers(papers.folder)
    both = papers.issued.certificate + successor.issued.certificate
    for name in "ab":
        papers.write(name, trusted=both)
    for name in "ab":
        successor.write(name, trusted=both)
    assert await status_of(b.files, a.address) is grpc.StatusCode.OK
    for name in "ab":
        successor.write(name)
    assert await status_of(b.files, a.address) is grpc.StatusCode.OK
    left_behind = Papers(tmp_path / "old")
    left_behind.issued, left_behind.authority = papers.issued, papers.authority
    assert await status_of(left_behind.files("c"), a.address) is grpc.StatusCode.UNAVAILABLE
    assert a.node.cluster.links.is_up("b")


async def test_half_a_change_leaves_the_old_certificate_in_force(linked, papers):
    a, b = linked
    before = a.files.current().certificate
    (papers.folder / "a" / "key").write_bytes(b"half a k")
    assert await status_of(b.files, a.address) is grpc.StatusCode.OK
    assert await presented(a) == before


def serial_at(secure):
    return secure.files.current().certificate


async def presented(secure):
    """Return the certificate that a node presents to who connects now."""
    host, _, port = secure.address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    return ssl.DER_cert_to_PEM_cert(found).encode()
