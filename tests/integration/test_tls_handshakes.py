"""Many handshakes at once with a node's gRPC: gRPC asks for certificates before each of them."""

import asyncio
import socket
import ssl

from caxton_node.grpc_api.server import changes_of
from tests.integration.test_grpc_security import Papers
from tests.node_process import node_process

THREAD_COUNT = 8
HANDSHAKE_COUNT = 2_000
CONNECT_S = 5.0


def test_certificates_are_handed_out_when_they_change_and_only_then(tmp_path):
    papers = Papers(tmp_path)
    files = papers.files("a")
    changed = changes_of(files, files.current())
    assert [changed(), changed()] == [None, None]
    papers.write("a")
    assert changed() is not None
    assert changed() is None


def shake_hands(port, context, count):
    for _ in range(count):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=CONNECT_S) as plain,
            context.wrap_socket(plain) as secure,
        ):
            assert secure.selected_alpn_protocol() == "h2"


async def test_a_node_survives_thousands_of_handshakes_from_several_clients_at_once(tmp_path):
    papers = Papers(tmp_path)
    folder = papers.write("a")
    environment = {
        "CAXTON_SECURITY__CA_FILE": str(folder / "ca"),
        "CAXTON_SECURITY__CERT_FILE": str(folder / "crt"),
        "CAXTON_SECURITY__KEY_FILE": str(folder / "key"),
        "CAXTON_MEMORY__ENABLED": "false",
    }
    context = ssl.create_default_context(cafile=str(folder / "ca"))
    context.check_hostname = False
    context.load_cert_chain(folder / "crt", folder / "key")
    context.set_alpn_protocols(["h2"])
    async with node_process(tmp_path, "--name", "a", **environment) as node:
        port = int(node.grpc.rpartition(":")[2])
        share = HANDSHAKE_COUNT // THREAD_COUNT
        async with asyncio.TaskGroup() as clients:
            for _ in range(THREAD_COUNT):
                clients.create_task(asyncio.to_thread(shake_hands, port, context, share))
        assert node.process.returncode is None
        assert await node.stop() == 0
