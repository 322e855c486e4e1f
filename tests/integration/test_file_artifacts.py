"""A conversation's artifacts survive a crash at any moment, within their room."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.errors import Failed
from caxton_node.tools import artifacts as artifacts_module
from caxton_node.tools.artifacts import ArtifactLimits, conversation_folder, open_artifacts


async def put(artifacts, data=b"x", name="a.txt", media_type="text/plain"):
    return await artifacts.put(name=name, media_type=media_type, data=data)


async def test_what_was_kept_is_returned(tmp_path):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    artifact = await put(artifacts, b"hello", "sales 2026.csv", "text/csv")
    assert (artifact.handle, artifact.size_bytes) == ("artifact:1", 5)
    assert await artifacts.get("artifact:1") == (artifact, b"hello")
    assert artifacts.path("artifact:1").name == "0001-sales_2026.csv"


async def test_a_handle_resolves_after_a_restart(tmp_path):
    before = await open_artifacts(tmp_path, "conv-1")
    await put(before, b"one")
    await put(before, b"two")
    after = await open_artifacts(tmp_path, "conv-1")
    assert [(await after.get(f"artifact:{n}"))[1] for n in (1, 2)] == [b"one", b"two"]
    assert (await put(after, b"three")).handle == "artifact:3"


async def test_a_step_that_is_repeated_gets_the_same_handle(tmp_path):
    handles = [
        (await put(await open_artifacts(tmp_path, "conv-1"), b"page")).handle for _ in range(2)
    ]
    assert handles == ["artifact:1", "artifact:1"]


@pytest.mark.parametrize("other", [{"data": b"y"}, {"name": "b"}, {"media_type": "text/csv"}])
async def test_what_differs_gets_a_handle_of_its_own(tmp_path, other):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    await put(artifacts)
    assert (await put(artifacts, **other)).handle == "artifact:2"


@pytest.mark.parametrize("crash_at", [1, 2])
async def test_a_crash_between_two_writes_loses_no_handle(tmp_path, monkeypatch, crash_at):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    await put(artifacts, b"one")
    written = 0
    replace_file = artifacts_module.replace_file

    def crash_at_write(path: Path, data: bytes) -> None:
        nonlocal written
        written += 1
        if written == crash_at:
            raise KeyboardInterrupt
        replace_file(path, data)

    monkeypatch.setattr(artifacts_module, "replace_file", crash_at_write)
    with pytest.raises(KeyboardInterrupt):
        artifacts._put("two.txt", "text/plain", b"two")
    monkeypatch.undo()

    after = await open_artifacts(tmp_path, "conv-1")
    assert (await after.get("artifact:1"))[1] == b"one"
    artifact = await put(after, b"three")
    assert artifact.handle == "artifact:2"
    assert (await after.get("artifact:2"))[1] == b"three"
    kept = {path.name for path in after.path("artifact:1").parent.iterdir()}
    assert kept == {"index.json", "0001-a.txt", "0002-a.txt"}


async def test_calls_at_once_get_handles_of_their_own(tmp_path):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    kept = await asyncio.gather(*(put(artifacts, str(n).encode()) for n in range(20)))
    assert len({artifact.handle for artifact in kept}) == 20
    after = await open_artifacts(tmp_path, "conv-1")
    for number, artifact in enumerate(kept):
        assert (await after.get(artifact.handle))[1] == str(number).encode()


async def test_a_cancelled_call_has_finished_its_write_when_it_ends(tmp_path):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(put(artifacts, b"one"))
        tasks.create_task(asyncio.to_thread(task.get_loop().call_soon_threadsafe, task.cancel))
    after = await open_artifacts(tmp_path, "conv-1")
    files = {path.name for path in conversation_folder(tmp_path, "conv-1").glob("*")}
    assert not any(name.endswith(".partial") for name in files)
    assert (await put(after, b"two")).handle in {"artifact:1", "artifact:2"}


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [(ArtifactLimits(total_bytes=5), [3, 3]), (ArtifactLimits(count_max=1), [1, 2])],
)
async def test_room_that_is_used_up_is_a_named_failure(tmp_path, limits, sizes):
    artifacts = await open_artifacts(tmp_path, "conv-1", limits=limits)
    await put(artifacts, b"x" * sizes[0])
    with pytest.raises(Failed) as caught:
        await put(artifacts, b"y" * sizes[1])
    assert (caught.value.code, caught.value.hint is not None) == ("tool_failed", True)


@pytest.mark.parametrize(
    "handle", ["artifact:2", "artifact:0", "artifact:-1", "artifact:", "x", "artifact:١", "a:1"]
)
async def test_a_handle_that_names_nothing_is_a_named_failure(tmp_path, handle):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    await put(artifacts)
    with pytest.raises(Failed) as caught:
        await artifacts.get(handle)
    assert caught.value.code == "tool_failed"
    with pytest.raises(Failed):
        artifacts.path(handle)


async def test_data_that_went_missing_is_a_named_failure(tmp_path):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    await put(artifacts)
    artifacts.path("artifact:1").write_bytes(b"shorter or longer")
    with pytest.raises(Failed, match="17 bytes instead of 1"):
        await artifacts.get("artifact:1")
    artifacts.path("artifact:1").unlink()
    with pytest.raises(Failed):
        await artifacts.get("artifact:1")


@pytest.mark.parametrize(
    "index",
    [
        b"{",
        b'{"entries":[{"file":"../../x","name":"x","media_type":"x","size_bytes":1,"sha256":""}]}',
    ],
)
async def test_a_damaged_index_is_a_named_failure(tmp_path, index):
    folder = conversation_folder(tmp_path, "conv-1")
    folder.mkdir(parents=True)
    (folder / "index.json").write_bytes(index)
    with pytest.raises(Failed, match="damaged"):
        await open_artifacts(tmp_path, "conv-1")


async def test_a_disk_that_refuses_is_a_named_failure_and_leaves_no_part(tmp_path, monkeypatch):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    await put(artifacts, b"one")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(Failed, match="No space left"):
        await put(artifacts, b"two")
    monkeypatch.undo()
    kept = {path.name for path in artifacts.path("artifact:1").parent.iterdir()}
    assert kept == {"index.json", "0001-a.txt"}
    assert (await put(artifacts, b"two")).handle == "artifact:2"


async def test_opening_a_new_conversation_writes_nothing(tmp_path):
    await open_artifacts(tmp_path, "conv-1")
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text(max_size=20), unique=True, max_size=5))
def test_every_conversation_has_a_folder_of_its_own_right_below(ids):
    folders = [conversation_folder(Path("/agent"), one) for one in ids]
    # Some file systems do not tell cases apart.
    assert len({str(folder).lower() for folder in folders}) == len(ids)
    for folder in folders:
        assert folder.parent == Path("/agent/conversations")
        assert folder.name not in {"", ".", ".."}


@pytest.mark.parametrize(
    "name", ["", "../../x", "/etc/passwd", "a" * 500, "x." + "y" * 500, "\x00"]
)
async def test_any_name_becomes_a_file_inside(tmp_path, name):
    artifacts = await open_artifacts(tmp_path, "conv-1")
    await put(artifacts, name=name)
    assert artifacts.path("artifact:1").parent == conversation_folder(tmp_path, "conv-1")
    assert (await artifacts.get("artifact:1"))[0].name == name
