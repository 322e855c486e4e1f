"""Every language's real toolchain builds what `caxton init` writes and what the repository holds.

Skipped where a toolchain is not installed, with what `caxton build` says of it.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUESTS = ROOT / "examples" / "guests"
CAXTON = Path(sys.executable).parent / "caxton"
BUILD_TIMEOUT_S = 600

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_TIMEOUT_S)]


def caxton(*arguments, cwd):
    """Run the command line; return its exit code and the document that it prints."""
    done = subprocess.run(
        [CAXTON, "--output", "json", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def build(folder):
    """Build a guest; skip where its toolchain is missing."""
    code, out, err = caxton("build", str(folder), cwd=folder)
    if "is not installed" in err or "target may not be installed" in err:
        pytest.skip(err.strip().splitlines()[0])
    assert code == 0, err
    [made] = json.loads(out)["items"]
    return made


def node_modules_for(folder):
    """Fetch what builds JavaScript, or skip."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    done = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot fetch packages: {done.stderr[-200:]}")


def magic_of(path):
    """Return the layer of a WebAssembly file: 0 is a module, 1 a component."""
    head = path.read_bytes()[:8]
    assert head[:4] == b"\0asm"
    return head[6]


@pytest.mark.parametrize("options", [(), ("--tools",)], ids=["agent", "tools"])
@pytest.mark.parametrize(("language", "layer"), [("rust", 0), ("go", 0), ("js", 1), ("python", 1)])
def test_a_new_project_is_built_by_its_toolchain(tmp_path, language, layer, options):
    code, _, err = caxton("init", "Shop", "--wasm", language, *options, cwd=tmp_path)
    assert code == 0, err
    if language == "js":
        node_modules_for(tmp_path / "Shop")
    build(tmp_path / "Shop")
    assert magic_of(tmp_path / "Shop" / "Shop.wasm") == layer


@pytest.mark.parametrize(
    "guest",
    [
        *("rust/counter", "rust/csv", "go/word-count", "go/calculator", "js/asker"),
        *("js/calculator", "python/notebook", "python/text-tools", "c/echo", "c/checksums"),
        *("assemblyscript/echo", "assemblyscript/calculator"),
    ],
)
def test_a_guest_of_the_repository_is_built_from_its_source(tmp_path, guest):
    language, name = guest.split("/")
    # Copies follow the links to what guests share; what lies beside them is shared too.
    shutil.copytree(
        GUESTS / language,
        tmp_path / language,
        ignore=shutil.ignore_patterns("*.wasm", "target", "__pycache__"),
    )
    if language in {"js", "assemblyscript"}:
        shutil.copy(GUESTS / "package.json", tmp_path)
        shutil.copy(GUESTS / "package-lock.json", tmp_path)
        node_modules_for(tmp_path)
    made = build(tmp_path / language / name)
    assert (
        made["size_bytes"] == (tmp_path / language / name / Path(made["file"]).name).stat().st_size
    )
