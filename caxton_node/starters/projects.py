"""The files of a new guest, in the language of one's choice."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from caxton_node.agentfile.rules import AgentName
from caxton_node.documents.readers import Flawed
from caxton_node.domain.errors import Place, Rejected

__all__ = ["STARTERS", "starter_files"]

MARKER: Final = "project-name"
"""Stands for the name of the project in a starter."""

STARTERS: Final = ("rust", "go", "js", "python")
"""Languages with a project to begin with."""

WITH_INTERFACES: Final = frozenset({"js", "python"})
"""Those whose tools read the WIT files."""

ENTRIES: Final = {
    "rust": "src/lib.rs",
    "go": "main.go",
    "js": "main.js",
    "python": "main.py",
}
"""Where a project's own code lies. The starters keep an agent's and a server's side by side."""

AGENT_HEAD: Final = """\
name = "{name}"
kind = "wasm"
version = "1.0.0"
description = "Counts."
capabilities = ["counting"]
"""

SERVER_HEAD: Final = """\
name = "{name}"
version = "1.0.0"
description = "Turns texts into capital letters."
"""

MANIFEST: Final = """\
# What a guest may do is written here; whatever is not is denied.
{head}
[wasm]
module = "{name}.wasm"

[limits]
memory = "{memory}"
time = "10s"
"""

MEMORY: Final = {"rust": "16MB", "go": "64MB", "js": "32MB", "python": "64MB"}

AGENT_README: Final = """\
# {name}

An agent in WebAssembly ({language}). It counts what it is told to add, and its state outlives a
restart and a new version.

    caxton build                       compiles it to {name}.wasm
    caxton deploy {name}.toml          deploys it
    caxton chat {name} '{{"add": 2}}'    talks to it
"""

SERVER_README: Final = """\
# {name}

An MCP server in WebAssembly ({language}), with one tool.

    caxton build                                         compiles it to {name}.wasm
    caxton tool deploy {name}.toml                       deploys it
    caxton tool call {name}.shout '{{"text": "hello"}}'    calls its tool
"""


def starter_files(language: str, *, name: str, is_agent: bool = True) -> Mapping[str, str]:
    """Return the files of a new project: their text by path.

    Args:
        language: One of `STARTERS`.
        name: Of the agent or server, and of the project.
        is_agent: Otherwise it is an MCP server.

    Raises:
        Rejected: `invalid_request`, for another language; `invalid_agent`, for a name that no
            agent can have.
    """
    if language not in STARTERS:
        raise Rejected(
            "invalid_request",
            f"there is no project to begin with in {language!r}",
            hint=f"There are: {', '.join(STARTERS)}",
        )
    try:
        AgentName().read(name)
    except Flawed as error:
        places = [
            Place(message=f"`name` {flaw.message}", field="name", rule=flaw.rule, fix=flaw.fix)
            for flaw in error.flaws
        ]
        raise Rejected("invalid_agent", "The agent cannot have this name", places=places) from None
    root = files("caxton_node.starters")
    texts = {
        path: file.read_text(encoding="utf-8").replace(MARKER, name.lower())
        for path, file in _walk(root.joinpath(language))
    }
    ending = ENTRIES[language].rpartition(".")[2]
    both = {role: texts.pop(f"{role}.{ending}") for role in ("agent", "server")}
    texts[ENTRIES[language]] = both["agent" if is_agent else "server"]
    if language in WITH_INTERFACES:
        for path, file in _walk(root.joinpath("wit")):
            texts[f"wit/{path}"] = file.read_text(encoding="utf-8")
    head = (AGENT_HEAD if is_agent else SERVER_HEAD).format(name=name)
    readme = AGENT_README if is_agent else SERVER_README
    texts[f"{name}.toml"] = MANIFEST.format(head=head, name=name, memory=MEMORY[language])
    texts["README.md"] = readme.format(name=name, language=language)
    texts[".gitignore"] = "*.wasm\ntarget/\nnode_modules/\n"
    return texts


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry
