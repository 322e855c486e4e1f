"""Which calls a provider that only guesses may make.

It never calls what may destroy. It changes something only when the request asks for that in so
many words: a clause that begins with the tool's own verb. Reading is always allowed, also when
a tool that can write is asked to read, as an HTTP client with GET.

Reference: RFC 9110, section 9.2.1 (safe methods).
"""

from collections.abc import Mapping
from typing import Any, Final

from caxton_node.domain.tool import ToolSpec
from caxton_node.llm.offline.reading import Reading
from caxton_node.llm.offline.stemming import stem_set
from caxton_node.llm.offline.words import concepts, stems

__all__ = ["is_allowed", "serves_verbs"]

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_READING: Final = stem_set(
    "read get list search find show exists stat status count view lookup query"
)
_OPERATION: Final = stem_set("operation action command mode")

_CHANGING: Final = frozenset(
    {"~create", "~write", "~add", "~delete", "~move", "~edit", "~send", "~switch", "~toggle"}
    | {"~compress", "~run", "~echo"}
)


def is_allowed(tool: ToolSpec, arguments: Mapping[str, Any], reading: Reading) -> bool:
    """Tell whether the call may be made without a model's or a person's judgement."""
    if tool.is_destructive:
        return False
    if tool.is_read_only or _only_reads(tool, arguments):
        return True
    return _is_asked_for(tool, reading)


def serves_verbs(reading: Reading, tool: ToolSpec, gist: frozenset[str]) -> bool:
    """Tell whether a tool does what the request wants done.

    Who says *delete x* is not served by a tool that shows x, however well the rest fits.

    Args:
        reading: The request.
        tool: The tool.
        gist: Terms of the tool's name and first sentence.
    """
    changes = [verb for verb in sorted(reading.verbs) if verb in _CHANGE_VERBS]
    if tool.is_read_only and not _OUTWARD_VERBS.isdisjoint(changes):
        return False
    return not changes or any(
        verb in gist or not gist.isdisjoint(concepts(verb)) for verb in changes
    )


_OUTWARD_VERBS: Final = stem_set(
    "delete destroy erase wipe overwrite save store move rename send post upload publish "
    "submit deploy install commit push merge unstage reset revert undo cancel kill stop "
    "shutdown restart book buy pay order"
)
"""What changes the world outside: no tool that only reads does it."""


_CHANGE_VERBS: Final = stem_set(
    "delete remove drop erase destroy clear unlink wipe discard overwrite write save store "
    "move rename edit modify update replace alter change send post upload publish submit "
    "deploy install commit push merge unstage reset revert undo close cancel kill stop "
    "shutdown restart book buy pay order subscribe unsubscribe create append insert"
)


def _only_reads(tool: ToolSpec, arguments: Mapping[str, Any]) -> bool:
    """The choice among several operations falls on one that changes nothing."""
    properties = tool.parameters.get("properties")
    if not isinstance(properties, Mapping):
        return False
    for name, rules in properties.items():
        choices = rules.get("enum") if isinstance(rules, Mapping) else None
        if not isinstance(choices, list | tuple):
            continue
        value = arguments.get(name, rules.get("default"))
        if not isinstance(value, str):
            continue
        is_method = "GET" in choices
        if is_method and value in _SAFE_METHODS:
            return True
        is_operation = not _OPERATION.isdisjoint(stems(str(name)))
        if is_operation and stems(value)[:1] and stems(value)[0] in _READING:
            return True
    return False


def _is_asked_for(tool: ToolSpec, reading: Reading) -> bool:
    if reading.names(tool.name) and reading.verbs:
        return True
    words = stems(tool.name) + stems(tool.description[:200])[:3]
    own = set(words) | {concept for word in words for concept in concepts(word)}
    verbs = reading.verbs
    # A verb is the tool's own by its very word, or by a concept that is about changing things.
    return not verbs.isdisjoint(words) or any(
        concept in own and concept in _CHANGING for verb in verbs for concept in concepts(verb)
    )
