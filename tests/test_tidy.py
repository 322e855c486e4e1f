"""The repository checks itself: the rules that no other tool holds.

Every test lists all that breaks its rule, so that one run is enough to mend it.
"""

import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from caxton_node.domain.errors import ERRORS
from tests import tidy

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("caxton", "caxton_cluster", "caxton_node")
GENERATED = re.compile(r"^(caxton/v1|caxton_cluster/metadata/wire)/\w+_pb2(_grpc)?\.pyi?$")
FILE_BYTES_MAX = 1_000_000
"""A repository is cloned whole, for ever. Larger data are made, or fetched under a checksum."""
WHOLE = frozenset({"caxton_node/api/__init__.py", "caxton_node/app.py", "caxton_node/cli/main.py"})
"""The outermost rings. What nobody uses once they are there, nobody needs."""
DATA_SUFFIXES = frozenset({".csv", ".hex", ".jsonl"})
"""Invented input and recorded output: what they say is nobody's statement."""
DOCUMENTS = ("*.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Paths that git tracks and the working tree has, relative to the root."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=20
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    paths = listed.stdout.decode().split("\0")
    return sorted(path for path in paths if path and (ROOT / path).is_file())


@pytest.fixture(scope="module")
def sources(tracked) -> dict[str, str]:
    """Our own Python by path: tests included, generated code not."""
    return {
        path: (ROOT / path).read_text(encoding="utf-8")
        for path in tracked
        if path.endswith(".py") and not GENERATED.match(path)
    }


@pytest.fixture(scope="module")
def shipped(sources) -> dict[str, str]:
    """The part of our Python that users install."""
    return {path: text for path, text in sources.items() if path.split("/")[0] in PACKAGES}


@pytest.fixture(scope="module")
def texts(tracked) -> dict[str, str]:
    """Every tracked text by path; what is not UTF-8 is data."""
    found = {}
    for path in tracked:
        data = (ROOT / path).read_bytes()
        if b"\0" not in data:
            found[path] = data.decode(errors="replace")
    return found


@pytest.fixture(scope="module")
def prose(texts) -> dict[str, str]:
    """The texts that we wrote: not generated, not made up to be read by a test."""
    return {
        path: text
        for path, text in texts.items()
        if not GENERATED.match(path) and Path(path).suffix not in DATA_SUFFIXES
    }


Rule = Callable[[str], Iterable[tidy.Finding]]


def findings(rule: Rule, files: dict[str, str]) -> list[str]:
    return [f"{path}:{finding}" for path, text in files.items() for finding in rule(text)]


def test_modules_are_small(shipped):
    counts = {path: tidy.code_line_count(text) for path, text in shipped.items()}
    assert {p: n for p, n in counts.items() if n > tidy.MODULE_LINES_MAX} == {}


def test_functions_are_small(shipped):
    assert findings(tidy.long_functions, shipped) == []


def test_files_are_named_for_what_is_inside(tracked):
    assert [path for path in tracked if tidy.banned_names(path)] == []


def test_every_public_definition_is_documented(shipped):
    assert findings(tidy.undocumented, shipped) == []


def test_public_names_are_listed(shipped):
    assert findings(tidy.broken_all, shipped) == []


def test_imports_are_real(sources):
    forbidden = frozenset({"TYPE_CHECKING"})
    assert findings(lambda text: tidy.forbidden_names(text, forbidden), sources) == []


def test_whoever_silences_a_tool_says_why(sources):
    assert findings(tidy.directives_without_reason, sources) == []


def test_nothing_is_left_unfinished(prose):
    assert findings(tidy.unfinished_work, prose) == []


def test_no_file_knows_the_machine_it_was_made_on(prose):
    assert findings(tidy.machine_paths, prose) == []


def test_no_file_names_a_package_registry(texts):
    assert findings(tidy.registry_hosts, texts) == []


def test_tracked_files_are_small(tracked):
    # A guest carries the runtime of its language.
    others = [path for path in tracked if not re.match(r"examples/guests/.*\.wasm$", path)]
    sizes = {path: (ROOT / path).stat().st_size for path in others}
    assert {path: size for path, size in sizes.items() if size > FILE_BYTES_MAX} == {}


def test_test_modules_have_names_of_their_own(tracked):
    names = Counter(Path(path).name for path in tracked if re.search(r"/test_\w+\.py$", path))
    assert [name for name, count in names.items() if count > 1] == []


def test_links_in_documents_lead_somewhere():
    broken = []
    for pattern in DOCUMENTS:
        for document in ROOT.glob(pattern):
            if "node_modules" in document.parts:
                continue
            text = document.read_text(encoding="utf-8")
            broken += [
                f"{document.relative_to(ROOT)} -> {target}"
                for target in tidy.links(text)
                if not (document.parent / target).exists()
            ]
    assert broken == []


def test_the_changelog_tells_of_what_is_being_made():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings
    assert headings[0] in {"Unreleased", version}


def config_sources(shipped) -> Iterator[tuple[str, str]]:
    for path, text in shipped.items():
        if re.match(r"caxton_node/config(/|\.py$|_)", path):
            yield path, text


def test_every_setting_is_read(shipped):
    settings = dict(config_sources(shipped))
    if not settings or not WHOLE.issubset(shipped):
        pytest.skip("the settings, or those who read them, are still to come")
    read = set().union(
        *(tidy.attributes_read(text) for path, text in shipped.items() if path not in settings)
    )
    fields = {field for text in settings.values() for field in tidy.class_fields(text, "_Section")}
    assert sorted(f"{owner}.{name}" for owner, name in fields if name not in read) == []


def reference() -> str:
    pages = sorted((ROOT / "docs" / "reference").glob("**/*.md"))
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def test_every_error_code_is_used_or_documented(shipped):
    if not WHOLE.issubset(shipped):
        pytest.skip("some of those who raise errors are still to come")
    used = set().union(
        *(
            tidy.strings(text)
            for path, text in shipped.items()
            if path != "caxton_node/domain/errors.py"
        )
    )
    documented = set(re.findall(r"`([a-z_]+)`", reference()))
    assert sorted(set(ERRORS) - used - documented) == []


def test_every_name_of_telemetry_is_documented(shipped):
    names = shipped.get("caxton_node/telemetry/names.py")
    if names is None or not (ROOT / "docs" / "reference").is_dir():
        pytest.skip("the table of telemetry names, or the reference, is still to come")
    text = reference()
    # A name has at least two words: prose and single words such as `node` cannot be told apart.
    telemetry = {s for s in tidy.strings(names) if re.fullmatch(r"[a-z0-9]+([._][a-z0-9]+)+", s)}
    assert telemetry, "the table holds no names: has its form changed?"
    assert sorted(name for name in telemetry if name not in text) == []


# The rules themselves: each finds what it is made to find.

SAMPLE = '''"""A module."""
# A comment.

def public():
    """Documented."""
    return (1,
            2)
'''


def test_only_code_is_counted():
    assert tidy.code_line_count(SAMPLE) == 3


def test_a_long_function_is_found():
    body = "\n".join(f"    x = {i}" for i in range(tidy.FUNCTION_LINES_MAX))
    assert [f.line for f in tidy.long_functions(f"def long():\n{body}\n")] == [1]
    shorter = body.rpartition("\n")[0]
    assert list(tidy.long_functions(f"def short():\n{shorter}\n    # free\n\n")) == []


@pytest.mark.parametrize(
    "path", ["caxton/utils.py", "caxton/common/net.py", "a/base.sql", "tests/_helpers.py"]
)
def test_an_empty_name_is_found(path):
    assert tidy.banned_names(path)


def test_a_name_that_contains_a_banned_word_is_fine():
    assert not tidy.banned_names("caxton/database.py")


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        '"""M."""\nclass A: pass',
        '"""M."""\nasync def a(): pass',
        '"""M."""\nclass A:\n    """A."""\n    def b(self): pass',
    ],
)
def test_a_missing_docstring_is_found(source):
    assert list(tidy.undocumented(source))


