"""From a document to an `AgentSpec`: every value read by its field, then the rules between them.

All mistakes are collected before anything is refused, so that an author mends a file once.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from caxton_node.agentfile.arrange import Entry, arrange
from caxton_node.agentfile.build import build_spec, default_of
from caxton_node.agentfile.guest_rows import GUEST_LIMIT_ROWS
from caxton_node.agentfile.inert import NOT_ACTED_UPON
from caxton_node.agentfile.report import PLACES_MAX, Report
from caxton_node.agentfile.schema import FIELDS, FREE_TABLES, Field
from caxton_node.agentfile.template import PLACEHOLDERS, placeholder_names, template_flaws
from caxton_node.documents.document import Document, Flaw, shorten
from caxton_node.documents.expand import expand_all
from caxton_node.documents.nearest import nearest
from caxton_node.documents.plain import plain_flaws
from caxton_node.documents.readers import Flawed
from caxton_node.domain.agent import AgentSpec
from caxton_node.domain.errors import Place

__all__ = ["Surroundings", "ToolMistakes", "check_agent"]

_GUEST_LIMITS: Final = frozenset(f"limits.{row.key}" for row in GUEST_LIMIT_ROWS)

_PROMPTS: Final = ("system_prompt", "user_prompt_template")

_EXAMPLES: Final = {
    "name": '"my-agent"',
    "capabilities": '["data-analysis"]',
    "system_prompt": '"You are …"',
    "handler": '"package.module:Class"',
    "wasm.sha256": '"9f86d0…"',
    "schedule.cron": '"0 7 * * *"',
}


ToolMistakes = Callable[[str, Mapping[str, Any]], Iterable[Place]]
"""Takes a tool's name and its `[tool_config.<name>]`; the fields of its places begin within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a file is checked against."""

    environment: Mapping[str, str]
    known_tools: Collection[str] | None
    """None when that is somebody else's question."""
    tool_mistakes: ToolMistakes
    """What is wrong with what is said of a tool."""
    assignment: str
    """How the format writes a missing key, such as `{key} = {value}`."""
    has_headers: bool
    """The format has table headers, under which a key can slip by mistake."""
    has_body: bool
    """The format has a body besides its keys, which is documentation."""


def check_agent(document: Document, surroundings: Surroundings, report: Report) -> AgentSpec:
    """Return the specification that a document describes.

    Raises:
        Rejected: `invalid_agent`, with every mistake at its place.
    """
    entries = arrange(document.values, report, has_headers=surroundings.has_headers)
    checker = _Checker(entries, surroundings, report)
    checker.read_values()
    checker.check_kind()
    checker.check_tools()
    checker.check_prompts()
    checker.check_schedule()
    checker.warn_of_the_inert()
    report.raise_errors()
    return build_spec(checker.by_target())


