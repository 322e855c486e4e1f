"""How often the offline provider chooses the right tool, beside two simpler ways in the same run.

Requests come from `*.jsonl` beside this file, one object a line:

    {"request": str, "toolset": str, "expected": [names], "arguments": {…}}

`expected` lists every acceptable tool; empty means that nothing must be called. `arguments`, where
given, is a part of what the call must say. The weights of the provider were tuned on `dev.jsonl`
alone; `heldout.jsonl` was written apart, and its figures are the ones to believe.

Lists of tools come from the node's own registry (`builtin`) and from JSON files below
`toolsets/` here or in `build/tool_choice/`, as `python -m loadtests.tool_choice.collect` makes
them. Requests over a list that is not there are counted as skipped.

Measured: *top-1* and *top-3* of the ranking; *called right*, the first call is an expected one
with the expected arguments; *false calls*, where nothing should be called. The baselines have no
notion of arguments: BM25 always takes its best tool, and the first tool that shares a word with
the request is what a quick hack would take.

Run: `python -m loadtests.tool_choice [--set dev] [--verbose]`. Writes
`build/bench/tool_choice.json`.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.model import ModelRequest
from caxton_node.llm.offline.gathered import Gathered
from caxton_node.llm.offline.provider import decide_reply
from caxton_node.llm.offline.ranking import ToolIndex
from caxton_node.llm.offline.reading import read
from caxton_node.llm.offline.selection import candidates
from caxton_node.llm.offline.words import terms
from caxton_node.tools.builtin import builtin_tools

__all__ = ["Case", "Score", "evaluate", "main"]

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
THIRD_PARTY: Final = "all-third-party"
EVERYTHING: Final = "everything"
"""The product's own tools and all others together."""

TOOLSET_FOLDERS: Final = (HERE / "toolsets", ROOT / "build" / "tool_choice" / "toolsets")
REPORT: Final = ROOT / "build" / "bench" / "tool_choice.json"

BUILTIN: Final = "builtin"

_WORD: Final = re.compile(r"[a-z]{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and what should come of it."""

    request: str
    toolset: str
    expected: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one way made of a request."""

    ranking: tuple[str, ...]
    called: str | None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Score:
    """Counts over some requests."""

    set_name: str
    toolset: str
    way: str
    request_count: int = 0
    tool_count: int = 0
    """Requests that should lead to a call."""
    top_1: int = 0
    top_3: int = 0
    called_right: int = 0
    quiet_count: int = 0
    """Requests that should not."""
    false_calls: int = 0

    def add(self, case: Case, choice: Choice) -> bool:
        """Count one choice; return whether it is right in every respect."""
        self.request_count += 1
        if not case.expected:
            self.quiet_count += 1
            self.false_calls += choice.called is not None
            return choice.called is None
        self.tool_count += 1
        self.top_1 += bool(set(choice.ranking[:1]) & set(case.expected))
        self.top_3 += bool(set(choice.ranking[:3]) & set(case.expected))
        is_right = choice.called in case.expected and all(
            choice.arguments.get(name) == value for name, value in case.arguments.items()
        )
        self.called_right += is_right
        return is_right


Way = Callable[[str, Sequence[ToolSpec]], Choice]


def offline(request: str, tools: Sequence[ToolSpec]) -> Choice:
    """Choose as the offline provider does."""
    reading = read(request)
    ranking = [candidate.tool.name for candidate in candidates(reading, tools, Gathered())]
    reply = decide_reply(ModelRequest(messages=(), tools=tuple(tools), question=request))
    if not reply.tool_calls:
        return Choice(ranking=tuple(ranking), called=None)
    call = reply.tool_calls[0]
    # A first step towards another tool is what the provider means to do.
    order = dict.fromkeys([call.name, *ranking])
    return Choice(ranking=tuple(order), called=call.name, arguments=call.arguments)


def bm25(request: str, tools: Sequence[ToolSpec]) -> Choice:
    """Take the tool whose texts fit best."""
    ranked = [text.spec.name for _, text in ToolIndex(tools).ranked(terms(request))]
    return Choice(ranking=tuple(ranked), called=ranked[0] if ranked else None)


def first_keyword(request: str, tools: Sequence[ToolSpec]) -> Choice:
    """Take the first tool that shares a word with the request."""
    said = set(_WORD.findall(request.lower()))
    found = [
        tool.name
        for tool in tools
        if said.intersection(_WORD.findall(f"{tool.name} {tool.description}".lower()))
    ]
    return Choice(ranking=tuple(found), called=found[0] if found else None)


WAYS: Final[Mapping[str, Way]] = {
    "offline": offline,
    "bm25": bm25,
    "first_keyword": first_keyword,
}


def evaluate(
    set_name: str,
    cases: Iterable[Case],
    toolsets: Mapping[str, Sequence[ToolSpec]],
    on_wrong: Callable[[Case, Choice], None],
) -> list[Score]:
    """Try every way on every case; the last rows are the sums of a set."""
    scores: dict[tuple[str, str], Score] = {}
    for case in cases:
        for way, choose in WAYS.items():
            choice = choose(case.request, toolsets[case.toolset])
            for toolset in (case.toolset, "(all)"):
                row = scores.setdefault(
                    (toolset, way), Score(set_name=set_name, toolset=toolset, way=way)
                )
                is_right = row.add(case, choice)
            if way == "offline" and not is_right:
                on_wrong(case, choice)
    return sorted(scores.values(), key=lambda row: row.toolset == "(all)")


def load_cases(path: Path) -> list[Case]:
    """Read one set."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [
        Case(
            request=row["request"],
            toolset=row["toolset"],
            expected=tuple(row["expected"]),
            arguments=row.get("arguments", {}),
        )
        for row in rows
    ]


