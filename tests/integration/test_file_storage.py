"""An agent's files stay in its folder, within quotas, whole or absent."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.errors import Denied
from caxton_node.tools.builtin.file_storage import FileStorage
from caxton_node.tools.own_files import FileError, FileLimits, OwnFiles, parse_path
from tests.tool_bench import call, tool_context

ESCAPES = [
    "../secret.txt",
    "a/../../secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "~/secret.txt",
    "a//b.txt",
    "./a.txt",
    "a/.",
    "..",
    ".",
    "",
    ".hidden",
    "a/.hidden",
    "a\\..\\b",
    "..\\secret.txt",
    "a\x00b",
    "a\nb",
    "a/",
    "C:secret",
    "a/b/c/d/e/f/g/h/i",
    "x" * 300,
    "a.txt.partial",
    "\ud800",
    "a\u202eb",
]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    return OwnFiles(tmp_path / "files", FileLimits())


@pytest.mark.parametrize("path", ESCAPES)
def test_no_spelling_of_a_path_leads_out(files, path):
    for operation in (files.read, files.delete, files.size, lambda p: files.write(p, b"x")):
        with pytest.raises(FileError):
            operation(path)


@given(st.text(max_size=30))
def test_what_is_accepted_is_plain_names(path):
    try:
        names = parse_path(path)
    except FileError:
        return
    assert all(name not in {"", ".", ".."} and "/" not in name for name in names)


def test_a_link_to_a_file_outside_is_not_followed(files, tmp_path):
    files.write("a.txt", b"")
    (tmp_path / "files" / "link.txt").symlink_to(tmp_path / "secret.txt")
    for operation in (files.read, files.size, files.delete, lambda p: files.write(p, b"x")):
        with pytest.raises(FileError):
            operation("link.txt")
    assert (tmp_path / "secret.txt").read_text() == "secret"
    assert [file.path for file in files.list()] == ["a.txt"]


def test_a_link_to_a_folder_outside_is_not_followed(files, tmp_path):
    files.write("a.txt", b"")
    (tmp_path / "files" / "out").symlink_to(tmp_path)
    for operation in (files.read, files.size, files.delete, lambda p: files.write(p, b"x")):
        with pytest.raises(FileError):
            operation("out/secret.txt")
    assert (tmp_path / "secret.txt").read_text() == "secret"


def test_a_folder_that_is_itself_a_link_is_refused(files, tmp_path):
    (tmp_path / "files").symlink_to(tmp_path)
    with pytest.raises(FileError):
        files.read("secret.txt")


def test_a_temporary_file_that_is_a_link_is_not_written_through(files, tmp_path):
    files.write("a.txt", b"")
    (tmp_path / "files" / "a.txt.partial").symlink_to(tmp_path / "secret.txt")
    files.write("a.txt", b"new")
    assert (tmp_path / "secret.txt").read_text() == "secret"
    assert files.read("a.txt") == b"new"


def test_a_pipe_is_no_file_and_blocks_nobody(files, tmp_path):
    files.write("a.txt", b"")
    os.mkfifo(tmp_path / "files" / "pipe")
    with pytest.raises(FileError):
        files.read("pipe")


def test_a_folder_is_no_file(files):
    files.write("a/b.txt", b"")
    for operation in (files.read, files.delete, lambda p: files.write(p, b"x")):
        with pytest.raises(FileError):
            operation("a")


def test_what_was_written_is_read(files):
    assert files.write("a/b.txt", b"one") is False
    assert files.write("a/b.txt", b"two") is True
    assert files.append("a/b.txt", b"three") == 8
    assert files.read("a/b.txt") == b"twothree"


def test_a_name_means_the_same_however_its_accents_are_composed(files):
    files.write("e\u0301.txt", b"x")
    assert files.size("\u00e9.txt") == 1


def test_deleting_says_whether_there_was_something(files):
    files.write("a.txt", b"")
    assert [files.delete("a.txt"), files.delete("a.txt"), files.delete("no/a.txt")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "limits",
    [FileLimits(file_bytes_max=3), FileLimits(total_bytes_max=7), FileLimits(file_count_max=1)],
)
def test_a_quota_refuses_what_goes_beyond_and_keeps_the_old(tmp_path, limits):
    files = OwnFiles(tmp_path, limits)
    files.write("a.txt", b"abc")
    with pytest.raises(FileError):
        files.write("b.txt", b"12345")
    assert [file.path for file in files.list()] == ["a.txt"]


def test_an_overwritten_file_makes_room_for_itself(tmp_path):
    files = OwnFiles(tmp_path, FileLimits(total_bytes_max=4, file_count_max=1))
    files.write("a.txt", b"1234")
    files.write("a.txt", b"4321")
    assert files.read("a.txt") == b"4321"


def test_appending_counts_against_the_size_of_a_file(tmp_path):
    files = OwnFiles(tmp_path, FileLimits(file_bytes_max=4))
    files.append("a.txt", b"123")
    with pytest.raises(FileError):
        files.append("a.txt", b"45")
    assert files.read("a.txt") == b"123"


def test_appends_at_once_all_arrive(files):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: files.append("log.txt", b"x\n"), range(16)))
    assert files.read("log.txt") == b"x\n" * 16


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(files, tmp_path, monkeypatch):
    files.write("a.txt", b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FileError, match="No space left"):
        files.write("a.txt", b"new")
    assert files.read("a.txt") == b"old"
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["a.txt"]


def test_a_file_in_place_of_a_folder_is_told(files):
    files.write("a", b"")
    with pytest.raises(FileError, match="no folder"):
        files.write("a/b.txt", b"")


async def test_an_agent_without_files_is_denied(tmp_path):
    context = await tool_context(tmp_path, permissions=PermissionSettings(files="none"))
    with pytest.raises(Denied):
        await call(FileStorage(), context, operation="list")


async def test_reading_returns_a_handle_and_short_text(tmp_path):
    context = await tool_context(tmp_path)
    await call(FileStorage(), context, operation="write", path="a/b.csv", content="x,y\n")
    result = await call(FileStorage(), context, operation="read", path="a/b.csv")
    assert result.content["artifact"] == "artifact:1"
    assert (result.content["media_type"], result.content["text"]) == ("text/csv", "x,y\n")


async def test_an_artifact_can_be_written(tmp_path):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="x.bin", media_type="application/octet-stream", data=b"\xff")
    await call(FileStorage(), context, operation="write", path="x.bin", artifact="artifact:1")
    assert (context.folder / "files" / "x.bin").read_bytes() == b"\xff"


async def test_files_are_listed_by_the_beginning_of_their_path(tmp_path):
    context = await tool_context(tmp_path)
    for path in ("b.txt", "a/1.txt", "a/2.txt"):
        await call(FileStorage(), context, operation="write", path=path, content="x")
    result = await call(FileStorage(), context, operation="list", path="a/")
    assert [file["path"] for file in result.content["files"]] == ["a/1.txt", "a/2.txt"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"operation": "read"},
        {"operation": "read", "path": "../x"},
        {"operation": "read", "path": "nothing.txt"},
        {"operation": "write", "path": "a.txt"},
        {"operation": "write", "path": "a.txt", "content": "x", "artifact": "artifact:1"},
        {"operation": "write", "path": "a.txt", "artifact": "artifact:1"},
        {"operation": "write", "path": "a.exe", "content": "x"},
        {"operation": "write", "path": "a.txt", "content": "x" * 200},
    ],
)
async def test_mistakes_are_error_results(tmp_path, arguments):
    config = {"max_file_size": "100B", "allowed_extensions": ["txt"]}
    result = await call(FileStorage(), await tool_context(tmp_path, config=config), **arguments)
    assert result.is_error


async def test_exists_and_delete_tell_what_there_was(tmp_path):
    context = await tool_context(tmp_path)
    await call(FileStorage(), context, operation="append", path="a.txt", content="xy")
    found = await call(FileStorage(), context, operation="exists", path="a.txt")
    gone = await call(FileStorage(), context, operation="delete", path="a.txt")
    after = await call(FileStorage(), context, operation="exists", path="a.txt")
    assert found.content == {"path": "a.txt", "exists": True, "size_bytes": 2}
    assert gone.content["deleted"]
    assert after.content == {"path": "a.txt", "exists": False}
