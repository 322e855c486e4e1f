"""`caxton doctor`: what is wrong here, and how to mend it."""

from pathlib import Path

import click

from caxton_node.cli.command import Command
from caxton_node.cli.node_options import Flags, node_options
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wording import counted

__all__ = ["doctor"]

ANSWER_TIMEOUT_S = 5.0


@click.command(cls=Command)
@node_options(with_log=False)
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write what a helper needs to see, without secrets and content: a .tar.gz.",
)
@pass_session
def doctor(session: Session, *, flags: Flags, bundle: Path | None) -> int:
    """Find what is wrong, and say how to mend it.

    Looks at this machine and at the server. Exits with 1 if anything is wrong.
    """
    from caxton_node.cli.checks import local_findings, server_findings
    from caxton_node.cli.client import Client

    client = Client(session.server, timeout_s=session.timeout_s or ANSWER_TIMEOUT_S)
    of_server = list(server_findings(client))
    findings = [*local_findings(flags, is_server_up=of_server[0].is_good), *of_server]
    if bundle is not None:
        from caxton_node.cli.bundle import write_for_helper

        write_for_helper(bundle, client, findings, flags)
    wrong_count = sum(not finding.is_good for finding in findings)
    output = session.output
    if output.is_json:
        output.document({"ok": not wrong_count, "items": [each.document() for each in findings]})
        return 1 if wrong_count else 0
    for finding in findings:
        output.check(is_good=finding.is_good, text=finding.text)
        if not finding.is_good and finding.fix:
            output.line(f"  To fix: {finding.fix}")
    if wrong_count:
        output.note(f"\n{counted(wrong_count, 'thing')} to mend")
    return 1 if wrong_count else 0
