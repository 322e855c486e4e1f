"""What a model said, read as a communicative act. Pure.

A model that wants another act than the plain answer writes one JSON object,
`{"performative": "refuse", "content": …}`, possibly in a code fence. Anything else is text, and
text is the positive answer to whatever was asked.
"""

import re
from typing import Any, Final

import msgspec

from caxton_node.domain.performatives import ANSWERABLE, Performative, parse_performative
from caxton_node.runtime.agent import Reply

__all__ = ["read_reply"]

_FENCE: Final = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


def read_reply(text: str, metadata: dict[str, Any]) -> Reply:
    """Return the act that a model's last text stands for.

    Args:
        text: What the model said.
        metadata: About the turn; a provider may name the act here, under `performative`.
    """
    named = metadata.pop("performative", None)
    if named is not None:
        return Reply(text, parse_performative(str(named)), metadata)
    fenced = _FENCE.fullmatch(text)
    body = fenced.group(1) if fenced else text
    if body.lstrip().startswith("{"):
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return Reply(text, None, metadata)
        if isinstance(value, dict) and isinstance(value.get("performative"), str):
            act = parse_performative(value["performative"])
            # A reply that itself asks would leave the asker with a question for an answer.
            if act is not None and (act not in ANSWERABLE or act is Performative.PROPOSE):
                return Reply(value.get("content"), act, metadata)
    return Reply(text, None, metadata)
