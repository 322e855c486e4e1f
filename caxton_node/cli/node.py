"""The program `caxton-node`: one node in the foreground, made for systemd and containers."""

import os
import sys
from collections.abc import Sequence

import click

from caxton import __version__
from caxton_node.cli.node_options import Flags, node_options
from caxton_node.cli.program import run_program
from caxton_node.cli.session import Session, pass_session, session_from

__all__ = ["caxton_node", "main", "run_node"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@node_options(with_log=True)
@click.version_option(__version__, prog_name="caxton-node", message="%(prog)s %(version)s")
@pass_session
def caxton_node(session: Session, *, flags: Flags, is_insecure: bool) -> int:
    """Run a node of Caxton until it is told to stop.

    Says one line when it is ready. SIGTERM and Ctrl-C let turns under way finish first.
    """
    return run_node(session, flags, is_insecure=is_insecure)


def run_node(session: Session, flags: Flags, *, is_insecure: bool) -> int:
    """Be a node in this process. Returns its exit code.

    Raises:
        CaxtonError: `invalid_settings`; `state_conflict`, when one runs already.
    """
    from caxton_node.cli.failure import line_of_file
    from caxton_node.cli.node_lock import hold_lock
    from caxton_node.cli.node_settings import load, reachable_url, refuse_exposure
    from caxton_node.cli.problem import place_lines

    loaded = load(flags)
    for warning in loaded.warnings:
        session.output.warn(place_lines(warning, line_of_file))
    refuse_exposure(loaded, is_insecure=is_insecure)
    with hold_lock(loaded.settings.node.data_dir, reachable_url(loaded)):
        # Read when gRPC is loaded. Its own lines are none of our log, and strangers decide how many
        # there are: one for each handshake that fails.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from caxton_node.process import run

        return run(loaded, reread=lambda: load(flags))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    session = session_from(os.environ)
    return run_program(caxton_node, given, name="caxton-node", session=session, shows_bugs=True)


if __name__ == "__main__":
    sys.exit(main())
