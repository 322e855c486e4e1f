"""From a manifest to an agent that takes turns: admitted, linked with its host, started."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.errors import Rejected
from caxton_node.domain.wasm import GuestLimits
from caxton_node.llm.model import Model
from caxton_node.routing.clock import Clock
from caxton_node.runtime.guest_caller import HostParts
from caxton_node.runtime.guest_host import GuestHost
from caxton_node.runtime.guest_log import GuestLog
from caxton_node.runtime.guest_state import StateKeeper, agent_owner, kept_state
from caxton_node.runtime.guests import Guests
from caxton_node.runtime.purse import NewSpending
from caxton_node.runtime.wasm_agent import WasmAgent, WasmAgentParts
from caxton_node.store.protocol import Store
from caxton_node.wasm.box import Plan

__all__ = ["GuestBuilder", "limits_of"]


def limits_of(spec: AgentSpec) -> GuestLimits:
    """Return the limits of an agent's guest."""
    limits, default = spec.limits, GuestLimits()
    return GuestLimits(
        memory_bytes=limits.memory_bytes or default.memory_bytes,
        time_s=limits.time_s,
        cpu_s=limits.cpu_s or default.cpu_s,
        fuel=limits.fuel,
        host_calls_per_s=limits.host_call_rate or default.host_calls_per_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestBuilder:
    """Builds agents of kind `wasm`."""

    guests: Guests
    host: HostParts
    store: Store
    clock: Clock
    tasks: asyncio.TaskGroup
    agents_folder: Path

    async def build(
        self, spec: AgentSpec, model: Callable[[str], Model], new_spending: NewSpending
    ) -> WasmAgent:
        """Return an agent whose guest can be started.

        Args:
            spec: Its manifest.
            model: Chooses a model by its name.
            new_spending: Makes the sums that its budget is asked with.

        Raises:
            Rejected: `invalid_module`: the file is refused, or is a server of tools.
            Denied: `denied`: it may not run where it wants to.
            Unavailable: `unreachable`: nobody has the file.
        """
        limits = limits_of(spec)
        admitted = await self.guests.admit(spec.name, spec.version, spec.wasm, limits=limits)
        if not admitted.shape.is_agent:
            raise Rejected(
                "invalid_module",
                f"the file of {spec.name!r} is a server of tools, not an agent",
                hint="Deploy it with: caxton tool deploy FILE.wasm",
            )
        host = GuestHost(spec.name, spec.grants, self.host, model, kv_owner=agent_owner(spec.name))
        log = GuestLog(spec.name, self.store, self.clock, self.tasks, host.redact)
        keeper = StateKeeper(spec.name, spec.version, self.guests.kv, self.tasks)
        box = self.guests.open(
            Plan(
                name=spec.name,
                version=spec.version,
                file=admitted.compiled.file,
                shape=admitted.shape,
                limits=limits,
                parameters=msgspec.json.encode(dict(spec.parameters)),
                secret_names=spec.grants.secrets,
                environment=dict(spec.grants.environment or {}),
                log=log.write,
                on_snapshot=keeper.keep,
            ),
            spec.wasm.isolation,
        )
        box.restore(await kept_state(self.guests.kv, spec.name))
        return WasmAgent(
            spec,
            WasmAgentParts(
                box=box,
                host=host,
                node=self.host,
                new_spending=new_spending,
                folder=self.agents_folder / spec.name,
                keeper=keeper,
            ),
        )
