"""Text as SQLite's JSON can carry it: what people wrote may hold what it cannot."""

__all__ = ["storable_text"]


def storable_text(text: str) -> str:
    """Return `text` with what SQLite's JSON cannot carry (NUL, lone surrogates) replaced by `�`.

    Meant for text that people read. Names and ids are checked at the edge instead.
    """
    if text.isascii():
        return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return clean.replace("\0", "\N{REPLACEMENT CHARACTER}")
