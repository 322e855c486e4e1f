"""A conversation with one agent: what is said, and how the answer is shown.

Lines of the agent stand after `[Agent]`. In a stream, tokens appear as they come, and tool calls
beside them on stderr, so that a pipe still carries the agent's words only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from caxton_node.cli.client import Client, path_of
from caxton_node.cli.event_stream import ServerEvent
from caxton_node.cli.follow import raise_error_event
from caxton_node.cli.output import Output
from caxton_node.cli.printable import printable, text_of
from caxton_node.domain.errors import Unavailable
from caxton_node.domain.performatives import NEGATIVE

__all__ = ["GRACE_S", "Talk", "prefixed"]

GRACE_S: Final = 5.0
"""What the server gets beyond its own deadline to say that it has passed."""

ARGUMENTS_LENGTH_MAX: Final = 200
"""Characters of a tool call's arguments that are shown."""


def prefixed(agent: str, text: str) -> str:
    """Return every line of `text` after the agent's name."""
    return "\n".join(f"[{agent}] {line}".rstrip() for line in text.splitlines() or [""])


@dataclass(slots=True, kw_only=True)
class Talk:
    """One conversation, as it goes on."""

    client: Client
    output: Output
    agent: str
    timeout_s: float
    """For each answer."""
    is_streaming: bool = False
    conversation_id: str | None = None
    """None until the first answer, unless an earlier conversation is continued."""
    sender: str | None = None
    performative: str | None = None

    def say(self, text: str) -> bool:
        """Say something, show the answer, and tell whether it is more than a refusal.

        Raises:
            CaxtonError: The server's own error; `unreachable`; `timed_out`.
        """
        body = {
            "message": text,
            "conversation_id": self.conversation_id,
            "sender": self.sender,
            "performative": self.performative,
            "timeout_s": self.timeout_s,
        }
        body = {key: value for key, value in body.items() if value is not None}
        path = path_of("agents", self.agent, "chat")
        wait_s = self.timeout_s + GRACE_S
        if self.is_streaming:
            events = self.client.events("POST", path, body=body, timeout_s=wait_s)
            answer = self._streamed(events)
        else:
            answer = self.client.call("POST", path, body=body, timeout_s=wait_s)
            if self.output.is_json:
                self.output.document(answer)
            elif answer["performative"] not in NEGATIVE:
                self.output.line(prefixed(self.agent, _words(answer)))
        self.conversation_id = answer["conversation_id"]
        if answer["performative"] in NEGATIVE:
            if not self.output.is_json:
                words = _words(answer)
                self.output.fail([f"[{self.agent}] {answer['performative']}: {words}"])
            return False
        return True

    def _streamed(self, events: Iterator[ServerEvent]) -> dict[str, Any]:
        """Show events as they come and return the answer that ends them."""
        view = _StreamView(self.agent, self.output)
        for event in events:
            raise_error_event(event)
            if self.output.is_json:
                self.output.document({"event": event.kind, "data": event.data})
            else:
                view.show(event)
            if event.kind == "reply":
                answer: dict[str, Any] = event.data
                return answer
        raise Unavailable(
            "unreachable",
            f"{self.client.server} ended the stream before the answer",
            hint="ask again; the turn may have gone on",
        )


def _words(answer: dict[str, Any]) -> str:
    text = answer.get("text")
    return text if isinstance(text, str) else text_of(answer["reply"].get("content"))


class _StreamView:
    """The terminal's line while an answer comes in pieces."""

    def __init__(self, agent: str, output: Output) -> None:
        self._agent = agent
        self._output = output
        self._is_line_open = False
        self._said = ""
        """Since the last tool call."""

    def show(self, event: ServerEvent) -> None:
        """Show one event."""
        data = event.data
        match event.kind:
            case "delta":
                self._said += data["text"]
                self._write(data["text"])
            case "tool_call":
                self._close_line()
                self._said = ""
                arguments = text_of(data.get("arguments"))[:ARGUMENTS_LENGTH_MAX]
                self._output.note(f"  → {data['name']} {arguments}")
            case "tool_result":
                self._close_line()
                mark = "✗" if data.get("is_error") else "✓"
                self._output.note(f"  {mark} {data['name']} {data.get('summary') or ''}".rstrip())
            case "reply":
                self._close_line()
                words = _words(data)
                if data["performative"] not in NEGATIVE and self._said.strip() != words.strip():
                    self._output.line(prefixed(self._agent, words))
            case _:
                # `accepted`, and what later servers may tell of.
                pass

    def _write(self, text: str) -> None:
        for piece in printable(text).splitlines(keepends=True):
            if not self._is_line_open:
                self._output.fragment(f"[{self._agent}] ")
            self._output.fragment(piece)
            self._is_line_open = not piece.endswith("\n")

    def _close_line(self) -> None:
        if self._is_line_open:
            self._output.fragment("\n")
            self._is_line_open = False