@pytest.mark.parametrize(
    "source",
    [
        "",
        '"""M."""\ndef _a(): pass',
        '"""M."""\nclass A:\n    """A."""\n    def __len__(self): pass',
        '"""M."""\nclass A:\n    """A."""\n    @typing.override\n    def b(self): pass',
    ],
)
def test_what_needs_no_docstring_is_not_found(source):
    assert not list(tidy.undocumented(source))


@pytest.mark.parametrize(
    ("comment", "is_found"),
    [
        ("# no|qa", True),
        ("# no|qa: S101", True),
        ("# type|: ignore[misc]", True),
        ("# type|: ignore[misc]  # why", True),
        ("# no|qa: S101, D100  # the rule is about passwords", False),
        ("# ruff: no|qa: INP001 -- a script, not a package", False),
        ("# type|: ignore[misc]  # the stub lacks this overload", False),
        ("# a comment about types", False),
    ],
)
def test_a_directive_needs_a_reason(comment, is_found):
    source = f"x = 1  {comment.replace('|', '')}\n"
    assert bool(list(tidy.directives_without_reason(source))) is is_found


@pytest.mark.parametrize(
    ("rule", "text", "is_found"),
    [
        (tidy.unfinished_work, "# TO|DO: later", True),
        (tidy.unfinished_work, "the mastodon", False),
        (tidy.machine_paths, "cd /wo|rk/main", True),
        (tidy.machine_paths, "/ho|me/ada/caxton", True),
        (tidy.machine_paths, "~/.config/caxton", False),
        (tidy.machine_paths, "agents/home/index, work/life", False),
        (tidy.registry_hosts, "https://py|pi.org/simple", True),
        (tidy.registry_hosts, 'index-|url = "https://mirror.example/simple"', True),
        (tidy.registry_hosts, "the agent registry is at https://example.org", False),
    ],
)
def test_a_text_that_does_not_belong_is_found(rule, text, is_found):
    # The stroke keeps this file from being a finding itself.
    assert bool(list(rule(text.replace("|", "")))) is is_found


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("A = 1", True),
        ("def a(): pass", True),
        ("__all__ = ['a']", True),
        ("_A = 1", False),
        ("__all__ = ['a']\nfrom b import a", False),
        ("__all__ = ['A']\nA: int = 1", False),
    ],
)
def test_a_list_of_public_names_must_be_there_and_true(source, is_found):
    assert bool(list(tidy.broken_all(source))) is is_found


def test_fields_and_reads_are_told_apart():
    source = "class A(Base):\n    port: int = 1\nprint(a.port)\na.host = 2\n"
    assert list(tidy.class_fields(source, "Base")) == [("A", "port")]
    assert tidy.attributes_read(source) == {"port"}


def test_only_relative_links_outside_of_code_are_followed():
    text = "[a](b.md#c) [d](https://e) [f](#g)\n```\n[h](i.md)\n```\n![j](k.png)"
    assert list(tidy.links(text)) == ["b.md", "k.png"]
