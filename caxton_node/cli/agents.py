"""`caxton agent`: what is deployed here, and its life."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from caxton_node.cli.agent_source import read_agent_file
from caxton_node.cli.client import ANSWER_TIMEOUT_S, Client, connect, path_of
from caxton_node.cli.command import Group, duration
from caxton_node.cli.deploy import deploy
from caxton_node.cli.failure import show_failure, show_warnings
from caxton_node.cli.follow import follow
from caxton_node.cli.parameters import agent_argument, limit_option
from caxton_node.cli.problem import place_document
from caxton_node.cli.rollout import ROLLOUT_COMMANDS
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted, elapsed, instant
from caxton_node.domain.agent import AgentState
from caxton_node.domain.errors import CaxtonError

__all__ = ["agent", "show_logs"]

LEVELS = ("debug", "info", "warning", "error")


@click.group(cls=Group)
def agent() -> None:
    """Look after agents."""


for _each in (deploy, *ROLLOUT_COMMANDS):
    agent.add_command(_each)


@agent.command("list")
@click.option(
    "--state",
    type=click.Choice([each.value for each in AgentState]),
    help="Only those in this state.",
)
@click.option("--capability", help="Only those that offer it.")
@click.option("--node", help="Only those that this node runs.")
@click.option("--by-node", "is_by_node", is_flag=True, help="One line for each on each node.")
@limit_option(1_000)
@pass_session
def list_agents(
    session: Session,
    state: str | None,
    capability: str | None,
    node: str | None,
    is_by_node: bool,
    count_max: int,
) -> None:
    """List the agents of the cluster."""
    if is_by_node:
        _list_by_node(session, node)
        return
    document, has_more = connect(session).items(
        path_of("agents"),
        {"state": state, "capability": capability, "node": node},
        count_max=count_max,
    )
    output = session.output
    if output.is_json:
        output.document(document)
        return
    agents = document["items"]
    if not agents:
        output.note("No agents. Deploy one with: caxton deploy FILE")
        return
    output.table(
        ("NAME", "STATE", "VERSION", "NODE", "CAPABILITIES", "TOOLS", "QUEUED", "UPTIME"),
        [
            (
                each["name"],
                each["state"],
                each["version"],
                each.get("nodes"),
                each["capabilities"],
                each["tools"],
                each["queued"],
                elapsed(each["uptime_s"]),
            )
            for each in agents
        ],
    )
    output.note(_footer(agents, has_more=has_more))


def _list_by_node(session: Session, node: str | None) -> None:
    document = connect(session).get(path_of("cluster", "agents"))
    output = session.output
    items = [each for each in document["items"] if node in (None, each["node"])]
    items.sort(key=lambda each: (each["node"], each["name"]))
    if output.is_json:
        output.document({**document, "items": items, "total": len(items)})
        return
    output.table(
        ("NODE", "AGENT", "STATE", "VERSION", "EPOCH", "REPLICAS", "PLACEMENT", "LOAD"),
        [
            (
                each["node"],
                each["name"],
                each["state"],
                each["version"],
                each["epoch"],
                each["replicas"],
                each["placement"],
                f"{each['load']}/7",
            )
            for each in items
        ],
    )


@agent.command("scale")
@agent_argument()
@click.argument("replicas", metavar="REPLICAS", type=click.IntRange(1, 100))
@click.option("--placement", help='Where, such as "spread", "node=NAME" or "zone=eu".')
@pass_session
def scale(session: Session, name: str, replicas: int, placement: str | None) -> None:
    """Change how many nodes run an agent, and which."""
    body = {"replicas": replicas} | ({} if placement is None else {"placement": placement})
    document = connect(session).call("POST", path_of("agents", name, "scale"), body=body)
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.done(
        f"Agent '{name}' is to run on {counted(document['replicas'], 'node')} "
        f"({document['placement']})"
    )


@agent.command("move")
@agent_argument()
@click.argument("node", metavar="NODE")
@pass_session
def move(session: Session, name: str, node: str) -> None:
    """Move an agent to a node, with what waits for it.

    It is not bound to that node: see --placement of scale for that.
    """
    connect(session).call("POST", path_of("agents", name, "move"), body={"node": node})
    session.output.done(f"Agent '{name}' moves to {node}")


def _footer(agents: Sequence[dict[str, Any]], *, has_more: bool) -> str:
    states = Counter(each["state"] for each in agents)
    parts = ", ".join(f"{states[state]} {state}" for state in AgentState if states[state])
    return f"\n{counted(len(agents), 'agent')} ({parts}){'; there are more' if has_more else ''}"


@agent.command("inspect")
@agent_argument()
@pass_session
def inspect_agent(session: Session, name: str) -> None:
    """Show everything about an agent."""
    document = connect(session).get(path_of("agents", name))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.facts(_facts_of(document))


def _facts_of(document: dict[str, Any]) -> list[tuple[str, object]]:
    llm, counts = document.get("llm") or {}, document.get("counts") or {}
    model = "/".join(part for part in (llm.get("provider"), llm.get("model")) if part)
    turns = f"{counts.get('finished', 0)} finished, {counts.get('failed', 0)} failed"
    if counts.get("average_ms") is not None:
        turns += f", {counts['average_ms']:.0f} ms on average"
    queued = f"{document['queued']} waiting, {document['turns_under_way']} under way"
    facts: list[tuple[str, object]] = [
        ("Name", document["name"]),
        ("Description", document.get("description")),
        ("State", document["state"]),
        ("Kind", document["kind"]),
        ("Version", f"{document['version']} (deployment {document['number']})"),
        ("Deployed", instant(document.get("deployed_at"))),
        ("Uptime", elapsed(document.get("uptime_s"))),
        ("Last activity", instant(document.get("last_activity_at"))),
        ("Capabilities", document["capabilities"]),
        ("Tools", document["tools"]),
        ("Nodes", document.get("nodes")),
        ("Model", model or None),
        ("Messages", queued),
        ("Turns", turns),
    ]
    facts += [
        (title.capitalize(), _settings_text(document.get(title)))
        for title in ("limits", "budget", "permissions", "parameters")
    ]
    return [*facts, ("System prompt", document.get("system_prompt"))]


def _settings_text(settings: Any) -> str | None:
    if not isinstance(settings, dict):
        return None
    shown = {key: value for key, value in settings.items() if value not in (None, [], "", {})}
    return "\n".join(f"{key} = {value}" for key, value in shown.items())


@agent.command("logs")
@agent_argument()
@click.option(
    "--tail", type=click.IntRange(1, 1_000), default=100, show_default=True, help="So many lines."
)
@click.option("--level", type=click.Choice(LEVELS), help="This level and above.")
@click.option("--follow", "is_following", is_flag=True, help="Go on showing new lines.")
@pass_session
def logs(session: Session, name: str, tail: int, level: str | None, is_following: bool) -> None:
    """Show what an agent did of late."""
    show_logs(session, name, tail=tail, level=level, is_following=is_following)


def show_logs(
    session: Session, name: str, *, tail: int, level: str | None, is_following: bool
) -> None:
    """Print an agent's log lines, oldest first; then new ones until interrupted, if asked."""
    client, output = connect(session), session.output
    path, query = path_of("agents", name, "logs"), {"tail": tail, "level": level}

    def show(item: dict[str, Any]) -> None:
        if output.is_json:
            output.document(item)
            return
        conversation = item.get("conversation_id")
        where = f" ({conversation})" if conversation else ""
        output.line(f"{instant(item['at'])} {item['level'].upper():<7} {item['text']}{where}")

    if is_following:
        follow(client.events("GET", path, query=query), show)
        return
    document = client.get(path, query)
    if output.is_json:
        output.document(document)
        return
    for item in document["items"]:
        show(item)


