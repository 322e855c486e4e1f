"""A new agent is found from every node, also where the network loses packets and breaks streams.

The bounds here are those that hold on a machine busy with other tests; `loadtests/discovery.py`
tells the figures.
"""

from contextlib import AsyncExitStack

import pytest

from tests.integration.discovery_lab import found_after_s, lose
from tests.integration.fault_lab import FaultLab
from tests.integration.netns_lab import why_not

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

AGENTS = 6


@pytest.fixture
async def lab(tmp_path):
    """Three nodes that know each other."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    async with AsyncExitStack() as stack:
        lab = FaultLab(stack, tmp_path, count=3, preset="lan")
        await lab.form()
        yield lab


async def test_a_new_agent_is_found_everywhere(lab):
    for number in range(AGENTS):
        home = lab.hosts[number % 3]
        assert await found_after_s(lab, home, f"A{number}") < 0.5


async def test_a_new_agent_is_found_through_loss_and_broken_streams(lab):
    lose(lab, 5)
    for number in range(AGENTS):
        home = lab.hosts[number % 3]
        assert await found_after_s(lab, home, f"B{number}", broken_percent=5) < 3.0