async def load_toolsets() -> dict[str, tuple[ToolSpec, ...]]:
    """Read the lists of others and ask the registry for our own."""
    toolsets = {
        path.stem: tuple(_spec(row) for row in json.loads(path.read_text("utf-8")))
        for folder in TOOLSET_FOLDERS
        for path in sorted(folder.glob("*.json"))
    }
    async with builtin_tools() as tools:
        toolsets[BUILTIN] = tuple(tool.spec for tool in tools)
    if THIRD_PARTY in toolsets:
        # A name that both have (`echo`) is the product's own.
        own = {tool.name for tool in toolsets[BUILTIN]}
        others = tuple(tool for tool in toolsets[THIRD_PARTY] if tool.name not in own)
        toolsets[EVERYTHING] = toolsets[BUILTIN] + others
    return toolsets


def _spec(row: Mapping[str, Any]) -> ToolSpec:
    return ToolSpec(
        name=row["name"],
        description=row["description"],
        parameters=row["parameters"],
        is_read_only=row.get("read_only", False),
        is_destructive=row.get("destructive", False),
    )


def print_table(rows: Iterable[Score]) -> None:
    """Print counts as `right/of`."""
    head = ("set", "tools", "way", "top-1", "top-3", "called right", "false calls")
    table = [head] + [
        (
            row.set_name,
            row.toolset,
            row.way,
            f"{row.top_1}/{row.tool_count}",
            f"{row.top_3}/{row.tool_count}",
            f"{row.called_right}/{row.tool_count}",
            f"{row.false_calls}/{row.quiet_count}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the evaluation; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.tool_choice")
    parser.add_argument("--set", action="append", help="only this set, such as dev; repeatable")
    parser.add_argument("--verbose", action="store_true", help="print what went wrong")
    options = parser.parse_args(arguments)
    toolsets = asyncio.run(load_toolsets())
    rows: list[Score] = []
    skipped: dict[str, int] = {}

    def on_wrong(case: Case, choice: Choice) -> None:
        if options.verbose:
            print(f"{case.toolset}: {case.request!r}")
            print(f"  wanted {list(case.expected)} {dict(case.arguments)}")
            print(f"  called {choice.called} {dict(choice.arguments)}; {choice.ranking[:3]}")

    for path in sorted(HERE.glob("*.jsonl")):
        if options.set and path.stem not in options.set:
            continue
        cases = load_cases(path)
        known = [case for case in cases if case.toolset in toolsets]
        skipped[path.stem] = len(cases) - len(known)
        rows += evaluate(path.stem, known, toolsets, on_wrong)
    print_table(rows)
    for name, count in skipped.items():
        if count:
            print(
                f"{name}: {count} requests skipped, their tool lists are missing "
                "(python -m loadtests.tool_choice.collect)"
            )
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = {"rows": [asdict(row) for row in rows], "skipped": skipped}
    REPORT.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
