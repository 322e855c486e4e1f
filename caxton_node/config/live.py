"""The few settings that may change while a node runs, and what they are now.

A node has values of its own, from its file, its environment and its flags. What the whole cluster
was told overrules them for as long as it is told so. Everything else waits for a restart.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, Final

from caxton_node.config.load import LoadedSettings, shown
from caxton_node.config.settings import Setting, Settings, all_settings
from caxton_node.documents.readers import Flawed
from caxton_node.domain.errors import NotFound, Place, Rejected

__all__ = ["CLUSTER_WIDE", "LiveSettings", "read_cluster_wide"]

CLUSTER_WIDE: Final[Mapping[str, Setting]] = {
    setting.key: setting
    for setting in all_settings()
    if setting.key
    in {
        "limits.retention",
        "log.level",
        "retry.attempts",
        "retry.factor",
        "retry.initial",
        "retry.max",
        "telemetry.sample_ratio",
    }
}
"""What the whole cluster can be told, by key: what no two nodes can contradict each other about,
what holds no secret, and what comes into force at once."""

_ORIGIN: Final = "cluster"


def read_cluster_wide(key: str, value: Any) -> Any:
    """Return the value of a setting as the settings hold it.

    Args:
        key: Dotted, such as `log.level`.
        value: JSON, or the text that a person wrote.

    Raises:
        NotFound: `key_not_found`: the whole cluster cannot be told this.
        Rejected: `invalid_settings`: it cannot be that.
    """
    setting = CLUSTER_WIDE.get(key)
    if setting is None:
        raise NotFound(
            "key_not_found",
            f"the whole cluster has no setting {key[:100]!r}",
            hint=f"there are {', '.join(CLUSTER_WIDE)}",
        )
    try:
        return setting.reader.read(
            setting.reader.from_text(value) if isinstance(value, str) else value
        )
    except Flawed as error:
        places = [
            Place(message=f"`{key}` {flaw.message}", field=key, rule=flaw.rule, fix=flaw.fix)
            for flaw in error.flaws
        ]
        raise Rejected("invalid_settings", "The setting cannot be that", places=places) from None


class LiveSettings:
    """The settings of a running node.

    Args:
        loaded: As they were found at the start.
    """

    def __init__(self, loaded: LoadedSettings) -> None:
        self._base = loaded.settings
        self._own: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._own_shown = dict(loaded.sources)
        self._told_shown: dict[str, tuple[Any, str]] = {}
        self._watchers: list[Callable[[Settings], None]] = []
        self.settings = loaded.settings
        """As they are now."""
        self.sources: Mapping[str, tuple[Any, str]] = ChainMap(self._told_shown, self._own_shown)
        """For each key what may be shown of its value, and where it came from; kept up to date."""

    def on_change(self, tell: Callable[[Settings], None]) -> None:
        """Call `tell`, which must not block, whenever something changed."""
        self._watchers.append(tell)

    def reload(self, loaded: LoadedSettings) -> None:
        """Take the node's own values anew, where they may change."""
        self._own = {key: _value(loaded.settings, key) for key in CLUSTER_WIDE}
        self._own_shown.update({key: loaded.sources[key] for key in CLUSTER_WIDE})
        self._apply()

    def tell(self, values: Mapping[str, Any]) -> None:
        """Let the whole cluster's values overrule the node's own: these, and no others.

        Args:
            values: By key, from `read_cluster_wide`.
        """
        self._told = dict(values)
        self._told_shown.clear()
        for key, value in values.items():
            self._told_shown[key] = (shown(CLUSTER_WIDE[key], value), _ORIGIN)
        self._apply()

    def _apply(self) -> None:
        settings = self._base
        for key, value in (self._own | self._told).items():
            section, name = CLUSTER_WIDE[key].section, CLUSTER_WIDE[key].name
            part = getattr(settings, section).model_copy(update={name: value})
            settings = settings.model_copy(update={section: part})
        if settings != self.settings:
            self.settings = settings
            for tell in self._watchers:
                tell(settings)


def _value(settings: Settings, key: str) -> Any:
    setting = CLUSTER_WIDE[key]
    return getattr(getattr(settings, setting.section), setting.name)