def _act(
    session: Session,
    names: Sequence[str],
    verb: str,
    said: str,
    *,
    body: Any = None,
    wait_s: float = 0.0,
) -> None:
    """Tell agents to do something, one after another, and say what became of each."""
    client, output = connect(session), session.output
    timeout_s = wait_s + (session.timeout_s or ANSWER_TIMEOUT_S)
    for name in names:
        path = path_of("agents", name, verb)
        document = client.call("POST", path, body=body, timeout_s=timeout_s)
        if output.is_json:
            output.document(document)
        else:
            output.done(f"Agent '{name}' {said}")


@agent.command("restart")
@agent_argument(is_many=True)
@pass_session
def restart(session: Session, names: Sequence[str]) -> None:
    """Start agents afresh, also failed and stopped ones."""
    _act(session, names, "restart", "restarted")


@agent.command("stop")
@agent_argument(is_many=True)
@click.option("--force", "is_forced", is_flag=True, help="Do not wait for turns under way.")
@click.option(
    "--grace",
    "grace_s",
    type=duration,
    default="10s",
    show_default=True,
    help="How long to wait for them.",
)
@pass_session
def stop(session: Session, names: Sequence[str], is_forced: bool, grace_s: float) -> None:
    """Stop agents; messages to them wait for a restart."""
    body = {"grace_s": grace_s, "force": is_forced}
    _act(session, names, "stop", "stopped", body=body, wait_s=grace_s)


