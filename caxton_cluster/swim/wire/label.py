"""The label in front of everything a member sends: the name of its cluster.

Addresses get reused. Without a label, a recycled address is enough to melt two clusters into
one. The label is no secret: it is checked, and under encryption authenticated, but sent openly.

On a TCP connection only the dialling side writes it; the reply has none.

Reference: HashiCorp memberlist, label.go.
"""

from typing import Final

from caxton_cluster.errors import InvalidSetting, MalformedPacket, NotForUs
from caxton_cluster.swim.wire.messages import Kind

__all__ = ["LABEL_SIZE_BYTES_MAX", "label_header", "strip_label"]

LABEL_SIZE_BYTES_MAX: Final = 255

_MARK: Final = bytes((Kind.HAS_LABEL,))


def label_header(label: str) -> bytes:
    """Return what goes in front of a packet; nothing for the empty label.

    Raises:
        InvalidSetting: The label has more than 255 bytes.
    """
    raw = label.encode()
    if len(raw) > LABEL_SIZE_BYTES_MAX:
        raise InvalidSetting("label", f"has more than {LABEL_SIZE_BYTES_MAX} bytes")
    return _MARK + bytes((len(raw),)) + raw if raw else b""


def strip_label(data: bytes, header: bytes) -> bytes:
    """Return `data` without the label that `header` requires.

    Raises:
        NotForUs: It has another label, or one where none is expected, or none at all.
        MalformedPacket: It is a label with nothing behind it.
    """
    if header:
        if not data.startswith(header):
            raise NotForUs("the label is missing or another cluster's")
        data = data[len(header) :]
    elif data.startswith(_MARK):
        raise NotForUs("a label where none is expected")
    if not data:
        raise MalformedPacket("nothing but a label")
    return data
