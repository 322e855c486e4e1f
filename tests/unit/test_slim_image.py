"""What the image leaves out of its libraries, tried on libraries that are installed here."""

import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "deploy" / "slim.py"


def load(path):
    spec = importlib.util.spec_from_file_location("slim", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["slim"] = module
    spec.loader.exec_module(module)
    return module


slim = load(PROGRAM)

# One whose segments lie behind its symbols, as `auditwheel` leaves them, and one as linked.
LIBRARIES = ("numkong._numkong", "msgpack._cmsgpack")


def library_of(name):
    path = Path(importlib.util.find_spec(name).origin)
    if not path.read_bytes().startswith(b"\x7fELF\x02\x01"):
        pytest.skip("wheels of this machine are no ELF files of 64 bits")
    return path


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_without_symbols_is_loaded_as_before(name, tmp_path):
    path = library_of(name)
    smaller = slim.mapped(path.read_bytes())
    assert len(smaller) < path.stat().st_size / 4
    assert slim.mapped(smaller) == smaller
    (tmp_path / path.name).write_bytes(smaller)
    # What it is linked with lies where its package is.
    libs = path.parent.with_name(f"{path.parent.name}.libs")
    if libs.exists():
        (tmp_path.parent / libs.name).symlink_to(libs)
    script = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location(sys.argv[1], sys.argv[2])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(sorted(name for name in dir(module) if not name.startswith('__')))\n"
    )

    def said(place):
        done = subprocess.run(
            [sys.executable, "-c", script, name, str(place)],
            capture_output=True,
            text=True,
            timeout=40,
            check=True,
        )
        return done.stdout

    assert said(tmp_path / path.name) == said(path)


@pytest.mark.parametrize("name", LIBRARIES)
def test_segments_stay_where_the_loader_wants_them(name):
    smaller = slim.mapped(library_of(name).read_bytes())
    table_at = struct.unpack_from("<Q", smaller, 0x20)[0]
    entry_bytes, count = struct.unpack_from("<HH", smaller, 0x36)
    for number in range(count):
        header = struct.unpack_from("<IIQQQQQQ", smaller, table_at + number * entry_bytes)
        kind, _, start, address, _, size_bytes, _, alignment = header
        assert start + size_bytes <= len(smaller)
        if kind == 1:
            assert start % alignment == address % alignment


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01" + bytes(100), b"#!/bin/sh\n"])
def test_what_is_no_library_of_a_known_kind_stays_as_it_is(content):
    assert slim.mapped(content) == content


def test_tests_and_tools_of_libraries_go_and_everything_else_stays(tmp_path):
    site_packages = tmp_path / "lib" / "python3.12" / "site-packages"
    kept = ("numpy/core.py", "caxton_node/tests/kept.py", "onnxruntime/capi/state.so")
    gone = ("numpy/tests/test_core.py", "onnxruntime/tools/train.py", "pygal/test/a.py")
    for name in (*kept, *gone):
        path = site_packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "bin").mkdir()
    for name in ("caxton", "caxton-node", "python3", "hf"):
        (tmp_path / "bin" / name).write_text("")
    slim.slim(tmp_path)
    left = {str(path.relative_to(site_packages)) for path in site_packages.rglob("*.*")}
    assert left == set(kept)
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {
        "caxton",
        "caxton-node",
        "python3",
    }
