"""An agent that keeps notes in the node's own key-value store."""

import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import kv, types

NOTES_MAX = 1_000


class WitWorld(wit_world.WitWorld):
    """Exports of the world `agent`."""

    def handle_message(self, message: str) -> str | None:
        """Answer `{"note": "milk", "text": "two bottles"}` and `{"note": "milk"}`, or list all."""
        content = json.loads(message)["content"]
        wish = content if isinstance(content, dict) else {}
        name, text = wish.get("note"), wish.get("text")
        if name is None:
            return json.dumps({"content": {"notes": json.loads(kv.keys(""))}})
        if not isinstance(name, str) or not isinstance(text, str | None):
            raise Err(types.Error("invalid_arguments", "`note` and `text` are texts"))
        if text is not None:
            if len(json.loads(kv.keys(""))) >= NOTES_MAX:
                raise Err(types.Error("failed", f"there are {NOTES_MAX} notes already"))
            kv.set(name, json.dumps(text))
        found = kv.get(name)
        if found is None:
            return json.dumps({"performative": "failure", "content": {"missing": name}})
        return json.dumps({"content": {"note": name, "text": json.loads(found)}})
