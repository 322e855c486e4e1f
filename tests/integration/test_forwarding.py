"""Messages between nodes: whole nodes in one process, linked by real gRPC."""

from caxton_node.domain.delivery import DeliveryMode, DeliveryStatus
from tests.linked_nodes import linked_nodes, place
from tests.opened_node import ask


async def test_a_question_is_answered_from_another_node(tmp_path):
    async with linked_nodes(tmp_path, "a", "b") as (atlas, (a, b)):
        await place(atlas, b, "Echo", "Echo")
        answer = await ask(a.node, receiver="Echo", content="hi")
        assert answer.body() == "hi"
        assert answer.sender == "Echo"
