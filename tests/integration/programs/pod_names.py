"""Answers for the names of pods, as the DNS of a cluster does: A records of one file, over UDP.

    pod_names.py ADDRESS FILE        FILE: {"name.": ["10.0.0.1", …]} in JSON, read at each question

A name that is not there has no address (NXDOMAIN); other types of records are empty answers.
"""

import json
import socket
import struct
import sys
from pathlib import Path

A = 1
TTL_S = 1
NXDOMAIN = 3


def name_in(question):
    """Return the name asked for, lower-case with its dot, and the length of its bytes."""
    labels, place = [], 0
    while size := question[place]:
        labels.append(question[place + 1 : place + 1 + size].decode())
        place += size + 1
    return ".".join(labels).lower() + ".", place + 1


def answer(query, names):
    """Return the bytes that answer a query."""
    (identity,) = struct.unpack("!H", query[:2])
    name, length = name_in(query[12:])
    (kind,) = struct.unpack("!H", query[12 + length : 14 + length])
    addresses = names.get(name)
    found = addresses if addresses and kind == A else []
    flags = 0x8580 | (NXDOMAIN if addresses is None else 0)
    head = struct.pack("!6H", identity, flags, 1, len(found), 0, 0)
    records = b"".join(
        struct.pack("!HHHIH", 0xC00C, A, 1, TTL_S, 4) + socket.inet_aton(address)
        for address in found
    )
    return head + query[12 : 16 + length] + records


def main(address, path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((address, 53))
        print("open", flush=True)
        while True:
            query, asker = channel.recvfrom(512)
            channel.sendto(answer(query, json.loads(Path(path).read_text())), asker)


main(sys.argv[1], sys.argv[2])
