"""The outermost frame: how each way to end becomes an exit code."""

import click
import pytest

from caxton_node.cli.program import run_program
from caxton_node.cli.session import Session, session_from
from caxton_node.domain.errors import ERRORS, error_from_code


def ended(capsys, raised, **more):
    @click.command()
    def command():
        if raised is not None:
            raise raised

    code = run_program(command, [], name="test", session=more.pop("session", Session()), **more)
    return code, capsys.readouterr().err


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_ends_with_the_exit_code_of_its_row(capsys, code):
    exit_code, err = ended(capsys, error_from_code(code, "so it was", hint="do this"))
    assert exit_code == ERRORS[code].exit_code
    assert err == "✗ so it was\n  To fix: do this\n"


def test_an_interruption_is_quiet(capsys):
    code, err = ended(capsys, KeyboardInterrupt())
    assert (code, err.strip()) == (130, "")


def test_a_file_that_may_not_be_read_is_denied(capsys):
    code, err = ended(capsys, PermissionError(13, "Permission denied", "secret.toml"))
    assert (code, err) == (5, "✗ secret.toml: Permission denied\n")


def test_input_that_ends_too_early_is_a_failure(capsys):
    code, err = ended(capsys, EOFError())
    assert code == 1
    assert "The input ended" in err


def test_a_group_by_itself_shows_what_it_has_and_no_mistake(capsys):
    @click.group()
    def group():
        """Look after things."""

    @group.command()
    def mend():
        """Mend one."""

    code = run_program(group, [], name="test", session=Session())
    err = capsys.readouterr().err
    assert code == 2
    assert err.count("Usage: ") == 1
    assert "Mend one." in err
    assert "✗" not in err


@pytest.mark.parametrize("shows_bugs", [True, False])
def test_a_bug_shows_its_traceback_in_a_servers_log_only(capsys, shows_bugs):
    code, err = ended(capsys, ZeroDivisionError("division"), shows_bugs=shows_bugs)
    assert code == 1
    assert ("Traceback" in err) is shows_bugs
    assert "This is a bug in Caxton: ZeroDivisionError: division" in err


def test_whoever_debugs_sees_every_traceback_once(capsys):
    session = session_from({"CAXTON_DEBUG": "1"})
    _, err = ended(capsys, ZeroDivisionError(), session=session, shows_bugs=True)
    assert err.count("Traceback (most recent call last)") == 1


@pytest.mark.parametrize(
    ("environment", "wants_color"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "0"}, False), ({"TERM": "dumb"}, False)],
)
def test_the_environment_decides_on_colors(environment, wants_color):
    assert session_from(environment).wants_color is wants_color


def test_the_environment_names_the_server():
    session = session_from({"CAXTON_SERVER": "http://x:1"})
    assert (session.server, session.is_server_chosen) == ("http://x:1", True)
    assert session_from({}).server == "http://127.0.0.1:8080"
