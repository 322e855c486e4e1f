"""Schemathesis against a real node: whatever the OpenAPI document allows must be answered as it
says, and whatever it forbids must be refused.

The few statuses that are added to its expectations below are promises of ours that no JSON
Schema can tell: the grammar of agent files, cursors that only the server makes, the names of
agents, deadlines.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.opened_node import python_agent
from tests.rest_node import Rest, rest_node

CONFIG = """
[parameters]
# An event stream ends when its client does, or after this long.
for_s = "0.02"

[checks]
# 503 and 504 are promises, not accidents: a stopping node, a deadline that passed.
not_a_server_error.expected-statuses = ["2xx", "4xx", 503, 504]
positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 504]
# 413: a body above the limit is refused before anything in it is looked at.
negative_data_rejection.expected-statuses = [400, 403, 404, 405, 409, 413, 415, 422]

[[operations]]
# The text of an agent's file, or of a manifest, has a grammar of its own.
include-operation-id = ["deploy_agent", "replace_agent", "validate_agent", "deploy_server"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422]

[[operations]]
# Only the server makes cursors, and not every name is a node's.
include-operation-id = ["list_agents", "list_messages", "list_conversations", "list_dead_letters"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 422]

[[operations]]
# An agent's memory needs the agent's name, an interval ends after it began, a record has a grammar
# of its own, and what looks like a secret is refused.
include-operation-id = [
  "tell_memory", "list_entities", "get_entity", "search_memory", "relate_entities", "walk_graph",
  "delete_entity", "forget_memory", "export_memory", "import_memory", "back_up_memory",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422]

[[operations]]
# It knows no way to write WebAssembly. test_wasm_servers.py sends some.
include-operation-id = ["put_module"]
enabled = false

[[operations]]
# It waits for databases that are not there, each time for as long as it may. test_memory_moves.py
# shows what it does.
include-operation-id = ["begin_move"]
enabled = false

[[operations]]
# A placement has a grammar of its own, and each setting its own kind of value.
include-operation-id = ["scale_agent", "set_cluster_setting"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422]

[[operations]]
# It learns the names of agents and speaks under them, which nobody may.
include-operation-id = ["chat", "send_message"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422, 504]

[[operations]]
# It is to meet an agent that answers, and not one that another case has stopped.
include-operation-id = ["chat"]
parameters = { name = "echo" }

[[operations]]
include-operation-id = ["stop_agent", "suspend_agent", "restart_agent", "resume_agent"]
parameters = { name = "spare" }

[[operations]]
include-operation-id = ["delete_agent", "rollback_agent"]
parameters = { name = "gone" }
"""

PREFIX = '[parameters]\nprefix = "you said "\n'


async def run_schemathesis(rest: Rest, folder: Path, *options: str) -> tuple[int, str]:
    """Run it against a node and return its exit code and what it printed."""
    for name in ("echo", "spare", "gone"):
        await rest.deploy(python_agent(name, "Echo", more=PREFIX))
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", config, "run", rest.address("/openapi.json"), "--checks", "all"),
        *("--seed", "1", "--request-timeout", "10", "--warnings", "off", "--no-color", *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    lines = [line[:500] for line in output.decode(errors="replace").splitlines()]
    return process.returncode or 0, "\n".join(lines[-200:])


@pytest.mark.timeout(300)
async def test_the_api_does_what_its_document_says(tmp_path):
    async with rest_node(tmp_path / "node") as rest:
        code, output = await run_schemathesis(
            rest, tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", "4"
        )
        assert code == 0, output
        metrics = await (await rest.session.get(rest.address("/metrics"))).text()
        assert 'status="500"' not in metrics


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_api_does_what_its_document_says_for_long(tmp_path):
    async with rest_node(tmp_path / "node") as rest:
        code, output = await run_schemathesis(rest, tmp_path, "--max-examples", "150")
        assert code == 0, output
