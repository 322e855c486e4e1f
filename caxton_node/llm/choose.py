"""Which model answers for an agent: its own settings, then the node's defaults, then offline.

The node's key goes to the node's address only. An agent's file that names another `base_url`
must bring its own key: otherwise whoever may deploy an agent could have the node send its key
anywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from caxton_node.documents.nearest import nearest
from caxton_node.domain.agent import LlmSettings
from caxton_node.domain.errors import Place, Rejected
from caxton_node.llm.fallback import FallbackModel
from caxton_node.llm.model import OFFLINE, Model
from caxton_node.llm.offline.provider import OfflineModel
from caxton_node.llm.openai_clients import OPENAI_BASE_URL, Endpoint, OpenAiClients
from caxton_node.llm.openai_provider import OpenAiModel, RetrySettings

__all__ = ["PROVIDERS", "ModelDefaults", "choose_model"]

OPENAI: Final = "openai"

PROVIDERS: Final = (OPENAI, OFFLINE)
"""All that `provider` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """What the node's settings say for agents that say nothing."""

    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


def choose_model(
    settings: LlmSettings, *, defaults: ModelDefaults, clients: OpenAiClients
) -> Model:
    """Return the model that answers for an agent, with its fallbacks.

    Args:
        settings: The agent's `[llm]`.
        defaults: The node's.
        clients: Where connections are shared. The caller closes it after the models.

    Raises:
        Rejected: `invalid_agent` or `invalid_settings`, when a provider is unknown or a model
            is called without a name.
    """
    provider = _provider(settings, defaults)
    first = _model(provider, _model_name(settings, defaults), settings, defaults, clients)
    chain = [first]
    for entry in settings.fallback:
        head, slash, rest = entry.partition("/")
        # Names of models contain slashes too: `meta/llama` is a model, `openai/meta/llama` has
        # its provider.
        if slash and head in PROVIDERS:
            chain.append(_model(head, rest, settings, defaults, clients))
        elif entry == OFFLINE:
            chain.append(_model(OFFLINE, None, settings, defaults, clients))
        else:
            chain.append(_model(OPENAI, entry, settings, defaults, clients))
    return first[1] if len(chain) == 1 else FallbackModel(chain)


def _provider(settings: LlmSettings, defaults: ModelDefaults) -> str:
    if settings.provider is not None:
        return _known(settings.provider, "llm.provider", "invalid_agent")
    # An address of its own says more than the node's default does.
    if settings.base_url is not None:
        return OPENAI
    if defaults.provider is not None:
        return _known(defaults.provider, "llm.provider", "invalid_settings")
    is_configured = any((settings.api_key, defaults.base_url, defaults.api_key))
    return OPENAI if is_configured else OFFLINE


def _known(provider: str, name: str, code: str) -> str:
    if provider in PROVIDERS:
        return provider
    near = nearest(provider, PROVIDERS)
    fix = f"Did you mean {near!r}?" if near else f"There are: {_spelled(PROVIDERS)}."
    if near is None:
        fix += " Any OpenAI-compatible endpoint is `openai` with a `base_url`."
    detail = f"There is no model provider called {provider[:64]!r}."
    place = Place(detail, field=name, rule="unknown_provider", fix=fix)
    raise Rejected(code, detail, hint=fix, places=(place,))


def _model_name(settings: LlmSettings, defaults: ModelDefaults) -> str | None:
    return settings.model or defaults.model


def _model(
    provider: str,
    name: str | None,
    settings: LlmSettings,
    defaults: ModelDefaults,
    clients: OpenAiClients,
) -> tuple[str, Model]:
    if provider == OFFLINE:
        return "none", OfflineModel()
    if not name:
        detail = "No model is named, and `openai` needs one."
        fix = 'Set `model` in [llm] of the agent or of the node, such as `model = "…"`.'
        place = Place(detail, field="llm.model", rule="required", fix=fix)
        raise Rejected("invalid_agent", detail, hint=fix, places=(place,))
    model = OpenAiModel(
        _endpoint(settings, defaults),
        model=name,
        clients=clients,
        retry=RetrySettings(retry_count_max=settings.retry_count_max),
    )
    return name, model


def _endpoint(settings: LlmSettings, defaults: ModelDefaults) -> Endpoint:
    node_url = defaults.base_url or OPENAI_BASE_URL
    base_url = settings.base_url or node_url
    api_key = settings.api_key
    if api_key is None and base_url.rstrip("/") == node_url.rstrip("/"):
        api_key = defaults.api_key
    return Endpoint(base_url=base_url, api_key=api_key)


def _spelled(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
