"""`caxton memory` against a node of its own."""

import asyncio
import json

import pytest

from tests.command_line import CommandLine
from tests.rest_node import rest_node


@pytest.fixture
async def line(tmp_path, capsys):
    async with rest_node(tmp_path / "node", memory__model="none") as rest:
        run = CommandLine(capsys, rest.url)

        async def in_thread(*arguments):
            return await asyncio.to_thread(run, "memory", *arguments)

        yield in_thread


async def test_what_is_added_is_found_with_the_way_it_was_found(line):
    added = await line("add", "office", "The office is in Oslo", "--attribute", "place")
    assert (added.code, added.out) == (0, "✓ office is remembered in workspace/default\n")
    ran = await line("search", "where", "is", "the", "office")
    assert ran.err == "found by words only: switched off\n"
    assert ran.out.splitlines()[1].split()[1:6] == ["office", "The", "office", "is", "in"]
    assert ran.out.rstrip().endswith("words")


async def test_a_newer_value_says_what_it_replaces(line):
    await line("add", "office", "in Rome", "--attribute", "place")
    moved = await line("add", "office", "in Oslo", "--attribute", "place")
    assert "replaces 1 observation" in moved.out
    shown = await line("show", "office", "--history")
    assert [text in shown.out for text in ("in Rome", "in Oslo")] == [True, True]


async def test_relations_are_drawn_as_a_tree(line):
    await line("relate", "Ada", "works_at", "Acme")
    await line("relate", "Acme", "is_in", "Oslo")
    tree = (await line("graph", "ada")).out.splitlines()
    assert tree == ["Ada", "└── → works_at → Acme", "    └── → is_in → Oslo"]


async def test_what_is_exported_can_be_imported_elsewhere(line, tmp_path):
    await line("add", "office", "in Oslo", "the lease ends in May")
    await line("relate", "Ada", "works_at", "Acme")
    file = tmp_path / "memory.jsonl"
    assert (await line("export", str(file))).err == "3 records exported\n"
    done = await line("import", str(file), "--agent", "Copy")
    assert done.out == "✓ 2 facts imported, 2 of them new; 1 relation\n"
    again = await line("import", str(file), "--agent", "Copy")
    assert again.out == "✓ 2 facts imported, 0 of them new; 1 relation\n"


@pytest.mark.parametrize("name", ["all.jsonl", "all.json"])
async def test_all_of_a_node_moves_in_one_file_each_memory_to_its_own_scope(line, tmp_path, name):
    await line("add", "office", "in Rome", "--attribute", "place")
    await line("add", "office", "in Oslo", "--attribute", "place")
    await line("add", "diary", "an old wish", "--agent", "Ada", "--pin")
    await line("relate", "Ada", "works_at", "Acme", "--scope", "global")
    file = tmp_path / name
    assert (await line("export", str(file), "--all")).err == "4 records exported\n"
    if name.endswith(".json"):
        document = json.loads(file.read_text())
        assert document["items"][0]["version"] == "1.0"
    await line("forget", "--all", "--scope", "workspace")
    await line("forget", "--all", "--scope", "global")
    await line("forget", "--all", "--agent", "Ada", "--scope", "agent")
    assert (await line("export", "-", "--all")).err == "0 records exported\n"
    done = await line("import", str(file), "--own-scopes")
    assert done.out == "✓ 3 facts imported, 3 of them new; 1 relation\n"
    mine = await line("show", "diary", "--agent", "Ada", "--output", "json")
    (one,) = json.loads(mine.out)["items"]
    assert (one["scope"], one["observations"][0]["pinned"]) == ("agent/default/Ada", True)
    past = await line("show", "office", "--history", "--output", "json")
    ended = {o["text"]: o["valid_to"] for o in json.loads(past.out)["items"][0]["observations"]}
    assert ended["in Oslo"] is None
    assert ended["in Rome"] is not None
    assert "Acme" in (await line("graph", "ada", "--scope", "global")).out


async def test_a_file_of_a_later_version_is_refused_whole(line, tmp_path):
    file = tmp_path / "later.jsonl"
    file.write_text(
        '{"type":"caxton-memory","version":"2.0"}\n{"type":"fact","entity":"e","text":"t"}\n'
    )
    failed = await line("import", str(file))
    assert failed.code == 2
    assert "reads version 1.0" in failed.err
    assert json.loads((await line("stats", "--output", "json")).out)["observations"] == 0


async def test_a_scope_that_is_none_is_named(line, tmp_path):
    file = tmp_path / "odd.jsonl"
    file.write_text('{"type":"fact","entity":"e","text":"t","scope":"moon/1"}\n')
    failed = await line("import", str(file), "--own-scopes")
    assert failed.code == 2
    assert "'moon/1' is no scope" in failed.err


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (('{"type":"entity","name":"a","entityType":"t","observations":["x","y"]}\n\n'
         '{"type":"relation","from":"a","to":"b","relationType":"r"}\n'), 2),
        (json.dumps({"entities": [{"name": "a", "entityType": "t", "observations": ["x"]}],
                     "relations": []}, indent=2), 1),
        (json.dumps({"agent_type": "x", "blocks": [{"label": "human", "value": "Ada"}]}), 1),
        (json.dumps({"blocks": [{"label": "human", "value": ""},
                                {"label": "persona", "value": "kind"}]}), 1),
        (('{"type":"entity","name":"a","entityType":"t","observations":[]}\n'
         '{"type":"entity","name":"b","entityType":"t","observations":["x"]}\n'), 1),
        ('[{"type":"fact","entity":"e","text":"t"}]', 1),
    ],
)  # fmt: skip
async def test_files_of_other_programs_are_understood(line, tmp_path, text, count):
    file = tmp_path / "other.json"
    file.write_text(text)
    done = await line("import", str(file))
    assert done.out.startswith(f"✓ {count} fact")


async def test_a_file_that_is_no_json_names_the_line(line, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"type":"fact","entity":"e","text":"t"}\nnonsense\n')
    failed = await line("import", str(file))
    assert failed.code == 2
    assert "line 2" in failed.err


async def test_forgetting_is_proved_and_backups_are_named(line):
    await line("add", "office", "in Oslo")
    await line("backup", "one.db")
    gone = await line("forget", "office")
    assert gone.out == "✓ Forgotten: 1 observation, 0 vectors, 0 relations; 0 left of them\n"
    assert "one.db" in gone.err
    assert (await line("show", "office")).code == 3


@pytest.mark.parametrize("arguments", [(), ("office", "--all"), ("--agent", "Ada")])
async def test_forgetting_needs_to_be_told_what(line, arguments):
    assert (await line("forget", *arguments)).code == 2


async def test_stats_tell_how_much_there_is(line):
    await line("add", "office", "in Oslo")
    assert "Observations  1 (1 current)" in (await line("stats")).out


async def test_a_memory_that_is_well_says_so(line):
    ran = await line("check")
    assert (ran.code, ran.out) == (0, "✓ Word index, vectors and arena agree with the rows\n")
