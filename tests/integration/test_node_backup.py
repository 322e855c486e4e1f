"""A node under load is backed up, and another one goes on from the backup."""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import aiohttp
import pytest

from caxton_node.backup import MANIFEST, back_up, restore, verify
from caxton_node.domain.errors import CaxtonError
from tests.node_process import ROOT, node_process

CAXTON = str(Path(sys.executable).with_name("caxton"))
ALLOW = {"CAXTON_PYTHON__ALLOW": "tests.*", "CAXTON_MEMORY__MODEL": "none"}
AGENT = 'name = "Echo"\nkind = "python"\nhandler = "tests.handlers:Echo"\ncapabilities = ["test"]\n'


async def caxton(*arguments, code=0):
    """Run the program and return the document that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(CAXTON, "--output", "json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    assert process.returncode == code, (out, err)
    return json.loads(out) if out else err.decode()


async def send(session, url, message_id):
    message = {
        "performative": "request",
        "sender": "client",
        "receiver": "Echo",
        "content": message_id,
        "id": message_id,
    }
    async with session.post(f"{url}/api/v1/messages", json=message) as response:
        assert response.status in (200, 202), await response.text()


async def keep_sending(session, url, sent):
    """Send until the task is cancelled."""
    while True:
        await send(session, url, f"m{len(sent)}")
        sent.append(f"m{len(sent)}")


@pytest.mark.timeout(120)
async def test_what_was_accepted_before_a_backup_is_there_after_its_restore(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    sent: list[str] = []
    async with aiohttp.ClientSession() as session:
        async with node_process(tmp_path / "first", **ALLOW) as node:
            async with session.post(
                f"{node.url}/api/v1/agents", json={"source": AGENT, "format": "toml"}
            ) as response:
                assert response.status == 201
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(keep_sending(session, node.url, sent))
                while len(sent) < 50:
                    await asyncio.sleep(0.01)
                before = list(sent)
                told = await caxton(
                    *("server", "backup", "--data-dir", str(tmp_path / "first" / "data")),
                    *("--to", str(tmp_path / "kept")),
                )
                assert len(sent) > len(before), "the node worked meanwhile"
                sending.cancel()
            await node.kill()
        assert (await caxton("server", "verify-backup", told["backup"]))["files"] == told["files"]
        restored = (
            "server",
            "restore",
            told["backup"],
            "--data-dir",
            str(tmp_path / "second/data"),
        )
        await caxton(*restored)
        async with node_process(tmp_path / "second", **ALLOW) as node:
            await caxton(*restored, code=6)  # not under a node that runs
            async with asyncio.timeout(20):
                for message_id in before:
                    while True:
                        address = f"{node.url}/api/v1/messages/{message_id}"
                        async with session.get(address) as response:
                            assert response.status == 200, message_id
                            if (await response.json())["status"] == "delivered":
                                break
                        await asyncio.sleep(0.02)
            await send(session, node.url, "after")


@pytest.fixture
def data_dir(tmp_path):
    """A data directory with a database and a file, and no node."""
    folder = tmp_path / "data"
    (folder / "agents" / "Clerk").mkdir(parents=True)
    (folder / "agents" / "Clerk" / "note.txt").write_text("kept")
    (folder / "caxton-node.pid").write_text("1")
    with sqlite3.connect(folder / "caxton.db") as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (7)")
    database.close()
    return folder


def test_a_backup_names_all_files_and_nothing_of_the_process(data_dir, tmp_path):
    taken = back_up(data_dir, tmp_path / "b", node="n", version="1")
    assert [one.path for one in taken.files] == ["caxton.db", "agents/Clerk/note.txt"]
    assert verify(tmp_path / "b") == taken


@pytest.mark.parametrize("harm", ["changed", "missing", "damaged", "no manifest", "escaping"])
def test_a_backup_that_was_harmed_is_refused_and_nothing_is_touched(data_dir, tmp_path, harm):
    backup = tmp_path / "b"
    back_up(data_dir, backup, node="n", version="1")
    note = backup / "files" / "agents" / "Clerk" / "note.txt"
    match harm:
        case "changed":
            note.write_text("lost")
        case "missing":
            note.unlink()
        case "damaged":
            (backup / "files" / "caxton.db").write_bytes(b"x" * 8192)
        case "no manifest":
            (backup / MANIFEST).unlink()
        case "escaping":
            text = (backup / MANIFEST).read_text()
            (backup / MANIFEST).write_text(text.replace("agents/Clerk", "../../escaped"))
    before = sorted(path.name for path in data_dir.iterdir())
    with pytest.raises(CaxtonError) as refused:
        restore(backup, data_dir)
    assert refused.value.code == "invalid_request"
    assert sorted(path.name for path in data_dir.iterdir()) == before


def test_what_a_restore_replaces_is_kept_aside(data_dir, tmp_path):
    back_up(data_dir, tmp_path / "b", node="n", version="1")
    (data_dir / "agents" / "Clerk" / "note.txt").write_text("newer")
    (data_dir / "caxton.db-wal").write_bytes(b"a log that must not be mixed with another file")
    aside = restore(tmp_path / "b", data_dir)
    assert (data_dir / "agents" / "Clerk" / "note.txt").read_text() == "kept"
    assert (aside / "agents" / "Clerk" / "note.txt").read_text() == "newer"
    assert not (data_dir / "caxton.db-wal").exists()


def test_a_backup_is_whole_or_not_there(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "copy2", _full_disk)
    with pytest.raises(CaxtonError) as failed:
        back_up(data_dir, tmp_path / "b", node="n", version="1")
    assert failed.value.code == "storage_unavailable"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def _full_disk(*_):
    raise OSError(28, "No space left on device")
