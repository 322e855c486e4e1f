"""Commands at the top that say the same as those of `caxton agent`."""

import click

from caxton_node.cli.agents import agent
from caxton_node.cli.command import Command
from caxton_node.cli.parameters import complete_agent

__all__ = ["logs", "restart", "stop"]


def _shortcut(verb: str) -> Command:
    """Return `caxton VERB --agent NAME`, which does what `caxton agent VERB NAME` does."""
    full = agent.commands[verb]
    argument = next(param for param in full.params if isinstance(param, click.Argument))
    assert argument.name is not None, "click names every argument"
    option = click.Option(
        ["--agent", argument.name],
        metavar="AGENT",
        multiple=argument.nargs == -1,
        required=True,
        shell_complete=complete_agent,
        help="Which agent.",
    )
    own = [param for param in full.params if param is not argument]
    shortcut = Command(name=verb, callback=full.callback, help=full.help, params=[option])
    shortcut.params = [option, *own]
    return shortcut


logs = _shortcut("logs")
restart = _shortcut("restart")
stop = _shortcut("stop")
