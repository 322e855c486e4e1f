"""Bytes that were on the wire once and must keep their meaning.

`memberlist-0.7.0.json` is what three peers of that release sent to each other; `caxton-1.json`
is what we wrote at first, `caxton-2.json` what we write since an ack without a payload does not
mention it. No file is ever regenerated: what is written anew gets a new file.
"""

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path

import pytest

from caxton_cluster.errors import NotForUs
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.wire.codec import encode
from caxton_cluster.swim.wire.wire import Wire
from caxton_cluster.types import Address

FOLDER = Path(__file__).parent / "memberlist"


def cases(name: str) -> list:
    rows = json.loads((FOLDER / name).read_text())
    return [
        pytest.param(row, id=f"{number}-{row['carrier']}-{row['messages'][0]['type']}")
        for number, row in enumerate(rows)
    ]


def meaning(value: object) -> object:
    """Return a message as the files spell it."""
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value):
        named = {field.name: meaning(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **named}
    if isinstance(value, tuple):
        return [meaning(item) for item in value]
    return value.name if isinstance(value, Enum) else value


def wire_of(row: dict) -> Wire:
    key = bytes.fromhex(row.get("key", ""))
    ring = KeyRing([key], bytes) if key else None
    return Wire(label=row.get("label", ""), key_ring=ring)


def read(row: dict) -> list:
    wire, data = wire_of(row), bytes.fromhex(row["bytes"])
    match row["carrier"]:
        case "udp":
            decoded = wire.packets.decode(data)
            assert decoded.malformed_count == 0
            return decoded.messages
        case "request":
            return [wire.streams.request_decoder().feed(data)]
        case "reply":
            return [wire.streams.reply_decoder().feed(data)]


@pytest.mark.parametrize("row", cases("memberlist-0.7.0.json"))
def test_what_memberlist_sent_is_understood(row):
    assert [meaning(message) for message in read(row)] == row["messages"]


@pytest.mark.parametrize("row", [*cases("caxton-1.json"), *cases("caxton-2.json")])
def test_what_we_once_wrote_is_still_understood(row):
    assert [meaning(message) for message in read(row)] == row["messages"]


@pytest.mark.parametrize("row", cases("caxton-2.json"))
def test_we_still_write_what_we_once_wrote(row):
    data = bytes.fromhex(row["bytes"])
    messages = read(row)
    if row["carrier"] == "request":
        written = [
            Wire(compresses=squeezes).streams.encode_request(messages[0])
            for squeezes in (False, True)
        ]
    else:
        parts = [encode(message) for message in messages]
        written = [
            Wire(compresses=squeezes).packets.encode(parts, with_crc=with_crc)
            for squeezes in (False, True)
            for with_crc in (False, True)
        ]

    assert data in written


@pytest.mark.parametrize(
    "row", [case for case in cases("memberlist-0.7.0.json") if case.values[0]["key"]]
)
def test_what_was_encrypted_is_not_for_others(row):
    with pytest.raises(NotForUs):
        read({**row, "key": "00" * 16})
