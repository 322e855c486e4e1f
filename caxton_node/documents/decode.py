"""From the bytes of a file to text that the readers can trust.

After this step: valid UTF-8 without a byte order mark, no NUL, lines end with a line feed, and
the whole is within the limit. Each way to miss that has an error of its own.
"""

from typing import Final

from caxton_node.documents.document import Flaw, Unreadable, line_and_column
from caxton_node.domain.quantities import format_size

__all__ = ["SOURCE_BYTES_MAX", "decode_source"]

SOURCE_BYTES_MAX: Final = 1_000_000

_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def decode_source(source: str | bytes, *, bytes_max: int = SOURCE_BYTES_MAX) -> str:
    """Return the text of a file.

    Raises:
        Unreadable: Too large, not UTF-8, or not text.
    """
    data = source.encode(errors="surrogatepass") if isinstance(source, str) else source
    if len(data) > bytes_max:
        raise Unreadable(
            Flaw(
                f"The file has {len(data)} bytes; the limit is {format_size(bytes_max)}",
                "too_large",
                "Keep long texts and data elsewhere and let the agent fetch them",
            )
        )
    if data.startswith(_UTF16_MARKS):
        raise Unreadable(
            Flaw("The file is UTF-16, not UTF-8", "not_utf8", "Save the file as UTF-8"),
            line=1,
            column=1,
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = line_and_column(before, len(before))
        flaw = Flaw(
            f"Byte 0x{data[error.start]:02x} is not valid UTF-8",
            "not_utf8",
            "Save the file as UTF-8",
        )
        raise Unreadable(flaw, line=line, column=column) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    nul = text.find("\0")
    if nul >= 0:
        line, column = line_and_column(text, nul)
        flaw = Flaw("The file contains a NUL character", "not_text", "Remove it")
        raise Unreadable(flaw, line=line, column=column)
    return text
