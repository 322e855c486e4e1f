"""Some hundred agents over four node processes: all know all, within memory and gossip.

`python -m loadtests.many_agents` does the same with 20,000 agents over ten.
"""

import pytest

from loadtests.many_agents import BUDGET_BYTES_PER_S, measure

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

RESIDENT_MB_MAX = 400


async def test_all_nodes_know_all_agents_and_say_little_of_it(tmp_path):
    figures = await measure(tmp_path, nodes=4, agents=100)
    assert figures["is_converged"]
    assert figures["resident_mb_max"] < RESIDENT_MB_MAX
    assert figures["gossip_bytes_per_s_max"] < BUDGET_BYTES_PER_S
    assert len(figures["empty_node_joined_s"]) == 3