@agent.command("suspend")
@agent_argument(is_many=True)
@pass_session
def suspend(session: Session, names: Sequence[str]) -> None:
    """Let agents finish what they do and take nothing new."""
    _act(session, names, "suspend", "suspended; messages to it wait")


@agent.command("resume")
@agent_argument(is_many=True)
@pass_session
def resume(session: Session, names: Sequence[str]) -> None:
    """Let suspended agents go on."""
    _act(session, names, "resume", "resumed")


@agent.command("delete")
@agent_argument(is_many=True)
@click.option("--force", "is_forced", is_flag=True, help="Also with messages waiting.")
@pass_session
def delete(session: Session, names: Sequence[str], is_forced: bool) -> None:
    """Remove agents and their versions."""
    client = connect(session)
    for name in names:
        client.call("DELETE", path_of("agents", name), query={"force": is_forced})
        session.output.done(f"Agent '{name}' deleted")


@agent.command("versions")
@agent_argument()
@pass_session
def versions(session: Session, name: str) -> None:
    """List the versions of an agent that were deployed."""
    document = connect(session).get(path_of("agents", name, "versions"))
    output = session.output
    if output.is_json:
        output.document(document)
        return
    output.table(
        ("NUMBER", "VERSION", "DEPLOYED", "FORMAT", "DIGEST", ""),
        [
            (
                each["number"],
                each["version"],
                instant(each["deployed_at"]),
                each["format"],
                each["digest"][:12],
                "current" if each["is_current"] else "",
            )
            for each in document["items"]
        ],
    )


@agent.command("rollback")
@agent_argument()
@click.option("--to", "number", type=click.IntRange(1), help="Number. [default: the one before]")
@pass_session
def rollback(session: Session, name: str, number: int | None) -> None:
    """Go back to an earlier version, or end a canary."""
    body = None if number is None else {"number": number}
    document = connect(session).call("POST", path_of("agents", name, "rollback"), body=body)
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.done(
        f"Agent '{name}' is at {document['version']} again (deployment {document['number']})"
    )


@agent.command("validate")
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path())
@click.option("--server-side", "asks_server", is_flag=True, help="Let the server check its tools.")
@pass_session
def validate(session: Session, files: Sequence[str], asks_server: bool) -> int:
    """Check agent files, without deploying them.

    Variables that a file refers to are those set here; with --server-side, the server's.
    """
    client = connect(session) if asks_server else None
    exit_code = 0
    for file in files:
        try:
            document = _validated(file, client)
        except CaxtonError as error:
            exit_code = exit_code or error.kind.exit_code
            show_failure(session, error)
            continue
        if session.output.is_json:
            session.output.document(document)
            continue
        show_warnings(session, document["warnings"])
        session.output.done(f"{file} is valid: agent '{document['agent']['name']}'")
    return exit_code


def _validated(file: str, client: Client | None) -> dict[str, Any]:
    """Return the API's document of a valid file, whoever checked it."""
    definition = read_agent_file(file)
    if client is not None:
        found: dict[str, Any] = client.call("POST", path_of("validate"), body=definition)
        return found
    from caxton_node.agentfile import AgentFormat, parse_agent

    parsed = parse_agent(
        definition["source"],
        format=AgentFormat(definition["format"]),
        file=file,
        environment=os.environ,
    )
    spec = parsed.spec
    return {
        "valid": True,
        "agent": {
            "name": spec.name,
            "kind": spec.kind,
            "version": spec.version,
            "description": spec.description,
            "capabilities": [str(capability) for capability in spec.capabilities],
            "tools": list(spec.tools),
        },
        "warnings": [place_document(place) for place in parsed.warnings],
    }
