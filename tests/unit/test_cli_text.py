"""What the command line makes of text, numbers and mistakes."""

import pytest

from caxton_node.cli.output import Branch, Output
from caxton_node.cli.printable import printable, text_of
from caxton_node.cli.problem import failure_lines, problem_of
from caxton_node.cli.start_project import init
from caxton_node.cli.talk import prefixed
from caxton_node.cli.wording import counted, elapsed, instant
from caxton_node.domain.errors import NotFound, Place, Rejected

HUMAN = Output(is_json=False, is_quiet=False, wants_color=True)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nwith lines", "plain\ttext\nwith lines"),
        ("dos\r\nlines", "dos\nlines"),
        ("over\rwritten", "over\\x0dwritten"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31mred", "\\x9b31mred"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("half \ud800", "half \\ud800"),
        ("ünïcödé ✓ 漢字", "ünïcödé ✓ 漢字"),
    ],
)
def test_only_what_a_terminal_would_obey_is_spelled_out(text, shown):
    assert printable(text) == shown


def test_content_that_is_no_text_is_shown_as_json():
    assert text_of({"é": [1, None]}) == '{"é": [1, null]}'


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (None, "-"),
        (0.4, "0s"),
        (59.9, "59s"),
        (3_700, "1h 1m"),
        (90_000, "1d 1h"),
        (86_400, "1d 0h"),
    ],
)
def test_a_duration_shows_its_two_largest_units(duration_s, text):
    assert elapsed(duration_s) == text


def test_an_instant_is_shown_in_local_time(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert instant("2026-01-31T10:00:00.123Z") == "2026-01-31 15:30:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("text", "shown"), [(None, "-"), ("soon", "soon")])
def test_what_is_no_instant_is_shown_as_it_is(text, shown):
    assert instant(text) == shown


def test_a_number_agrees_with_its_noun():
    assert [counted(n, "agent") for n in (0, 1, 2_000)] == ["0 agents", "1 agent", "2,000 agents"]


def test_an_empty_answer_is_still_a_line():
    assert prefixed("Ada", "") == "[Ada]"


# Mistakes


def lines_of(place, line):
    return failure_lines(Rejected("invalid_agent", "wrong", places=[place]), lambda *_: line)


def test_a_caret_stands_below_its_column_whatever_tabs_there_are():
    lines = lines_of(Place("odd", file="a.toml", line=7, column=3), "\t\tx = 1")
    assert lines[2:] == ["    7 |   x = 1", "      |   ^"]


def test_a_long_line_is_shown_around_its_column():
    lines = lines_of(Place("odd", file="a.toml", line=1, column=500), "a" * 499 + "X" + "b" * 500)
    text, caret = (line.partition("| ")[2] for line in lines[2:])
    assert len(text) == 120
    assert text[caret.index("^")] == "X"


def test_a_place_in_a_file_that_is_elsewhere_has_no_excerpt():
    lines = lines_of(Place("odd", file="a.toml", line=1, column=1, fix="Mend it"), None)
    assert lines == ["wrong", "  a.toml:1:1: odd", "    To fix: Mend it"]


def test_suggestions_are_not_said_twice():
    error = NotFound(
        "agent_not_found", "no", hint="Did you mean Ada?", facts={"suggestions": ["Ada", "Adam"]}
    )
    assert failure_lines(error, lambda *_: None) == ["no", "  Did you mean Ada, Adam?"]


def test_a_problem_document_holds_all_that_is_known():
    error = Rejected(
        "invalid_agent",
        "wrong",
        hint="mend it",
        places=[Place("odd", line=3)],
        facts={"trace_id": "t", "code": "not this one"},
    )
    assert problem_of(error) == {
        "type": "urn:caxton:error:invalid_agent",
        "title": "The agent definition is invalid",
        "status": 422,
        "detail": "wrong",
        "code": "invalid_agent",
        "hint": "mend it",
        "errors": [{"message": "odd", "line": 3}],
        "trace_id": "t",
    }


# Printing


def test_a_table_keeps_its_lines_whole_in_a_pipe(capsys):
    HUMAN.table(("A", "B"), [("x" * 200, ["1", "2"]), ("漢字", None), ("[bold]y", True)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["A", "B"]
    assert lines[1] == "x" * 200 + "  1, 2"
    assert lines[2].split() == ["漢字", "-"]
    assert lines[3].split() == ["[bold]y", "yes"]


def test_a_tree_is_drawn_with_its_twigs(capsys):
    HUMAN.tree(Branch("root", (Branch("a", (Branch("[b]"),)), Branch("c"))))
    assert capsys.readouterr().out.splitlines() == ["root", "├── a", "│   └── [b]", "└── c"]


def test_facts_stand_in_one_column_and_the_unknown_is_left_out(capsys):
    HUMAN.facts([("Name", "Ada"), ("Nothing", None), ("Capabilities", ["a", "b"]), ("L", "1\n2")])
    assert capsys.readouterr().out.splitlines() == [
        "Name          Ada",
        "Capabilities  a, b",
        "L             1",
        "              2",
    ]


def test_a_quiet_program_says_what_failed_and_what_was_asked_for(capsys):
    quiet = Output(is_json=False, is_quiet=True, wants_color=True)
    quiet.done("done")
    quiet.note("on the way")
    quiet.line("answer")
    quiet.warn(["careful"])
    quiet.fail(["broken", "  because"])
    captured = capsys.readouterr()
    assert captured.out == "answer\n"
    assert captured.err == "⚠ careful\n✗ broken\n  because\n"


def test_marks_have_no_color_in_a_pipe(capsys):
    HUMAN.done("done")
    assert capsys.readouterr().out == "✓ done\n"


def test_options_of_a_command_are_told_apart_from_the_shared_ones():
    from click.testing import CliRunner

    text = CliRunner().invoke(init, ["--help"]).output
    own, _, shared = text.partition("Shared options:")
    assert "--template" in own
    assert "--server" in shared
    assert "--server" not in own
