"""Where the scanner says a key stands, against texts whose places are known by construction."""

import tomllib
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caxton_node.documents.document import NESTING_MAX, VALUES_MAX, Document, Unreadable
from caxton_node.documents.toml_positions import locate_keys
from caxton_node.documents.toml_source import read_toml

# Values that try to look like something else. Each is valid TOML on its own.
SCALARS = [
    "1",
    "0xff",
    "3.5e-2",
    "true",
    "inf",
    "1979-05-27 07:32:00",
    "07:32:00.999",
    '"plain"',
    '"# [no] = \\"comment\\" \\\\"',
    "'C:\\no\\escape'",
    "''",
    '""',
    '"""one line"""',
    '"""\nkey = 1\n[table]\n# \\""" still inside\n"""',
    '"""two quotes at the end"""""',
    "'''\n[x]\na = \"b\"\n'''''",
    '"""a\\\n   b"""',
    "[]",
    "[1, 2]",
    "[ # comment ] with bracket\n  'a',\n\n  \"b]\", # = \n]",
    "[[1], [ '''\n]''' ], {k = 1}]",
    "{}",
    "{ inner = 1, 'q.q' = \"}\" , d.e = [1,\n2] }",
]


@dataclass
class Written:
    """A text under construction and the line of each key in it."""

    text: str = ""
    lines: dict[tuple, int] = field(default_factory=dict)
    count: int = 0

    def line(self) -> int:
        return self.text.count("\n") + 1

    def new_name(self, style: str) -> tuple[str, str]:
        """Return a fresh key and how it is spelled."""
        self.count += 1
        match style:
            case "bare":
                return f"k-{self.count}", f"k-{self.count}"
            case "digits":
                return str(self.count), str(self.count)
            case "basic":
                return f"k {self.count}\té", f'"k {self.count}\\t\\u00e9"'
            case "literal":
                return f'k.{self.count}"#', f"'k.{self.count}\"#'"
        raise AssertionError(style)

    def pair(self, table: tuple, styles: list[str], gaps: list[str], value: str) -> None:
        path, spelled = table, []
        for style in styles:
            name, spelling = self.new_name(style)
            path = (*path, name)
            spelled.append(spelling)
            self.lines[path] = self.line()
        self.text += f"{gaps[0]}{f'{gaps[1]}.{gaps[1]}'.join(spelled)}{gaps[1]}={gaps[0]}{value}"


styles = st.lists(st.sampled_from(["bare", "digits", "basic", "literal"]), min_size=1, max_size=3)
gaps = st.lists(st.sampled_from(["", " ", "\t "]), min_size=2, max_size=2)
line_ends = st.sampled_from(["\n", " # note = [1]\n", "\n\n  # [commented]\n\t\n"])


@st.composite
def documents(draw) -> Written:
    written = Written()
    table: tuple = ()
    arrays: list[tuple[tuple, str, int]] = []
    for _ in range(draw(st.integers(0, 12))):
        what = draw(st.sampled_from(["pair", "pair", "pair", "table", "array", "item"]))
        gap = draw(gaps)
        if what == "pair":
            written.pair(table, draw(styles), gap, draw(st.sampled_from(SCALARS)))
        elif what == "item" and arrays:
            path, spelling, index = arrays.pop()
            index += 1
            arrays.append((path, spelling, index))
            table = (*path, index)
            written.lines[table] = written.line()
            written.text += f"[[{gap[0]}{spelling}{gap[1]}]]"
        else:
            parts = [written.new_name(style) for style in draw(styles)]
            path = tuple(name for name, _ in parts)
            spelling = f"{gap[1]}.{gap[1]}".join(text for _, text in parts)
            for end in range(1, len(path) + 1):
                written.lines[path[:end]] = written.line()
            if what == "table":
                table = path
                written.text += f"[{gap[0]}{spelling}{gap[1]}]"
            else:
                arrays.append((path, spelling, 0))
                table = (*path, 0)
                written.lines[table] = written.line()
                written.text += f"[[{gap[0]}{spelling}{gap[1]}]]"
        written.text += draw(line_ends)
    return written


def paths_of(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, index)
            yield from paths_of(item, (*path, index))


@given(documents())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_key_is_found_on_the_line_where_it_was_written(written):
    tomllib.loads(written.text)
    positions = locate_keys(written.text)
    document = Document(values={}, text=written.text, offsets=positions.offsets)
    found = {path: document.place_of(path)[0] for path in written.lines}
    assert found == written.lines


