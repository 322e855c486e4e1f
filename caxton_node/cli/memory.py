"""`caxton memory`: what agents know, and how it came to be known."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from caxton_node.cli.client import connect, path_of
from caxton_node.cli.command import Group, duration
from caxton_node.cli.output import Branch
from caxton_node.cli.parameters import complete_agent, limit_option
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted, instant

__all__ = ["memory", "relation_tree"]

DEPTH_MAX: Final = 10

BACKUP_TIMEOUT_S: Final = 300.0

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def whose(command: Decorated) -> Decorated:
    """Add the options that say whose memory is meant."""
    scope = click.option(
        "--scope",
        type=click.Choice(("agent", "workspace", "global")),
        help="Only this part of it; when writing, where to.",
    )
    agent = click.option(
        "--agent",
        metavar="AGENT",
        shell_complete=complete_agent,
        help="Whose memory. Without it: what all share.",
    )
    return agent(scope(command))


@click.group(cls=Group)
def memory() -> None:
    """See what agents know, tell them more, let them forget."""


@memory.command("search")
@click.argument("words", metavar="QUESTION…", nargs=-1, required=True)
@whose
@click.option("--history", is_flag=True, help="Also what is no longer true.")
@limit_option(10)
@pass_session
def search(
    session: Session,
    words: Sequence[str],
    agent: str | None,
    scope: str | None,
    history: bool,
    count_max: int,
) -> None:
    """Find what fits a question, by meaning, by words and by relations."""
    document = connect(session).get(
        path_of("memory", "search"),
        {
            "query": " ".join(words),
            "agent": agent,
            "scope": scope,
            "history": history,
            "limit": min(count_max, 100),
        },
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    if document["note"]:
        output.note(document["note"])
    if not document["items"]:
        output.note("Nothing fits.")
        return
    output.table(
        ("SCORE", "ENTITY", "WHAT", "SINCE", "FOUND BY"),
        [
            (
                f"{each['score']:.2f}",
                each["observation"]["entity"],
                each["observation"]["text"],
                instant(each["observation"]["valid_from"]),
                _found_by(each["reasons"]),
            )
            for each in document["items"]
        ],
    )


def _found_by(reasons: dict[str, Any]) -> str:
    ways = []
    if reasons["similarity"] is not None:
        ways.append(f"meaning {reasons['similarity']:.2f}")
    if reasons["keyword_rank"] is not None:
        ways.append("words")
    if reasons["graph_via"]:
        ways.append(f"relation to {reasons['graph_via']}")
    return ", ".join(ways)


@memory.command("add")
@click.argument("entity", metavar="ENTITY")
@click.argument("texts", metavar="TEXT…", nargs=-1, required=True)
@whose
@click.option("--type", "type_name", default="thing", help="Of the entity.")
@click.option(
    "--attribute", default="", help="What it says of the entity; a newer text replaces this one."
)
@click.option("--ttl", type=duration, help="How long to keep it, such as 30d.")
@click.option("--pin", is_flag=True, help="Never let it decay.")
@pass_session
def add(
    session: Session,
    *,
    entity: str,
    texts: Sequence[str],
    agent: str | None,
    scope: str | None,
    type_name: str,
    attribute: str,
    ttl: float | None,
    pin: bool,
) -> None:
    """Remember something about an entity."""
    document = connect(session).call(
        "POST",
        path_of("memory", "entities"),
        body={
            "entity": entity,
            "observations": list(texts),
            "type": type_name,
            "attribute": attribute,
            "ttl_s": ttl,
            "pinned": pin,
            "agent": agent,
            "scope": scope,
        },
    )
    if session.output.is_json:
        session.output.document(document)
        return
    known = len(document["observations"]) - document["new"]
    more = f"; {counted(known, 'observation')} known already" if known else ""
    replaced = len(document["replaced"])
    more += f"; replaces {counted(replaced, 'observation')}" if replaced else ""
    session.output.done(f"{entity} is remembered in {document['scope']}{more}")


@memory.command("relate")
@click.argument("source", metavar="ENTITY")
@click.argument("relation", metavar="RELATION")
@click.argument("target", metavar="ENTITY")
@whose
@click.option("--strength", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@pass_session
def relate(
    session: Session,
    source: str,
    relation: str,
    target: str,
    agent: str | None,
    scope: str | None,
    strength: float,
) -> None:
    """Remember how two entities are related."""
    document = connect(session).call(
        "POST",
        path_of("memory", "relations"),
        body={
            "source": source,
            "target": target,
            "type": relation,
            "strength": strength,
            "agent": agent,
            "scope": scope,
        },
    )
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.done(f"{source} {relation} {target}")


@memory.command("show")
@click.argument("entity", metavar="ENTITY")
@whose
@click.option("--history", is_flag=True, help="Also what is no longer true.")
@pass_session
def show(
    session: Session, entity: str, agent: str | None, scope: str | None, history: bool
) -> None:
    """Show what is known of an entity, since when, and from where."""
    document = connect(session).get(
        path_of("memory", "entities", entity),
        {"agent": agent, "scope": scope, "history": history},
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    for each in document["items"]:
        output.line(f"{each['name']} ({each['type']}, {each['scope']})")
        output.table(
            ("ID", "WHAT", "KIND", "SINCE", "UNTIL", "FROM"),
            [
                (
                    one["id"],
                    one["text"],
                    one["kind"],
                    instant(one["valid_from"]),
                    None if one["valid_to"] is None else instant(one["valid_to"]),
                    one["source"]["conversation_id"] or None,
                )
                for one in each["observations"]
            ],
        )


@memory.command("graph")
@click.argument("entity", metavar="ENTITY")
@whose
@click.option("--depth", type=click.IntRange(0, DEPTH_MAX), default=3, show_default=True)
@pass_session
def graph(session: Session, entity: str, agent: str | None, scope: str | None, depth: int) -> None:
    """Show what an entity is related to, as a tree."""
    document = connect(session).get(
        path_of("memory", "graph", entity), {"agent": agent, "scope": scope, "depth": depth}
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.tree(relation_tree(document))
    if document["cut"]:
        output.note("There is more than is shown.")


def relation_tree(document: dict[str, Any]) -> Branch:
    """Return a walked graph as a tree: each entity once, below the one that first leads to it."""
    depths = {each["name"]: each["depth"] for each in document["entities"]}
    root = next((name for name, depth in depths.items() if depth == 0), document["root"])
    parents: dict[str, tuple[str, str]] = {}
    for each in document["relations"]:
        for near, far, arrow in (
            (each["source"], each["target"], f"→ {each['type']} →"),
            (each["target"], each["source"], f"← {each['type']} ←"),
        ):
            if depths.get(far, 0) == depths.get(near, 0) + 1:
                parents.setdefault(far, (near, arrow))

    def grown(name: str, arrow: str) -> Branch:
        twigs = tuple(
            grown(child, way) for child, (parent, way) in parents.items() if parent == name
        )
        return Branch(f"{arrow} {name}".strip(), twigs)

    return grown(root, "")


@memory.command("stats")
@pass_session
def stats(session: Session) -> None:
    """Show how much is remembered on the node."""
    document = connect(session).get(path_of("memory", "stats"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.facts(
        [
            ("State", document["state"]),
            ("Model", document["model"]),
            ("Entities", f"{document['entities']:,}"),
            ("Observations", f"{document['observations']:,} ({document['current']:,} current)"),
            ("Relations", f"{document['relations']:,}"),
            ("Vectors", f"{document['vectors']:,} ({document['in_arena']:,} in memory)"),
            ("File", f"{document['file_bytes'] / 1e6:,.1f} MB"),
            ("Arena", f"{document['arena_bytes'] / 1e6:,.1f} MB"),
        ]
    )
    output.table(
        ("SCOPE", "OBSERVATIONS"),
        sorted(document["by_scope"].items()),
    )
    if document["warnings"]:
        output.warn(document["warnings"])


@memory.command("forget")
@click.argument("entity", metavar="[ENTITY]", required=False)
@whose
@click.option("--observation", type=int, help="Only the observation of this id.")
@click.option("--conversation", metavar="ID", help="Only what was said in a conversation.")
@click.option("--all", "is_all", is_flag=True, help="Everything.")
@pass_session
def forget(
    session: Session,
    entity: str | None,
    agent: str | None,
    scope: str | None,
    observation: int | None,
    conversation: str | None,
    is_all: bool,
) -> None:
    """Delete for good what is known, and prove it."""
    if is_all is any(one is not None for one in (entity, observation, conversation)):
        raise click.UsageError("Say what to forget: an ENTITY, an option, or --all alone.")
    document = connect(session).call(
        "POST",
        path_of("memory", "forget"),
        body={
            "entity": entity,
            "observation": observation,
            "conversation_id": conversation,
            "agent": agent,
            "scope": scope,
            "confirm": is_all,
        },
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.done(
        f"Forgotten: {counted(document['observations'], 'observation')}, "
        f"{counted(document['vectors'], 'vector')}, {counted(document['relations'], 'relation')}; "
        f"{document['remaining']} left of them"
    )
    if document["backups"]:
        output.warn(["Backups made before still hold it:", *document["backups"]])


@memory.command("backup")
@click.argument("name", metavar="NAME")
@pass_session
def backup(session: Session, name: str) -> None:
    """Copy the node's memory to a file in its data directory, while it works."""
    document = connect(session).call(
        "POST",
        path_of("memory", "backups"),
        body={"name": name},
        timeout_s=session.timeout_s or BACKUP_TIMEOUT_S,
    )
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.done(f"{document['path']}, {document['size_bytes'] / 1e6:,.1f} MB")


@memory.command("check")
@pass_session
def check(session: Session) -> int:
    """Compare what is derived from the rows with them, and mend it.

    Exits with 1 if anything was amiss.
    """
    document = connect(session).call("POST", path_of("memory", "check"))
    if session.output.is_json:
        session.output.document(document)
        return 1 if document["findings"] else 0
    for finding in document["findings"]:
        session.output.check(is_good=False, text=finding)
    if not document["findings"]:
        session.output.done("Word index, vectors and arena agree with the rows")
    return 1 if document["findings"] else 0
