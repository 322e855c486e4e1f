import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.quantities import (
    format_duration,
    format_size,
    parse_duration_s,
    parse_size_bytes,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("1.5h", 5400), ("2d", 172_800),
     ("1m500ms", 60.5), ("45", 45), ("0.25", 0.25), ("0s", 0)],
)  # fmt: skip
def test_a_duration_reads_as_seconds(text, seconds):
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1 h", "30m1h", "1h1h", "1w", "١s", "1e3s", "1s" * 40, "nan", "1H"]
)
def test_what_is_no_duration_reads_as_none(text):
    assert parse_duration_s(text) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("10MB", 10_000_000), ("256MiB", 256 << 20), ("1kB", 1000), ("1 KiB", 1024), ("7", 7),
     ("7B", 7), ("1.5gb", 1_500_000_000), ("0.5KiB", 512)],
)  # fmt: skip
def test_a_size_reads_as_bytes(text, size):
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1 banana", "0.3B", "1e3", "٣MB", "10 MBs"])
def test_what_is_no_size_reads_as_none(text):
    assert parse_size_bytes(text) is None


@given(st.integers(0, 10**12))
def test_a_formatted_size_reads_back(size):
    assert parse_size_bytes(format_size(size)) == size


@given(st.integers(0, 10**11))
def test_a_formatted_duration_reads_back(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds)


@given(st.text())
def test_any_text_is_a_quantity_or_none(text):
    assert parse_duration_s(text) is None or parse_duration_s(text) >= 0
    assert parse_size_bytes(text) is None or parse_size_bytes(text) >= 0


@pytest.mark.parametrize(("seconds", "text"), [(5400, "1h30m"), (0.5, "500ms"), (0, "0s")])
def test_a_duration_is_written_as_people_do(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(2_000_000, "2MB"), (1 << 20, "1MiB"), (0, "0B")])
def test_a_size_is_written_as_people_do(size, text):
    assert format_size(size) == text
