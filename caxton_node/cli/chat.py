"""`caxton chat`: talk to an agent, once or for as long as one likes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from caxton_node.cli.client import connect
from caxton_node.cli.command import Command
from caxton_node.cli.failure import show_failure
from caxton_node.cli.history import line_history
from caxton_node.cli.parameters import agent_argument
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.talk import Talk
from caxton_node.domain.errors import CaxtonError, Rejected

__all__ = ["ANSWER_TIMEOUT_S", "chat", "read_stdin"]

ANSWER_TIMEOUT_S: Final = 120.0
"""The longest turn of an agent, unless its file says otherwise."""

TEXT_BYTES_MAX: Final = 1_000_000

HELP: Final = """/new       begin another conversation
/id        show the conversation's id
/exit      leave (so does Ctrl-D)"""


@click.command(cls=Command)
@agent_argument()
@click.argument("text", nargs=-1)
@click.option("--stream", "is_streaming", is_flag=True, help="Show words and tool calls at once.")
@click.option("--conversation", "conversation_id", metavar="ID", help="Continue this one.")
@click.option("--performative", help="What kind of act it is. [default: request]")
@click.option("--sender", help="Who is talking. [default: client]")
@pass_session
def chat(
    session: Session,
    name: str,
    text: Sequence[str],
    is_streaming: bool,
    conversation_id: str | None,
    performative: str | None,
    sender: str | None,
) -> int:
    """Talk to an agent.

    With TEXT, says that and prints the answer. Without, reads what is piped in; in a terminal,
    begins a conversation. `-` for TEXT reads what is piped in.
    """
    talk = Talk(
        client=connect(session),
        output=session.output,
        agent=name,
        timeout_s=session.timeout_s or ANSWER_TIMEOUT_S,
        is_streaming=is_streaming,
        conversation_id=conversation_id,
        sender=sender,
        performative=performative,
    )
    words = " ".join(text)
    if not words and sys.stdin.isatty():
        return _converse(session, talk)
    if words in {"", "-"}:
        words = read_stdin()
    return 0 if talk.say(words) else 1


def read_stdin() -> str:
    """Return what is piped in, without the last line's end.

    Raises:
        Rejected: `invalid_message`: nothing, too much, or no text.
    """
    data = sys.stdin.buffer.read(TEXT_BYTES_MAX + 1)
    if len(data) > TEXT_BYTES_MAX:
        raise Rejected("invalid_message", f"What is piped in exceeds {TEXT_BYTES_MAX:,} bytes")
    try:
        words = data.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise Rejected(
            "invalid_message", f"What is piped in is no UTF-8 (byte {error.start + 1})"
        ) from None
    if not words.strip():
        raise Rejected("invalid_message", "There is nothing to say", hint="give a text")
    return words


def _converse(session: Session, talk: Talk) -> int:
    """Talk until the user leaves. A failed answer does not end it."""
    session.output.note(f"Talking to {talk.agent}. /help says what else there is.")
    with line_history(os.environ, Path.home()):
        while True:
            try:
                line = input("> ").strip()
            except EOFError:
                session.output.line()
                return 0
            if line in {"/exit", "/quit"}:
                return 0
            if line.startswith("/"):
                _obey(line, talk)
            elif line:
                _ask(session, talk, line)


def _obey(line: str, talk: Talk) -> None:
    match line:
        case "/new":
            talk.conversation_id = None
            talk.output.note("A new conversation begins.")
        case "/id":
            talk.output.line(talk.conversation_id or "Nothing was said yet.")
        case _:
            talk.output.line(HELP)


def _ask(session: Session, talk: Talk, line: str) -> None:
    try:
        talk.say(line)
    except CaxtonError as error:
        show_failure(session, error)
    except KeyboardInterrupt:
        talk.output.note("\nNo longer waiting; the agent's turn goes on.")
