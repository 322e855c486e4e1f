"""The symptoms that this project knows: what each means and what to do, in one table.

The alerts of `deploy/observability/rules.yaml` have these names, `caxton doctor` tells
what one look can tell, and the table of `docs/how-to/operate.md` is made from this one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from caxton_node.cli import symptom_signs as signs
from caxton_node.cli.checks import Finding
from caxton_node.cli.samples import read_samples

__all__ = ["SYMPTOMS", "Symptom", "guide_table", "symptoms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """Something that an operator notices."""

    name: str
    """Of the alert, where there is one; else of the finding alone."""
    meaning: str
    remedy: str
    """What to do. Markdown, with commands in backticks."""
    sign: signs.Sign | None = None
    """How one scrape shows it."""
    told_by: str = ""
    """The check of `caxton doctor` that tells it, where no metric does."""
    heading: str = ""
    """How the guide calls it, where no alert does."""

    @property
    def check(self) -> str:
        """Name of the finding that tells it."""
        return self.told_by or f"symptom.{self.name}"


SYMPTOMS: Final = (
    Symptom(
        name="CaxtonNodeDown",
        meaning="A node does not answer Prometheus for a minute.",
        remedy="Is the process there? Its log, then start it. Its agents run elsewhere meanwhile, "
        "if the rest has the majority.",
        told_by="server",
    ),
    Symptom(
        name="CaxtonPartition",
        meaning="A node sees no more than half of the nodes expected. It serves its agents, "
        "changes none and keeps what is for the others.",
        remedy="See who is missing: `caxton cluster members`. Mend the network: it heals by "
        "itself. If nodes are gone for good: `caxton cluster remove NAME` on the side that stays.",
        sign=signs.on_the_small_side,
    ),
    Symptom(
        name="CaxtonNodeMissing",
        meaning="Fewer nodes than expected, for a minute.",
        remedy="Start it again; if it will not come back, `caxton cluster remove NAME`, or lower "
        "`cluster.expect` when fewer are wanted.",
        sign=signs.node_missing,
    ),
    Symptom(
        name="CaxtonNameConflict",
        meaning="Two nodes have one name: the later one is not let in.",
        remedy="Give one another `--name`, or wait until the old one is held dead. "
        "`member.conflict` in the log has both addresses.",
        sign=signs.name_taken,
    ),
    Symptom(
        name="CaxtonAgentsFailed",
        meaning="An agent crashed too often and was given up. Its messages wait.",
        remedy="`caxton agent logs NAME`, mend and deploy, or `caxton agent restart NAME`.",
        told_by="agents",
    ),
    Symptom(
        name="CaxtonMessagesFail",
        meaning="More than one message in a hundred is given up or too late.",
        remedy="`caxton deadletter list` says why; `caxton deadletter retry ID` when it is mended.",
        sign=signs.messages_fail,
    ),
    Symptom(
        name="CaxtonMessagesSlow",
        meaning="One in a hundred takes longer than a second from acceptance to its end.",
        remedy="Click an exemplar in the dashboard: the trace shows where. Mostly a model or a "
        "tool.",
        sign=signs.messages_slow,
    ),
    Symptom(
        name="CaxtonMessagesUnplaced",
        meaning="Messages wait for agents that no node in reach has.",
        remedy="`caxton capability list` on the node that accepted them shows who is known; deploy "
        "the agent again, or mend the network.",
        sign=signs.messages_unplaced,
    ),
    Symptom(
        name="CaxtonHttpErrors",
        meaning="Requests end in errors of the server.",
        remedy="The lines of the log at `error` carry the `trace_id` that clients were given.",
        sign=signs.http_errors,
    ),
    Symptom(
        name="CaxtonModelFails",
        meaning="Calls of models fail for good, after their retries.",
        remedy="`caxton agent logs NAME`; the provider's status; a fallback in `[llm]`.",
        sign=signs.models_fail,
    ),
    Symptom(
        name="CaxtonQueueLong",
        meaning="Messages come faster than agents take them.",
        remedy="Find the slow agent: `caxton agent list`. Look at its model and its tools, raise "
        "`limits.concurrency` or `replicas`.",
        sign=signs.queue_long,
    ),
    Symptom(
        name="CaxtonMailboxFull",
        meaning="A full mailbox answers *busy*, and one is nearly full.",
        remedy="As for a long queue, for one agent.",
        sign=signs.mailbox_full,
    ),
    Symptom(
        name="CaxtonStoreBehind",
        meaning="The disk takes commits more slowly than messages come.",
        remedy="Another disk; `caxton_messages_total` says how many come.",
        sign=signs.store_behind,
    ),
    Symptom(
        name="CaxtonEventLoopSlow",
        meaning="Everything on the node waits.",
        remedy="CPU of the machine; a limit of CPU on the container: remove it. A Python agent "
        "that blocks.",
        sign=signs.event_loop_slow,
    ),
    Symptom(
        name="CaxtonDiskFull",
        meaning="Less than a fifth of the disk, and of 20 GB, is left. Without room nothing is "
        "accepted.",
        remedy="Enlarge it; `limits.retention`; old folders in `backups`.",
        sign=signs.disk_full,
    ),
    Symptom(
        name="CaxtonCertificateEnds",
        meaning="Within 30 days other nodes will refuse this one.",
        remedy="`caxton security renew-cert`; a node that runs takes the new one by itself.",
        sign=signs.certificate_ends,
    ),
    Symptom(
        name="CaxtonTracesLost",
        meaning="The receiver does not take spans; messages are not affected.",
        remedy="Look at whoever `telemetry.otlp_endpoint` names. The log says the reason once.",
        sign=signs.traces_lost,
    ),
    Symptom(
        name="CaxtonEtcdLost",
        meaning="etcd does not answer. Gossip goes on; locks and cluster-wide settings wait.",
        remedy="Look at its members: `caxton cluster status`.",
        sign=signs.etcd_lost,
    ),
    Symptom(
        name="exposure",
        heading="A node does not start: *has no certificate*, *no key*, *no login*",
        meaning="It would listen where others reach it without asking who they are.",
        remedy="Certificates and a key; for HTTP `--insecure` behind something that decides who "
        "may reach it.",
        told_by="exposure",
    ),
)


def symptoms(text: str, *, now_s: float) -> Iterator[Finding]:
    """Yield what the metrics of a node give away, good or bad.

    Args:
        text: As `/metrics` returns it.
        now_s: Seconds since 1970, UTC.
    """
    found = read_samples(text)
    for one in SYMPTOMS:
        if one.sign is not None:
            wrong = one.sign(found, now_s)
            yield Finding(one.check, wrong is None, wrong or f"no {one.name}", _plain(one.remedy))


def guide_table() -> str:
    """Return the table of the operations guide, in Markdown."""
    rows = [
        f"| {one.heading or f'`{one.name}`'} | {one.meaning} | {one.remedy} |" for one in SYMPTOMS
    ]
    head = ("| Alert, symptom | What it means | What to do |", "|---|---|---|")
    return "\n".join((*head, *rows)) + "\n"


def _plain(markdown: str) -> str:
    return re.sub(r"[`*]", "", markdown)
