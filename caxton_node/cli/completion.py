"""`caxton completion`: scripts that let a shell complete commands, options and agents' names."""

from typing import Final

import click

from caxton_node.cli.command import Command

__all__ = ["COMPLETE_VARIABLE", "completion"]

COMPLETE_VARIABLE: Final = "_CAXTON_COMPLETE"
"""Set by the scripts; the program then answers what could follow, and nothing else."""


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(caxton completion bash)". For zsh: eval "$(caxton completion zsh)". For
    fish: caxton completion fish | source.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    program = ctx.find_root().command
    # `source` of bash would first start a bash to ask for its version: seconds for nothing.
    click.echo(ShellComplete.source(found(program, {}, "caxton", COMPLETE_VARIABLE)))
