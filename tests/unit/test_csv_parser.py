"""Delimited text becomes a table, and what was guessed is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.tool import ToolResult
from caxton_node.tools import table as table_limits
from caxton_node.tools.builtin.csv_parser import CsvParser
from caxton_node.tools.csv_text import CsvOptions, read_csv
from caxton_node.tools.table import TABLE_MEDIA_TYPE, TableError, decode_table, encode_table
from tests.tool_bench import call, tool_context

SALES = b"region,amount,sold_on,is_new\nnorth,10,2026-01-31,true\nsouth,2.5,2026-02-01,false\n"


def read(data, **options):
    return read_csv(data, CsvOptions(**options))


def kinds(data, **options):
    return [column.type.value for column in read(data, **options).table.columns]


def test_types_are_found():
    assert kinds(SALES) == ["text", "number", "date", "boolean"]


def test_rows_hold_typed_values():
    assert list(read(SALES).table.rows[0]) == ["north", 10.0, "2026-01-31", True]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter):
    assert read(SALES.replace(b",", delimiter.encode())).delimiter == delimiter


def test_a_comma_inside_the_cells_of_a_semicolon_file_does_not_mislead():
    assert read(b"name;price\na, b;1,5\nc, d;2,5\n").delimiter == ";"


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("naïve,x\n1,2\n".encode(), "utf-8"),
        ("naïve,x\n1,2\n".encode("utf-8-sig"), "utf-8-sig"),
        ("naïve,x\n1,2\n".encode("utf-16"), "utf-16"),
        ("naïve,x\n1,2\n".encode("latin-1"), "latin-1"),
    ],
)
def test_the_encoding_is_found_and_told(data, encoding):
    reading = read(data)
    assert (reading.encoding, reading.table.columns[0].name) == (encoding, "naïve")


def test_without_a_heading_columns_are_numbered():
    reading = read(b"1,2\n3,4\n")
    assert not reading.has_header
    assert [column.name for column in reading.table.columns] == ["column_1", "column_2"]


def test_the_caller_knows_best_whether_there_is_a_heading():
    assert len(read(b"a,b\nc,d\n", header="absent").table.rows) == 2
    assert len(read(b"1,2\n3,4\n", header="present").table.rows) == 1


def test_ragged_rows_are_kept_and_reported():
    reading = read(b"a,b\n1,2\n3\n4,5,6\n")
    assert [list(row) for row in reading.table.rows] == [[1, 2, None], [3, None, None], [4, 5, 6]]
    assert [(row.line, row.cell_count) for row in reading.ragged] == [(3, 1), (4, 3)]


def test_equal_names_are_told_apart():
    reading = read(b"a,a,,a_2\nx,y,z,w\n", header="present")
    names = [column.name for column in reading.table.columns]
    assert names == ["a", "a_2", "column_3", "a_2_2"]


def test_a_line_end_inside_quotes_belongs_to_the_cell():
    assert read(b'a,b\n"x\ny\xe2\x80\xa8z",1\n').table.rows[0][0] == "x\ny\u2028z"


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "+3"], "integer"),
        (["007", "008"], "text"),
        (["1", "NA", ""], "integer"),
        (["1", "2.5", "1e3", ".5"], "number"),
        (["1e999"], "text"),
        (["99999999999999999999"], "text"),
        (["2026-01-31", "2026/02/01"], "date"),
        (["2026-02-30"], "text"),
        (["2026-01-31", "2026-01-31T10:00:00"], "text"),
        (["2026-01-31T10:00:00Z", "2026-01-31 12:00+02:00"], "date"),
        (["31/01/2026"], "text"),
        (["yes", "No"], "boolean"),
        (["NA", "north"], "text"),
        (["", ""], "text"),
    ],
)
def test_a_column_has_a_type_only_if_every_cell_fits(cells, kind):
    assert table_limits.infer_column(cells)[0].value == kind


def test_instants_become_comparable_text():
    _, values = table_limits.infer_column(["2026-01-31T10:00:00Z", "2026-01-31 11:00+02:00"])
    assert values == ["2026-01-31T10:00:00+00:00", "2026-01-31T09:00:00+00:00"]


def test_too_many_columns_are_refused():
    with pytest.raises(TableError, match="1,000 columns"):
        read(b"a," * 1_001)


def test_a_table_reads_back_as_it_was_written():
    table = read(SALES).table
    again = decode_table(encode_table(table))
    assert again.columns == table.columns
    assert [list(row) for row in again.rows] == [list(row) for row in table.rows]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"format":"caxton-table/9","columns":[],"rows":[]}',
        b'{"format":"caxton-table/1","columns":[{"name":"a","type":"text"}],"rows":[[1]]}',
        b'{"format":"caxton-table/1","columns":[{"name":"a","type":"text"}],"rows":[[]]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_table_is_refused(data):
    with pytest.raises(TableError):
        decode_table(data)


async def test_the_result_names_the_table_and_what_it_holds(tmp_path):
    context = await tool_context(tmp_path)
    result = await call(CsvParser(), context, text=SALES.decode())
    assert result.content["artifact"] == "artifact:1"
    assert result.content["media_type"] == TABLE_MEDIA_TYPE
    assert result.content["row_count"] == 2
    assert result.content["columns"][1] == {"name": "amount", "type": "number", "missing": 0}
    assert result.content["preview"][0]["region"] == "north"
    assert result.artifacts[0].handle == "artifact:1"


async def test_a_handle_is_read_as_well_as_text(tmp_path):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="sales.csv", media_type="text/csv", data=SALES * 2_000)
    result = await call(CsvParser(), context, artifact="artifact:1")
    assert (result.content["artifact"], result.artifacts[0].name) == (
        "artifact:2",
        "sales.table.json",
    )


async def test_an_unknown_handle_is_a_mistake_that_a_model_can_mend(tmp_path):
    result = await call(CsvParser(), await tool_context(tmp_path), artifact="artifact:7")
    assert result.is_error
    assert "artifact:7" in result.content["error"]


async def test_a_file_above_the_configured_size_is_refused(tmp_path):
    context = await tool_context(tmp_path, config={"max_file_size": "1kB"})
    result = await call(CsvParser(), context, text="a,b\n" * 1_000)
    assert result.is_error


async def test_a_configured_delimiter_is_used(tmp_path):
    context = await tool_context(tmp_path, config={"delimiter": "|"})
    result = await call(CsvParser(), context, text="a,b|c\n1,2|3\n")
    assert result.content["column_count"] == 2


csv_like = st.text(alphabet=st.sampled_from('ab1.,;|\t\n\r"\x00 -é'), max_size=60).map(str.encode)


@given(st.binary(max_size=200) | csv_like)
def test_no_bytes_raise_anything_but_the_table_error(data):
    try:
        reading = read(data)
    except TableError:
        return
    again = decode_table(encode_table(reading.table))
    assert len(again.rows) == len(reading.table.rows)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x00", b'"', b'a,"b\n' * 3, b"\xff\xfe\x00"])
async def test_any_bytes_of_an_artifact_end_in_a_result(tmp_path, data):
    context = await tool_context(tmp_path)
    await context.artifacts.put(name="x", media_type="text/csv", data=data)
    assert isinstance(await call(CsvParser(), context, artifact="artifact:1"), ToolResult)


async def test_a_cell_beyond_the_csv_limit_is_an_error_result(tmp_path):
    result = await call(CsvParser(), await tool_context(tmp_path), text="a,b\n" + "x" * 200_000)
    assert result.is_error
