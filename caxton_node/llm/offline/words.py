"""Text as terms that can be compared: stems, and the concepts behind common verbs and nouns.

A request says *show me the average*, a tool says *computes statistics*. Stemming does not bring
these together; a small table of concepts does. It holds plain English words of requests and of
tools at large, no name of any tool. Concepts are terms like others, marked with `~`, so that
ranking treats both alike.
"""

import re
from typing import Final

from caxton_node.llm.offline.stemming import stem, stem_set, word_set

__all__ = ["GENERIC_STEMS", "concepts", "content_stems", "stems", "terms"]

TEXT_LENGTH_MAX: Final = 20_000
"""Characters that are read; a request or a description is shorter."""

_WORD: Final = re.compile(r"[^\W_]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_EMAIL: Final = re.compile(r"\be-mail", re.IGNORECASE)
_NOT_DONE: Final = re.compile(r"\b(?:not|n['’]t)\s+(?:yet\s+|been\s+)?([a-z]{3,20}ed)\b")
"""*Not yet staged* and *unstaged* are the same."""

_CONCEPTS_BY_WORDS: Final = {
    "fetch": "fetch get download retrieve grab pull request http curl visit browse",
    "read": "read open show view display print see cat contents content inside",
    "list": "list show enumerate ls display give",
    "search": "search find locate lookup look query grep seek match where",
    "create": "create make new generate generator build establish",
    "write": "write save store put persist record keep",
    "add": "add append attach insert include stage",
    "delete": "delete remove drop erase destroy clear unlink wipe discard",
    "move": "move rename relocate",
    "edit": "edit modify update change replace alter",
    "statistics": "statistics statistical average mean median aggregate analyze analyse "
    "analysis deviation stdev variance minimum maximum quartile summarize summarise summary "
    "highest lowest distribution",
    "sum": "sum add plus total addition",
    "calculate": "calculate compute calculation evaluate",
    "chart": "chart plot graph draw diagram visualize visualise visualization histogram",
    "convert": "convert transform translate conversion",
    "time": "time clock hour oclock now",
    "history": "history log logs past recent last latest",
    "image": "image picture photo logo icon media jpg png jpeg gif",
    "directory": "directory folder dir",
    "file": "file document",
    "web": "url link website webpage web uri page site http internet online",
    "text": "text string sentence paragraph",
    "count": "count many number length amount",
    "echo": "echo repeat parrot",
    "send": "send tell notify inform deliver message forward",
    "environment": "environment env",
    "size": "size big large bytes megabytes",
    "difference": "diff difference compare changed changes",
    "details": "info information metadata detail property attribute",
    "table": "csv table tabular spreadsheet rows columns row column",
    "issue": "ticket issue bug incident",
    "remember": "remember memorize note memory knowledge fact",
    "tree": "tree recursive hierarchy structure nested",
    "permission": "allowed permitted permission access",
    "compress": "compress zip gzip archive",
    "switch": "switch checkout",
    "unstage": "unstage unstaged",
    "toggle": "toggle enable disable turn",
    "status": "status state working",
    "run": "run execute start launch trigger",
    "upper": "uppercase upper capitals capital",
    "lower": "lowercase lower",
    "schedule": "schedule calendar appointment meeting event",
    "person": "user person people contact member",
    "extract": "extract parse pick select get",
}

_STOP_WORDS: Final = word_set(
    "a an the this that these those some any all both each every other another such same i "
    "me my mine we us our you your yours he him his she her it its they them their one ones "
    "is are was were be been being am do does did done doing has have had having can could "
    "may might must shall should will would need want like let please kindly thanks thank "
    "hi hello hey ok okay what which who whom whose when why how there here then than "
    "so too very just also only even still yet again once and or but nor not no yes if "
    "because as until while of at by for with about against between into through during "
    "before after above below to from up down in out on off over under per via without "
    "within us s t re ve ll d m don doesn didn isn aren wasn whats im id ive lets use using "
    "used tool tools call invoke help know tell say called named go going come whole entire "
    "everything anything something"
)
"""Words that say nothing about which tool is meant."""

GENERIC_STEMS: Final = stem_set(
    "data file text value number result content information thing item name way list get "
    "show give make set new first last string input output object entry type kind good best "
    "it"
)
"""Words too common among tools to be evidence alone."""


def stems(text: str) -> list[str]:
    """Return the stems of all words in order; `camelCase` and `snake_case` are several words."""
    spaced = _CAMEL.sub(" ", text[:TEXT_LENGTH_MAX])
    spaced = _EMAIL.sub("email", spaced)
    spaced = _NOT_DONE.sub(r"un\1", spaced)
    return [stem(word.casefold()) for word in _WORD.findall(spaced)]


def concepts(word_stem: str) -> tuple[str, ...]:
    """Return the concepts that a stem may stand for, marked with `~`."""
    return _CONCEPTS.get(word_stem, ())


def content_stems(text: str) -> list[str]:
    """Return the stems that carry meaning, in order, each once."""
    return list(dict.fromkeys(part for part in stems(text) if part not in _STOP_STEMS))


def terms(text: str) -> list[str]:
    """Return the stems that carry meaning and their concepts, with repetitions."""
    found: list[str] = []
    for part in stems(text):
        if part not in _STOP_STEMS:
            found.append(part)
            found.extend(_CONCEPTS.get(part, ()))
    return found


def _concepts_by_stem() -> dict[str, tuple[str, ...]]:
    table: dict[str, list[str]] = {}
    for concept, words in _CONCEPTS_BY_WORDS.items():
        for word in words.split():
            table.setdefault(stem(word), []).append(f"~{concept}")
    return {part: tuple(dict.fromkeys(found)) for part, found in table.items()}


_CONCEPTS: Final = _concepts_by_stem()
_STOP_STEMS: Final = _STOP_WORDS | frozenset(stem(word) for word in _STOP_WORDS)
