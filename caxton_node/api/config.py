"""The settings in force and where each came from. Secrets are hidden by whoever loaded them."""

from typing import Any, Final

from caxton_node.api.table import API_PREFIX, Endpoint, NoQuery, Request, Shape
from caxton_node.api.types import View
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]


class SettingView(View):
    """One setting."""

    value: Any
    source: str


class SettingsInForce(View):
    """All settings by dotted key."""

    items: dict[str, SettingView]


async def get_config(_: Request[NoQuery, None], node: Node) -> SettingsInForce:
    """Return the settings in force."""
    return SettingsInForce(
        items={
            key: SettingView(value=value, source=source)
            for key, (value, source) in node.settings_in_force.items()
        }
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/config",
        summary="Read the settings in force",
        tag="node",
        handle=get_config,
        responses={200: Shape("Each setting and where it came from.", SettingsInForce)},
    ),
)