@given(documents())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_the_span_of_a_value_reads_as_that_value(written):
    values = tomllib.loads(written.text)
    positions = locate_keys(written.text)
    for path, (start, end) in positions.spans.items():
        value = values
        for part in path:
            value = value[part]
        assert repr(tomllib.loads(f"v = {written.text[start:end]}")["v"]) == repr(value)


@given(st.text(alphabet="ab.=[]{}\"'\\#\n ,1-", max_size=40))
@settings(max_examples=400, deadline=None)
def test_whatever_tomllib_accepts_is_located_to_the_last_key(text):
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(paths_of(values)) <= locate_keys(text).offsets.keys()


@given(
    st.lists(
        st.sampled_from(["a", ".", "=", "[", "]", "{", "}", '"', "'", "\n", ",", "1"]), max_size=25
    ).map("".join)
)
@settings(max_examples=400, deadline=None)
def test_dense_toml_is_located_to_the_last_key(text):
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(paths_of(values)) <= locate_keys(text).offsets.keys()


def test_a_repeated_key_names_both_lines():
    with pytest.raises(Unreadable) as caught:
        read_toml('name = "a"\n\nname = "b"\n')
    assert (caught.value.line, caught.value.flaw.fix) == (3, "The first is on line 1")
    assert caught.value.flaw.message == "The key `name` is written twice"


def test_a_repeated_table_names_both_lines():
    with pytest.raises(Unreadable) as caught:
        read_toml("[llm]\n[memory]\n[llm]\n")
    assert (caught.value.line, caught.value.flaw.rule) == (3, "table_repeated")


def test_items_of_an_array_of_tables_are_no_repetitions():
    text = "[[a]]\nx = 1\n[a.b]\ny = 1\n[[a]]\nx = 2\n[a.b]\ny = 2\n"
    offsets = read_toml(text).offsets
    assert text[offsets["a", 1, "b", "y"] :].startswith("y = 2")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 500_000,
        "a = " + "{b = " * 100_000,
        "a" + ".a" * 400_000 + " = 1",
        "[" + "a." * 400_000 + "a]",
        "[[" + "a." * 400_000 + "a]]",
    ],
)
def test_nesting_beyond_the_limit_is_refused_at_once(text):
    with pytest.raises(Unreadable) as caught:
        read_toml(text)
    assert caught.value.flaw.rule == "nested_too_deep"


def test_nesting_up_to_the_limit_is_read():
    depth = NESTING_MAX - 1
    assert read_toml("a = " + "[" * depth + "]" * depth).values["a"]


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{index} = 1\n" for index in range(VALUES_MAX + 1)),
        "a = [" + "1," * (VALUES_MAX + 1) + "]",
        "[[a]]\n" * (VALUES_MAX + 1),
    ],
    ids=["keys", "items", "tables"],
)
def test_more_values_than_the_limit_are_refused(text):
    with pytest.raises(Unreadable) as caught:
        read_toml(text)
    assert caught.value.flaw.rule == "too_many_values"


@pytest.mark.parametrize(
    ("text", "line", "column", "fix"),
    [
        ("name = my-agent\n", 1, 8, "Text needs quotes"),
        ('a = 1\nname "x"\n', 2, 6, "Write key = value"),
        ('a = "open\n', 1, 10, "three quotes"),
        ('\n\na = "open', 3, 10, "Close the text"),
        ("[llm\na = 1", 1, 5, "Close the header"),
        ("a = 1 b = 2", 1, 7, "one key a line"),
        ('a = "C:\\dir"', 1, 10, "one backslash"),
        ("a.b = 1\na = 2", 2, 6, "set above already"),
    ],
)
def test_a_syntax_error_has_its_place_and_a_fix(text, line, column, fix):
    with pytest.raises(Unreadable) as caught:
        read_toml(text)
    error = caught.value
    assert (error.line, error.column) == (line, column)
    assert fix in (error.flaw.fix or "")


def test_a_number_of_a_million_digits_is_refused():
    with pytest.raises(Unreadable):
        read_toml("a = " + "9" * 900_000)


def test_dates_become_text():
    assert read_toml("a = 2026-01-02\nb = 2026-01-02T03:04:05Z").values == {
        "a": "2026-01-02",
        "b": "2026-01-02T03:04:05+00:00",
    }