class _Checker:
    """The values read so far, by key, and the rules between them."""

    def __init__(
        self, entries: Mapping[str, Entry], surroundings: Surroundings, report: Report
    ) -> None:
        self._entries = entries
        self._surroundings = surroundings
        self._report = report
        self._values: dict[str, Any] = {}

    def by_target(self) -> dict[str, Any]:
        """Return the values under their names in the specification."""
        return {
            target: value
            for key, value in self._values.items()
            if (target := FIELDS[key].target) is not None
        }

    def read_values(self) -> None:
        """Read each value by its field; require the required."""
        for key, field in FIELDS.items():
            entry = self._entries.get(key)
            if entry is None:
                if field.is_required:
                    self._missing(key)
                continue
            try:
                self._values[key] = _read(field, entry.value, self._surroundings.environment)
            except Flawed as error:
                for flaw in error.flaws:
                    self._report.error(entry.path, flaw)

    def check_kind(self) -> None:
        """Each kind of agent has what it needs, and nothing that is another kind's."""
        if "kind" in self._entries and "kind" not in self._values:
            return
        if self._values.get("kind") == "wasm":
            self._check_guest()
            return
        for key in self._entries:
            if key.startswith(("wasm.", "grants.")):
                self._unwanted(key, 'is for agents of kind "wasm"', 'Add kind "wasm" or remove it')
            elif key in _GUEST_LIMITS and key in self._values:
                flaw = Flaw('has no effect: only agents of kind "wasm" have it', "not_acted_upon")
                self._report.warn(self._entries[key].path, flaw)
        if self._values.get("kind") == "python":
            if "handler" not in self._entries:
                self._missing("handler")
            for key in _PROMPTS:
                self._unwanted(key, 'has no use in an agent of kind "python"', "Remove it")
            return
        if "system_prompt" not in self._entries:
            self._missing("system_prompt")
        self._unwanted(
            "handler", 'is for agents of kind "python"', 'Add kind "python" or remove it'
        )

    def _check_guest(self) -> None:
        if "wasm.sha256" not in self._entries:
            self._missing("wasm.sha256")
        for key in (*_PROMPTS, "handler", "tools", "tool_config"):
            self._unwanted(key, 'has no use in an agent of kind "wasm"', "Remove it")

    def check_tools(self) -> None:
        """Tools exist, and what is said of a tool fits it and is said of one that the agent has."""
        tools = self._named_tools()
        self._check_names("tools", tools, "names no tool")
        configs = self._values.get("tool_config", {})
        if self._surroundings.known_tools is not None:
            names = {name: name for name in configs}
            self._check_names("tool_config", names, "configures a tool that does not exist")
        for name, config in configs.items():
            path = (*self._entries["tool_config"].path, name)
            for place in self._surroundings.tool_mistakes(name, config):
                self._report.error_within(path, place)
        if "tools" in self._entries and "tools" not in self._values:
            return
        for key in ("tool_config", "permissions.approvals"):
            for index, tool in enumerate(self._values.get(key, ())):
                if tool not in tools.values() and not self._is_unknown(key, tool):
                    within = (tool,) if key == "tool_config" else (index,)
                    message = f"has no effect: {shorten(tool)} is not among the agent's tools"
                    flaw = Flaw(message, "unused", f'Add "{shorten(tool)}" to tools', within)
                    self._report.warn(self._entries[key].path, flaw)

    def _named_tools(self) -> dict[str | int, str]:
        """Return the tools by index; of a list with mistakes, what can be read of it."""
        entry = self._entries.get("tools")
        if entry is None:
            return {}
        tools = self._values.get("tools")
        if tools is None:
            found = entry.value if isinstance(entry.value, list) else ()
            return {index: tool for index, tool in enumerate(found) if _is_tool_name(tool)}
        return dict(enumerate(tools))

    def _check_names(self, key: str, names: Mapping[str | int, str], wrong: str) -> None:
        known = self._surroundings.known_tools
        for step, tool in names.items():
            if known is None or tool in known:
                continue
            near = nearest(tool, known)
            fix = f'Did you mean "{near}"?' if near else f"There are: {', '.join(sorted(known))}"
            flaw = Flaw(f'{wrong}: "{shorten(tool)}"', "unknown_tool", fix, (step,))
            self._report.error(self._entries[key].path, flaw)

    def _is_unknown(self, key: str, tool: str) -> bool:
        """Whether it was said already that there is no such tool."""
        known = self._surroundings.known_tools
        return key == "tool_config" and known is not None and tool not in known

    def check_prompts(self) -> None:
        """Placeholders are well formed and name something."""
        parameters = self._values.get("parameters", {})
        for name in parameters:
            if name in PLACEHOLDERS:
                message = f"redefines the placeholder {{{{{name}}}}}, which every agent has"
                flaw = Flaw(message, "reserved_name", "Rename the parameter", (name,))
                self._report.error(self._entries["parameters"].path, flaw)
        if "parameters" in self._entries and "parameters" not in self._values:
            return
        known = {*PLACEHOLDERS, *parameters}
        for key in _PROMPTS:
            prompt = self._values.get(key, "")
            for wrong in islice(template_flaws(prompt, known), PLACES_MAX):
                flaw = Flaw(wrong.message, wrong.rule, wrong.fix)
                self._report.error(self._entries[key].path, flaw, needle=wrong.text)
        template = self._values.get("user_prompt_template")
        if template is not None and "message" not in placeholder_names(template):
            flaw = Flaw(
                "has no {{message}}: the model never sees what was asked",
                "no_message",
                "Add {{message}}",
            )
            self._report.warn(self._entries["user_prompt_template"].path, flaw)

    def check_schedule(self) -> None:
        """A schedule says when."""
        if "schedule.timezone" in self._entries and "schedule.cron" not in self._entries:
            self._missing("schedule.cron")

    def warn_of_the_inert(self) -> None:
        """Say what the file asks for and this version does not do."""
        for key, message in NOT_ACTED_UPON.items():
            if key in self._values and self._values[key] != default_of(FIELDS[key]):
                self._report.warn(self._entries[key].path, Flaw(message, "not_acted_upon"))

    def _missing(self, key: str) -> None:
        table, _, name = key.rpartition(".")
        line = self._surroundings.assignment.format(key=name, value=_EXAMPLES[key])
        fix = f"Add {line}" + (f" to [{table}]" if table else "")
        if key == "system_prompt" and self._surroundings.has_body:
            fix += " to the front matter; the text below it is documentation"
        path = tuple(key.split("."))
        self._report.error(path, Flaw("is missing", "required", fix))

    def _unwanted(self, key: str, message: str, fix: str) -> None:
        if key in self._entries:
            self._report.error(self._entries[key].path, Flaw(message, "not_allowed", fix))


def _is_tool_name(value: Any) -> bool:
    try:
        FIELDS["tools"].reader.read([value])
    except Flawed:
        return False
    return True


def _read(field: Field, value: Any, environment: Mapping[str, str]) -> Any:
    # A field's own reader says more of a number out of range; a table of the author's has none.
    is_free = field.key in FREE_TABLES
    unfit = tuple(flaw for flaw in plain_flaws(value) if is_free or flaw.rule == "not_text")
    if unfit:
        raise Flawed(*unfit)
    if not field.is_expanded:
        return field.reader.read(value)
    if field.key == "llm.api_key":
        field.reader.read(value)
    expanded, flaws = expand_all(value, environment)
    if flaws:
        raise Flawed(*flaws)
    if field.key == "llm.api_key":
        return expanded or None
    try:
        return field.reader.read(expanded)
    except Flawed as error:
        if expanded == value:
            raise
        # What came from the environment may be secret, so that it is not repeated.
        message = f"must be {field.reader.wanted}; with its variables replaced it is not"
        raise Flawed(*(Flaw(message, one.rule, None, one.within) for one in error.flaws)) from None
