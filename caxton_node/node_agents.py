"""What takes the turns of a definition, built: part of the composition root."""

from collections.abc import Callable
from dataclasses import replace

from caxton_node.config import Settings
from caxton_node.domain.agent import AgentKind, AgentSpec, LlmSettings
from caxton_node.llm.choose import ModelDefaults, choose_model
from caxton_node.llm.model import Model
from caxton_node.llm.openai_clients import OpenAiClients
from caxton_node.llm.prices import Price, PriceTable
from caxton_node.runtime.agent import Agent
from caxton_node.runtime.guest_building import GuestBuilder
from caxton_node.runtime.llm_agent import LlmAgent, LlmParts
from caxton_node.runtime.purse import NewSpending
from caxton_node.runtime.python_agent import PythonAgent, load_handler
from caxton_node.runtime.spending import Spending
from caxton_node.runtime.tool_servers import ToolServers
from caxton_node.store.protocol import UsageTotal

__all__ = ["build_agent", "tool_servers"]


async def build_agent(
    spec: AgentSpec,
    *,
    settings: Settings,
    clients: OpenAiClients,
    parts: LlmParts,
    guests: GuestBuilder,
) -> Agent:
    """Build what takes the turns of a definition.

    Raises:
        CaxtonError: The definition asks for what this node does not have or allow.
    """
    match spec.kind:
        case AgentKind.PYTHON:
            return PythonAgent(load_handler(spec.handler, settings.python.allow), spec.parameters)
        case AgentKind.WASM:
            defaults = _model_defaults(settings)

            def choose(name: str) -> Model:
                wanted = replace(spec.llm, model=name) if name else spec.llm
                return choose_model(wanted, defaults=defaults, clients=clients)

            return await guests.build(
                spec, choose, _spending_of(spec, settings, lambda: choose("").provider)
            )
        case AgentKind.LLM:
            model = choose_model(spec.llm, defaults=_model_defaults(settings), clients=clients)
            new_spending = _spending_of(spec, settings, lambda: model.provider)
            return LlmAgent(spec, model=model, parts=parts, new_spending=new_spending)


def _spending_of(spec: AgentSpec, settings: Settings, provider: Callable[[], str]) -> NewSpending:
    """Return what makes the sums that an agent's budget is asked with."""
    prices = PriceTable(
        {
            name: Price(
                input_usd_per_million=price.input_usd_per_million,
                output_usd_per_million=price.output_usd_per_million,
            )
            for name, price in settings.llm.prices.items()
        }
    )

    def new_spending(in_conversation: UsageTotal, today: UsageTotal) -> Spending:
        return Spending(
            budget=spec.budget,
            prices=prices,
            provider=provider(),
            in_conversation=in_conversation,
            today=today,
        )

    return new_spending


def tool_servers(builder: GuestBuilder, settings: Settings, clients: OpenAiClients) -> ToolServers:
    """Build the MCP servers in sandboxes of a node."""

    def choose(name: str) -> Model:
        wanted = LlmSettings(model=name or None)
        return choose_model(wanted, defaults=_model_defaults(settings), clients=clients)

    return ToolServers(
        guests=builder.guests,
        parts=builder.host,
        store=builder.store,
        clock=builder.clock,
        tasks=builder.tasks,
        model=choose,
    )


def _model_defaults(settings: Settings) -> ModelDefaults:
    return ModelDefaults(
        provider=settings.llm.provider,
        model=settings.llm.model,
        base_url=settings.llm.base_url,
        api_key=settings.llm.secret(),
    )
