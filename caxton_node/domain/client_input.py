"""What clients may write into the fields of a message, whatever the protocol they speak."""

from typing import Final

__all__ = [
    "CLIENT_ID",
    "CONVERSATION_ID",
    "LABEL_LENGTH_MAX",
    "METADATA_ENTRIES_MAX",
    "NO_CONTROL",
    "PARTY_LENGTH_MAX",
]

CLIENT_ID: Final = r"^[A-Za-z0-9._:-]{1,128}$"
"""An id that a client chose, or under which it wants or gives an answer. `#` and `~` are kept for
the ids that the server derives: under them a client could answer what an agent asked another."""

CONVERSATION_ID: Final = r"^[A-Za-z0-9._:-]{1,512}$"
"""Any conversation's id: a client's, or one that was derived from it."""

NO_CONTROL: Final = r"^[^\u0000-\u001f\u007f]*$"

PARTY_LENGTH_MAX: Final = 256
"""Of who sends or receives, in characters."""

LABEL_LENGTH_MAX: Final = 256
"""Of a protocol, a language, an ontology, an encoding."""

METADATA_ENTRIES_MAX: Final = 64
