"""`caxton init`: a new agent's files, from a template."""

from pathlib import Path

import click

from caxton_node.cli.command import Command
from caxton_node.cli.session import Session, pass_session
from caxton_node.domain.errors import Conflict

__all__ = ["init"]


@click.command(cls=Command)
@click.argument("name", default="my-agent")
@click.option("--template", default="assistant", show_default=True, help="What to begin with.")
@click.option(
    "--wasm",
    "language",
    type=click.Choice(["rust", "go", "js", "python"]),
    help="A project in this language, built to WebAssembly, instead of a template.",
)
@click.option("--tools", "is_server", is_flag=True, help="With --wasm: an MCP server, no agent.")
@click.option("--list", "is_listing", is_flag=True, help="List the templates.")
@pass_session
def init(
    session: Session,
    name: str,
    template: str,
    language: str | None,
    *,
    is_server: bool,
    is_listing: bool,
) -> None:
    """Write the files of a new agent into a folder of its name."""
    from caxton_node.starters import starter_files
    from caxton_node.templates import instantiate, list_templates

    output = session.output
    if is_server and language is None:
        raise click.UsageError(
            "--tools says what --wasm writes: caxton init NAME --wasm go --tools"
        )
    if is_listing:
        templates = list_templates()
        if output.is_json:
            items = [{"name": each.name, "description": each.description} for each in templates]
            output.document({"items": items, "total": len(items), "next_cursor": None})
            return
        output.table(("TEMPLATE", "FOR"), [(each.name, each.description) for each in templates])
        return
    if language is None:
        texts = instantiate(template, agent_name=name)
    else:
        texts = starter_files(language, name=name, is_agent=not is_server)
    folder = Path(name)
    for file in texts:
        if (folder / file).exists():
            raise Conflict(
                "already_exists", f"{folder / file} exists already", hint="choose another name"
            )
    for file, text in texts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        with (folder / file).open("x", encoding="utf-8") as opened:
            opened.write(text)
    if output.is_json:
        output.document({"folder": str(folder), "files": sorted(texts)})
        return
    output.done(f"Wrote {', '.join(str(folder / file) for file in sorted(texts))}")
    next_step = f"deploy {folder / 'agent.toml'}" if language is None else f"build {folder}"
    output.note(f"Next: caxton {next_step}")
