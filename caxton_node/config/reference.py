"""The reference page of settings, written from the tree that reads them."""

import json
from collections.abc import Iterator
from typing import Final

from caxton_node.config.layers import SHORT_NAMES
from caxton_node.config.load import shown
from caxton_node.config.settings import Setting, Settings, all_settings

__all__ = ["settings_page"]

_OPENING: Final = """# Settings

<!-- Written by docs/generate.py from caxton_node/config/settings.py. Do not edit. -->

A node needs no settings to start. Where there are some, flags win over the environment, the
environment over the file, the file over the defaults. `caxton server config --effective` shows
each value in force and where it came from; secrets are not shown.

## The file

The first of these that exists is read, and no other: the one named by `--config` or
`CAXTON_CONFIG`; `caxton.toml` in the working directory; `~/.config/caxton/caxton.toml`;
`/etc/caxton/caxton.toml`.

```toml
[http]
bind = "127.0.0.1:8080"

[llm]
base_url = "http://localhost:11434/v1"
model = "${MODEL:-llama3.1}"
api_key_file = "/run/secrets/llm"
```

In texts, `${VAR}` is replaced by the environment variable, and `${VAR:-default}` has a default; a
variable that is not set and has no default is a mistake. `$${` writes a literal `${`. A secret may
stand in a file of its own, named by the key with `_file` at its end. Durations are written `"30s"`,
`"1h30m"` or as seconds, sizes `"10MB"`, `"256MiB"` or as bytes. An unknown key is a mistake, told
with file, line and the nearest key.

## The environment

Every setting has a variable: `CAXTON_`, the section, two underscores, the key, as in
`CAXTON_HTTP__BIND`. Lists are separated by commas, tables are JSON, an empty variable is one that
is not set.
"""

_UNKNOWN: Final = """
A variable with two underscores in a row that names no setting is a mistake. Any other unknown
`CAXTON_…` variable is a warning, except those of the client (`CAXTON_SERVER`, …) and those that
Kubernetes makes for a service of this name.
"""


def settings_page() -> str:
    """Return `docs/reference/settings.md`."""
    short = [f"- `{name}` for `{key}`" for name, key in SHORT_NAMES.items()]
    lines = [_OPENING, "Some have a short name too:", "", *short, _UNKNOWN]
    settings = list(all_settings())
    for section, field in Settings.model_fields.items():
        # The first line of the section's class says what it is for.
        summary = (getattr(field.annotation, "__doc__", None) or "").splitlines()[0]
        _, _, meaning = summary.partition(": ")
        lines += [f"## `[{section}]`", "", meaning[:1].upper() + meaning[1:], ""]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        lines += _rows(one for one in settings if one.section == section)
        lines.append("")
    return "\n".join(lines)


def _rows(settings: Iterator[Setting]) -> Iterator[str]:
    for setting in settings:
        _, _, name = setting.key.partition(".")
        wanted = setting.reader.wanted.replace("|", "\\|")
        yield f"| `{name}` | {wanted} | {_default(setting)} | {setting.doc} |"


def _default(setting: Setting) -> str:
    if setting.key == "node.data_dir":
        return "`$XDG_DATA_HOME/caxton`, which is `~/.local/share/caxton`"
    value = shown(setting, setting.default)
    return "" if value is None else f"`{json.dumps(value)}`"
