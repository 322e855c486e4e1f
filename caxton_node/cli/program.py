"""The outermost frame of both programs: whatever happens within ends as an exit code.

Errors become lines on stderr, never a traceback (unless `CAXTON_DEBUG=1`); Ctrl-C ends quietly
with 130, a reader that has left quietly with 1.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from caxton_node.cli.session import Session
from caxton_node.domain.errors import Bug, CaxtonError, Rejected, error_from_code

__all__ = ["run_program"]

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""


def run_program(
    command: click.Command,
    arguments: Sequence[str],
    *,
    name: str,
    session: Session,
    shows_bugs: bool = False,
) -> int:
    """Run a command with the session as its object and return the exit code.

    Args:
        command: The program's outermost command.
        arguments: Without the program's name.
        name: The program's name.
        session: The shared options, as the environment has them.
        shows_bugs: Print the traceback of a bug: a server's log is read by who can use it.
    """
    try:
        code = command.main([*arguments], prog_name=name, standalone_mode=False, obj=session)
        sys.stdout.flush()
    except CaxtonError as error:
        return _failed(session, error)
    except click.exceptions.Abort as error:
        return _aborted(session, error)
    except click.UsageError as error:
        return _misused(session, error)
    except click.ClickException as error:
        session.output.fail([error.format_message()])
        return EXIT_FAILED
    except BrokenPipeError:
        # What is left in the buffer would raise again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        return _failed(session, _local_failure(error))
    except Exception as error:
        # The outermost frame: whatever else comes here is a mistake of ours.
        if shows_bugs and not session.is_debugging:
            traceback.print_exc()
        return _failed(session, _bug(error))
    return code if isinstance(code, int) else 0


def _failed(session: Session, error: CaxtonError) -> int:
    from caxton_node.cli.failure import show_failure

    if session.is_debugging:
        traceback.print_exc()
    show_failure(session, error)
    return error.kind.exit_code


def _aborted(session: Session, error: click.exceptions.Abort) -> int:
    if isinstance(error.__cause__, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    session.output.fail(["The input ended before it was complete"])
    return EXIT_FAILED


def _misused(session: Session, error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not session.output.is_json:
        # A group by itself: whoever asks so wants to see what there is.
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    if session.output.is_json:
        _failed(session, Rejected("invalid_request", error.format_message()))
        return EXIT_USAGE
    lines = [error.format_message()]
    if error.ctx is not None:
        lines += [f"  {line}" for line in error.ctx.get_usage().splitlines()]
        lines.append(f"  To fix: see {error.ctx.command_path} --help")
    session.output.fail(lines)
    return EXIT_USAGE


def _local_failure(error: OSError) -> CaxtonError:
    name = f"{error.filename}: " if error.filename else ""
    code = "denied" if isinstance(error, PermissionError) else "storage_unavailable"
    return error_from_code(code, f"{name}{error.strerror or error}")


def _bug(error: Exception) -> Bug:
    return Bug(
        "internal",
        f"This is a bug in Caxton: {type(error).__name__}: {error}",
        hint="run it again with CAXTON_DEBUG=1 and report what it prints",
    )
