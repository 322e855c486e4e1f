"""What a node tells of its links, and what the registry tells of an agent's mailbox."""

import logging

from caxton_node.telemetry.trace import CURRENT_TRACE, new_trace
from tests.clustered_nodes import cluster_of, until
from tests.opened_node import ask, deploy, python_agent


async def test_a_link_counts_what_it_carries(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as (a, b):
        await deploy(b, python_agent("Echo", "Echo"))
        await until(lambda: a.pipeline.elsewhere.inbox("Echo") is not None)
        for _ in range(3):
            await ask(a, receiver="Echo")
        await until(lambda: not a.cluster.outstanding() and not b.cluster.outstanding())
        [of_a], [of_b] = a.cluster.fleet.links, b.cluster.fleet.links
        assert (of_a.peer, of_b.peer, of_a.is_up, of_a.break_count) == ("b", "a", True, 0)
        assert (of_a.sent_count, of_a.received_count) == (3, 3)
        assert (of_b.sent_count, of_b.received_count) == (3, 3)
        assert (of_a.waiting_count, of_a.sent_again_count) == (0, 0)


async def test_a_sender_knows_how_much_may_wait_for_an_agent_elsewhere(tmp_path):
    async with cluster_of(tmp_path, "a", "b") as (a, b):
        await deploy(b, python_agent("Small", "Echo", more="[limits]\nmailbox = 3\n"))
        await deploy(b, python_agent("Usual", "Echo"))
        elsewhere = a.pipeline.elsewhere
        await until(lambda: elsewhere.inbox("Small") and elsewhere.inbox("Usual"))
        assert elsewhere.inbox("Small").record.mailbox == 3
        assert elsewhere.inbox("Usual").record.mailbox == 1_000


class Noting(logging.Handler):
    """Notes to which request each line belongs."""

    def __init__(self):
        super().__init__()
        self.traces = []

    def emit(self, record):
        self.traces.append(CURRENT_TRACE.get())


async def test_what_a_link_logs_belongs_to_no_request(tmp_path, caplog):
    noting = Noting()
    log = logging.getLogger("caxton.link")
    log.addHandler(noting)
    trace = CURRENT_TRACE.set(new_trace())
    try:
        with caplog.at_level(logging.INFO, "caxton.link"):
            async with cluster_of(tmp_path, "a", "b"):
                pass
    finally:
        CURRENT_TRACE.reset(trace)
        log.removeHandler(noting)
    assert len(noting.traces) >= 2
    assert set(noting.traces) == {None}
