"""Markdown with YAML front matter into a `Document` and the text below it."""

import re
from typing import Final

from caxton_node.documents.document import Document, Flaw, Unreadable
from caxton_node.documents.yaml_source import read_yaml

__all__ = ["read_markdown"]

_OPENING: Final = re.compile(r"---[ \t]*(?:\n|$)")
_CLOSING: Final = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)


def read_markdown(text: str) -> tuple[Document, str]:
    """Return the front matter and the body.

    Raises:
        Unreadable: There is no front matter, it does not end, or it is no YAML table.
    """
    opening = _OPENING.match(text)
    if opening is None:
        flaw = Flaw(
            "A Markdown agent begins with a line of three dashes",
            "front_matter",
            "Begin with ---, then the keys as `key: value`, then --- and the documentation",
        )
        raise Unreadable(flaw, line=1, column=1)
    closing = _CLOSING.search(text, opening.end())
    if closing is None:
        flaw = Flaw("The front matter has no end", "front_matter", "Close it with a line of ---")
        raise Unreadable(flaw, line=1, column=1)
    document = read_yaml(text, start=opening.end(), end=closing.start())
    return document, text[closing.end() :].strip()
