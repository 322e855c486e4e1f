"""The example of an agent written in Python, deployed to a real node as the guide says."""

import aiohttp

from tests.node_process import ROOT, node_process


async def test_the_example_counts_words(tmp_path):
    environment = {
        "CAXTON_PYTHON__ALLOW": "tally:Tally",
        "PYTHONPATH": str(ROOT / "examples" / "python_agents"),
    }
    source = (ROOT / "examples" / "agents" / "tally.toml").read_text()
    async with (
        node_process(tmp_path, **environment) as node,
        aiohttp.ClientSession(f"{node.url}/api/v1/") as session,
    ):
        body = {"source": source, "format": "toml"}
        async with session.post("agents", json=body) as response:
            assert response.status == 201, await response.text()
        question = {"message": "the cat and the dog and the bird"}
        async with session.post("agents/Tally/chat", json=question) as response:
            answer = await response.json()
    assert answer["reply"]["content"] == {"and": 2, "cat": 1, "dog": 1}
