# ruff: noqa: INP001 -- a script beside the pages, not part of a package
"""Writes the reference pages that the code itself knows best: `python docs/generate.py`.

A test compares the pages with the code, so that neither goes its own way.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from caxton_node.agentfile.reference import agent_file_page
from caxton_node.cli.reference import cli_page
from caxton_node.cli.symptoms import guide_table
from caxton_node.config.reference import settings_page
from caxton_node.domain.tool import ToolSpec
from caxton_node.memory.knowledge_tool import KnowledgeBase
from caxton_node.tools.builtin import builtin_tools
from caxton_node.tools.reference import tools_page

REFERENCE = Path(__file__).parent / "reference"
GUIDE = Path(__file__).parent / "how-to" / "operate.md"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each generated page."""
    yield REFERENCE / "agent-file.md", agent_file_page()
    yield REFERENCE / "cli.md", cli_page()
    yield REFERENCE / "settings.md", settings_page()
    yield REFERENCE / "tools.md", tools_page(asyncio.run(_tools()))
    yield GUIDE, with_symptoms(GUIDE.read_text(encoding="utf-8"))


def with_symptoms(guide: str) -> str:
    """Return the operations guide with the table of symptoms that the doctor knows."""
    begin, end = "<!-- symptoms -->\n", "<!-- end of symptoms -->\n"
    before, _, rest = guide.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{guide_table()}{end}{after}"


async def _tools() -> list[ToolSpec]:
    async with builtin_tools() as tools:
        specs = [tool.spec for tool in tools]
    return sorted([*specs, KnowledgeBase.spec], key=lambda spec: spec.name)


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
