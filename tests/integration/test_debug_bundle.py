"""A bundle of a real node holds what a helper needs, no secret, and nothing that anybody said."""

import tarfile

import aiohttp

from tests.integration.test_node_backup import AGENT, ALLOW, caxton, send
from tests.node_process import node_process

SECRET = "sk-live-4eC39HqLyjWDarjtT1zdp7dc"
SAID = "the-content-of-a-message"


async def test_a_bundle_holds_no_secret_and_no_content(tmp_path):
    environment = {**ALLOW, "CAXTON_LLM__API_KEY": SECRET, "CAXTON_LLM__PROVIDER": "offline"}
    path = tmp_path / "bundle.tar.gz"
    async with node_process(tmp_path, **environment) as node, aiohttp.ClientSession() as session:
        address = f"{node.url}/api/v1/agents"
        async with session.post(address, json={"source": AGENT, "format": "toml"}) as response:
            assert response.status == 201
        await send(session, node.url, SAID)
        doctor = ("--server", node.url, "doctor", "--bundle", str(path))
        told = await caxton(*doctor, "--data-dir", str(tmp_path / "data"))
        assert told["ok"], told
        await caxton(*doctor, code=6)  # nothing is overwritten
    with tarfile.open(path) as archive:
        names = {name.removeprefix("caxton-debug/") for name in archive.getnames()}
        texts = [archive.extractfile(one).read().decode() for one in archive.getmembers()]
    assert {"doctor.json", "config.json", "metrics.txt", "status.json", "agents.json"} <= names
    everything = "\n".join(texts)
    assert "caxton_messages_total" in everything
    assert '"http.bind"' in everything
    assert SECRET not in everything
    assert f'"{SAID}"' not in everything
