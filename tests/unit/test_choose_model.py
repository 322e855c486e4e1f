import pytest

from caxton_node.domain.agent import LlmSettings
from caxton_node.domain.errors import Rejected
from caxton_node.llm.choose import ModelDefaults, choose_model
from caxton_node.llm.fallback import FallbackModel
from caxton_node.llm.offline.provider import OfflineModel
from caxton_node.llm.openai_clients import Endpoint, OpenAiClients
from caxton_node.llm.openai_provider import OpenAiModel

NODE = ModelDefaults(model="house", base_url="http://llm.local/v1", api_key="node-key")


def chosen(*, defaults=None, **settings):
    return choose_model(
        LlmSettings(**settings), defaults=defaults or ModelDefaults(), clients=OpenAiClients()
    )


def endpoint_of(model):
    assert isinstance(model, OpenAiModel)
    return model._endpoint, model._model


async def test_without_any_configuration_the_offline_provider_answers():
    assert isinstance(chosen(), OfflineModel)


async def test_the_name_of_a_model_alone_configures_nothing():
    assert isinstance(chosen(model="gpt"), OfflineModel)


async def test_the_nodes_endpoint_serves_agents_that_say_nothing():
    expected = Endpoint(base_url="http://llm.local/v1", api_key="node-key")
    assert endpoint_of(chosen(defaults=NODE)) == (expected, "house")


async def test_an_agent_may_stay_offline_on_a_node_with_a_model():
    assert isinstance(chosen(defaults=NODE, provider="offline"), OfflineModel)


async def test_an_address_of_its_own_goes_before_an_offline_default():
    defaults = ModelDefaults(provider="offline")
    model = chosen(defaults=defaults, base_url="http://mine/v1", model="m")
    assert endpoint_of(model)[0].base_url == "http://mine/v1"


async def test_the_nodes_key_never_goes_to_an_agents_address():
    endpoint, _ = endpoint_of(chosen(defaults=NODE, base_url="http://evil.example/v1"))
    assert endpoint == Endpoint(base_url="http://evil.example/v1", api_key=None)


async def test_an_agents_own_key_goes_to_the_nodes_address():
    endpoint, _ = endpoint_of(chosen(defaults=NODE, api_key="mine"))
    assert endpoint == Endpoint(base_url="http://llm.local/v1", api_key="mine")


async def test_a_misspelt_provider_is_refused_with_the_nearest_name():
    with pytest.raises(Rejected) as caught:
        chosen(provider="opnai")
    assert caught.value.code == "invalid_agent"
    assert "'openai'" in caught.value.places[0].fix


async def test_another_vendor_is_told_how_to_be_reached():
    with pytest.raises(Rejected) as caught:
        chosen(provider="anthropic")
    assert "base_url" in caught.value.hint


async def test_a_wrong_default_is_a_fault_of_the_settings():
    with pytest.raises(Rejected) as caught:
        chosen(defaults=ModelDefaults(provider="nowhere"))
    assert caught.value.code == "invalid_settings"


async def test_a_provider_without_a_model_is_refused():
    with pytest.raises(Rejected) as caught:
        chosen(provider="openai")
    assert caught.value.places[0].field == "llm.model"


async def test_fallbacks_are_tried_in_their_order():
    model = chosen(defaults=NODE, fallback=("openai/meta/llama", "meta/small", "offline"))
    assert isinstance(model, FallbackModel)
    assert [name for name, _ in model._models] == ["house", "meta/llama", "meta/small", "none"]
    assert [one.provider for _, one in model._models] == ["openai"] * 3 + ["offline"]


async def test_keys_are_in_no_repr():
    assert "node-key" not in repr(NODE) + repr(chosen(defaults=NODE))
