"""Who answers for an agent that is elsewhere, when it has just moved from where it was."""

import pytest

from caxton_node.api import performing
from caxton_node.api.performing import ask_holder
from caxton_node.domain.errors import Denied, NotFound
from caxton_node.runtime.door import Ask, Whole

ASK = Ask(method="GET", path="/api/v1/agents/Clerk")
ANSWER = Whole(200, "application/json", b"{}")


class Others:
    """Nodes of which each says something in turn."""

    def __init__(self, *told, homes):
        self.told = list(told)
        self.homes = list(homes)
        self.asked = []

    def holder(self, agent):
        return self.homes.pop(0) if len(self.homes) > 1 else self.homes[0]

    async def ask(self, node, ask):
        self.asked.append(node)
        told = self.told.pop(0)
        if isinstance(told, Exception):
            raise told
        return told


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(performing, "NEWS_S", 0.0)


def gone():
    return NotFound("agent_not_found", "no agent is called 'Clerk'")


async def test_an_agent_that_has_just_moved_is_asked_where_it_went():
    others = Others(gone(), ANSWER, homes=["b", "c"])
    assert await ask_holder(others, "Clerk", ASK, is_here=lambda: False) is ANSWER
    assert others.asked == ["b", "c"]


async def test_an_agent_that_has_just_come_here_is_answered_for_here():
    others = Others(gone(), homes=["b", "b"])
    is_here = iter([False, True])
    assert await ask_holder(others, "Clerk", ASK, is_here=lambda: next(is_here)) is None


async def test_an_agent_that_is_nowhere_is_sought_a_few_times_only():
    others = Others(*(gone() for _ in range(9)), homes=["b"])
    with pytest.raises(NotFound):
        await ask_holder(others, "Clerk", ASK, is_here=lambda: False)
    assert len(others.asked) == performing.MOVES_MAX + 1


async def test_any_other_refusal_is_the_answer():
    others = Others(Denied("denied", "no"), homes=["b"])
    with pytest.raises(Denied):
        await ask_holder(others, "Clerk", ASK, is_here=lambda: False)
    assert others.asked == ["b"]
