"""The program `caxton`: the command line of a server, over its public API only."""

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from caxton import __version__
from caxton_node.cli.command import Later, LazyGroup
from caxton_node.cli.program import run_program
from caxton_node.cli.session import session_from

__all__ = ["COMMANDS", "caxton", "main"]

QUICK_START: Final = """\
Caxton coordinates agents: deploy them from files, talk to them, let them work together.

  caxton server start                     start a node on this machine
  caxton init my-agent                    write an agent's file to begin with
  caxton deploy my-agent/agent.toml       deploy it
  caxton chat my-agent "Hello"            talk to it
  caxton status                           see how it all does

All commands: caxton --help. What is wrong: caxton doctor."""


def _later(module: str, attribute: str, summary: str) -> Later:
    return Later(f"caxton_node.cli.{module}", attribute, summary)


COMMANDS: Final = {
    "version": _later("status", "version", "Show the version of this program."),
    "server": _later(
        "server_backup", "server", "Start, stop and look after a node on this machine."
    ),
    "status": _later("status", "status", "Show how the server does."),
    "doctor": _later("doctor", "doctor", "Find what is wrong, and say how to mend it."),
    "init": _later(
        "start_project", "init", "Write the files of a new agent into a folder of its name."
    ),
    "build": _later(
        "build", "build", "Build the guest in a folder into the file that its manifest names."
    ),
    "deploy": _later("deploy", "deploy", "Deploy agents from files."),
    "chat": _later("chat", "chat", "Talk to an agent."),
    "agent": _later("agents", "agent", "Look after agents."),
    "message": _later("messages", "message", "Send messages and see what became of them."),
    "conversation": _later("conversations", "conversation", "Read conversations."),
    "deadletter": _later(
        "deadletters", "deadletter", "Look after messages that could not be delivered."
    ),
    "capability": _later("capabilities", "capability", "See what agents offer."),
    "memory": _later(
        "memory_mcp", "memory", "See what agents know, tell them more, let them forget."
    ),
    "tool": _later(
        "tools", "tool", "See the tools that agents may use, and deploy servers of tools."
    ),
    "logs": _later("shortcuts", "logs", "Show what an agent did of late."),
    "stop": _later("shortcuts", "stop", "Stop agents; messages to them wait for a restart."),
    "restart": _later("shortcuts", "restart", "Start agents afresh, also failed and stopped ones."),
    "cluster": _later("cluster", "cluster", "See the ring of nodes and look after it."),
    "security": _later("security", "security", "Make certificates and keys for nodes and clients."),
    "completion": _later("completion", "completion", "Print the completion script of a shell."),
}
"""The commands at the top, in the order of the help."""

ALIASES: Final = {"agents": "agent"}


@click.group(
    cls=LazyGroup,
    later=COMMANDS,
    aliases=ALIASES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="caxton", message="%(prog)s %(version)s")
@click.pass_context
def caxton(ctx: click.Context) -> None:
    """Coordinate agents: deploy them from files, talk to them, see what they do."""
    if ctx.invoked_subcommand is None:
        click.echo(QUICK_START)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_program(caxton, given, name="caxton", session=session_from(os.environ))


if __name__ == "__main__":
    sys.exit(main())
