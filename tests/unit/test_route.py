"""Where messages go, given who is here."""

from dataclasses import dataclass, field

import pytest

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.capability import parse_capability
from caxton_node.domain.delivery import RoutingStrategy
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.routing.directory import Directory
from caxton_node.routing.route import Deliver, FanOut, HandToClient, Undeliverable, route


@dataclass
class Place:
    """An inbox that only stands there."""

    agent: str
    load: int = 0
    is_running: bool = True
    permissions: PermissionSettings = field(default_factory=PermissionSettings)

    def reserve(self, is_forced, /) -> bool:
        return True

    def unreserve(self) -> None: ...
    def put(self, envelope) -> None: ...
    def interrupt(self, envelope) -> None: ...


def directory(**offers: str) -> tuple[Directory, dict[str, Place]]:
    here, places = Directory(), {}
    for agent, capabilities in offers.items():
        places[agent] = Place(agent)
        here.put(places[agent], [parse_capability(name) for name in capabilities.split()])
    return here, places


def message(**fields) -> Message:
    return Message(**{"id": "m", "performative": Performative.REQUEST, "sender": "client"} | fields)


def chosen(decision) -> str:
    assert isinstance(decision, Deliver)
    return decision.inbox.agent


def test_a_named_agent_gets_its_message():
    here, _ = directory(a="x", b="x")
    assert chosen(route(message(receiver="b"), here)) == "b"


def test_an_unknown_name_is_answered_with_the_near_ones():
    here, _ = directory(analyzer="x")
    decision = route(message(receiver="analyser"), here)
    assert decision == Undeliverable(
        "agent_not_found", "no agent is called 'analyser'", ("analyzer",)
    )


def test_an_answer_to_someone_who_is_no_agent_is_handed_to_the_client():
    here, _ = directory(a="x")
    decision = route(message(sender="a", receiver="client", in_reply_to="m1"), here)
    assert decision == HandToClient("client")


def test_a_broadcast_reaches_every_running_agent_but_its_sender():
    here, places = directory(a="x", b="x", c="x", d="x")
    places["c"].is_running = False
    decision = route(message(sender="a", receiver="broadcast"), here)
    assert isinstance(decision, FanOut)
    assert [inbox.agent for inbox in decision.inboxes] == ["b", "d"]


def test_the_provider_of_the_particular_answers_for_the_general():
    here, _ = directory(a="data-analysis.visual")
    assert chosen(route(message(capability="data-analysis"), here)) == "a"


def test_the_provider_of_the_general_does_not_answer_for_the_particular():
    here, _ = directory(a="data-analysis")
    assert isinstance(route(message(capability="data-analysis.visual"), here), Undeliverable)


def test_best_match_prefers_the_nearest_name_to_the_idle_agent():
    here, places = directory(exact="data", near="data.sales")
    places["exact"].load = 9
    assert chosen(route(message(capability="data"), here)) == "exact"


def test_load_balanced_prefers_the_idle_agent_to_the_nearest_name():
    here, places = directory(exact="data", near="data.sales")
    places["exact"].load = 9
    wish = message(capability="data", routing_strategy=RoutingStrategy.LOAD_BALANCED)
    assert chosen(route(wish, here)) == "near"


def test_load_balanced_goes_round_among_equals():
    here, _ = directory(a="x", b="x", c="x")
    wish = message(capability="x", routing_strategy=RoutingStrategy.LOAD_BALANCED)
    assert [chosen(route(wish, here, turn=turn)) for turn in range(4)] == ["a", "b", "c", "a"]


def test_a_capability_can_be_broadcast():
    here, _ = directory(a="x", b="y", c="x")
    decision = route(message(capability="x", routing_strategy=RoutingStrategy.BROADCAST), here)
    assert isinstance(decision, FanOut)
    assert [inbox.agent for inbox in decision.inboxes] == ["a", "c"]


def test_a_wanted_version_is_the_only_one_that_matches():
    here, _ = directory(old="translate:v1", new="translate:v2")
    assert chosen(route(message(capability="translate:v2"), here)) == "new"


def test_whoever_wants_no_version_gets_any():
    here, _ = directory(only="translate:v3")
    assert chosen(route(message(capability="translate"), here)) == "only"


def test_a_paused_provider_is_chosen_only_when_none_is_running():
    here, places = directory(paused="x", running="x")
    places["paused"].is_running = False
    assert chosen(route(message(capability="x"), here)) == "running"
    places["running"].is_running = False
    assert chosen(route(message(capability="x"), here)) == "paused"


def test_an_agent_that_asks_for_what_it_offers_means_another():
    here, _ = directory(a="x", b="x")
    assert chosen(route(message(sender="a", capability="x"), here)) == "b"
    here.remove("b")
    assert isinstance(route(message(sender="a", capability="x"), here), Undeliverable)


def test_nobody_provides_is_answered_with_the_near_capabilities():
    here, _ = directory(a="data-analysis")
    decision = route(message(capability="data-analisys"), here)
    assert isinstance(decision, Undeliverable)
    assert decision.code == "no_provider"
    assert decision.suggestions == ("data-analysis",)


def test_a_removed_agent_leaves_no_trace_in_the_directory():
    here, _ = directory(a="x.y:v2 z")
    here.remove("a")
    assert not here.capabilities()
    assert not here.providers("x")
    assert not here._providers


@pytest.mark.parametrize("again", ["y", "x y"])
def test_a_new_version_replaces_what_was_offered(again):
    here, places = directory(a="x")
    here.put(places["a"], [parse_capability(name) for name in again.split()])
    assert set(here.capabilities()) == set(again.split())
