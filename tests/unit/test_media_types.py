"""What data is, when who sent it said little."""

import pytest

from caxton_node.tools.media import find_media_type, inline_text, name_with_suffix


@pytest.mark.parametrize(
    ("declared", "name", "data", "found"),
    [
        ("text/html; charset=utf-8", "a.csv", b"", "text/html"),
        ("text/plain", "a.csv", b"", "text/csv"),
        ("application/octet-stream", "A.JSON", b"", "application/json"),
        ("", "a.png", b"", "image/png"),
        ("", "a", b'{"a": 1}', "application/json"),
        ("", "a", b"{a}", "text/plain"),
        ("", "a", b"[" * 100_000, "text/plain"),
        ("", "a", "é".encode(), "text/plain"),
        ("", "a", b"\xff\xfe", "application/octet-stream"),
        ("", "a", b"a\x00b", "application/octet-stream"),
        ("text/plain", "a", b"\xe9", "text/plain"),
    ],
)
def test_a_media_type_is_found(declared, name, data, found):
    assert find_media_type(declared, name, data) == found


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("text/plain", "abc"),
        ("application/problem+json", "abc"),
        ("image/svg+xml", "abc"),
        ("image/png", None),
    ],
)
def test_only_text_is_shown(media_type, text):
    assert inline_text(media_type, b"abc") == text


def test_shown_text_is_cut_between_characters():
    assert inline_text("text/plain", "é".encode() * 10, length_max=3) == "ééé"


@pytest.mark.parametrize(
    ("name", "media_type", "expected"),
    [
        ("sales.csv", "text/csv", "sales.csv"),
        ("sales", "text/csv", "sales.csv"),
        ("sales", "image/png", "sales"),
        ("/", "text/csv", "data.csv"),
    ],
)
def test_a_name_gets_the_suffix_it_lacks(name, media_type, expected):
    assert name_with_suffix(name, media_type) == expected
