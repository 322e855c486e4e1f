"""A process that journals is killed at random moments; what it reported must be there."""

import importlib.util
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from caxton_node.domain.message import decode_message
from caxton_node.store.sqlite import SqliteStore

PROGRAM = Path(__file__).parent / "programs" / "journal_until_killed.py"
ROUNDS = 12
SEED = 20260131


def journaled_message():
    spec = importlib.util.spec_from_file_location("journal_until_killed", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.journaled_message


def run_and_kill(path: Path, report_count: int, *options: str) -> set[int]:
    """Start the program, kill -9 it after so many reports; return all that it reported."""
    child = subprocess.Popen([sys.executable, PROGRAM, path, *options], stdout=subprocess.PIPE)
    try:
        lines = [child.stdout.readline() for _ in range(report_count)]
    finally:
        child.kill()
        rest, _ = child.communicate()
    lines += rest.splitlines(keepends=True)
    return {int(line) for line in lines if line.endswith(b"\n")}


@pytest.mark.parametrize("options", [(), ("20000",)], ids=["", "while the log is copied"])
async def test_what_was_reported_committed_survives_kill_9(tmp_path, options):
    path = tmp_path / "store.db"
    random = Random(SEED)
    expected = journaled_message()
    reported: set[int] = set()
    for _ in range(ROUNDS):
        reported |= run_and_kill(path, random.randint(1, 1_500), *options)
        store = SqliteStore(path)
        await store.open()
        last_seq = store.last_seq
        await store.close()
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = database.execute("SELECT seq, status, body FROM journaled").fetchall()
        database.close()
        statuses = {seq: status for seq, status, _ in rows}
        assert reported <= statuses.keys()
        assert last_seq == max(statuses)
        assert all(decode_message(body) == expected(seq) for seq, _, body in rows)
        torn = [
            seq
            for seq, status in statuses.items()
            if (status == "delivered") != (seq + 1 in statuses)
        ]
        assert torn == []
    assert len(reported) > ROUNDS


async def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "store.db"
    run_and_kill(path, 1)
    store = SqliteStore(path)
    await store.open()
    assert store.last_seq >= 1
    await store.close()
