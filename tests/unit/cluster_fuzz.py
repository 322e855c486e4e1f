"""Coverage-guided fuzzing of everything that reads bytes from the network.

`python -m tests.unit.cluster_fuzz -max_total_time=60` runs for a minute; it needs atheris. Any
error but `MalformedPacket` is a crash, and libFuzzer writes the bytes that caused it to a file.
"""

import random
import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["caxton_cluster"]):
    from caxton_cluster.config import lan
    from caxton_cluster.errors import MalformedPacket
    from caxton_cluster.serf.messages import decode_serf
    from caxton_cluster.serf.overlay import SerfOverlay
    from caxton_cluster.serf.tags import decode_tags
    from caxton_cluster.swim.events import UserMessage, UserState
    from caxton_cluster.swim.machine import Machine
    from caxton_cluster.swim.secrecy import KeyRing
    from caxton_cluster.swim.wire import lzw
    from caxton_cluster.swim.wire.wire import Wire
    from caxton_cluster.types import Address, Member

ADDRESS = Address.of("10.0.0.1", 7946)
PLAIN, LABELLED = Wire(), Wire(label="prod")
SECRET = Wire(key_ring=KeyRing([bytes(16)], random.Random(1).randbytes))
RING = KeyRing([bytes(16)], random.Random(1).randbytes)


def read_everything(data: bytes) -> None:
    """Hand `data` to every reader."""
    for wire in (PLAIN, LABELLED, SECRET):
        for decoder in (wire.streams.request_decoder(), wire.streams.reply_decoder()):
            half = len(data) // 2
            with suppress(MalformedPacket):
                decoder.feed(data[:half])
                decoder.feed(data[half:])
    # What is inside an encryption that opens, too.
    for version in (0, 1):
        with suppress(MalformedPacket):
            SECRET.packets.decode(RING.seal(data, b"", version=version))
    with suppress(MalformedPacket):
        lzw.decompress(data, size_bytes_max=65_536)
    with suppress(MalformedPacket):
        decode_serf(data)
    decode_tags(data)


def act_on(data: bytes) -> None:
    """Hand `data` to a machine and an overlay, and let time pass."""
    own = Member(name="a", address=ADDRESS, incarnation=1)
    machine = Machine(lan(), own, random=random.Random(1), now=0.0, wire=PLAIN)
    machine.receive(data, ADDRESS, 0.0)
    try:
        request = machine.request_decoder().feed(data)
    except MalformedPacket as error:
        machine.refuse(error)
    else:
        if request is not None:
            machine.serve(request, 0.01)
    for step in range(1, 30):
        machine.tick(step / 10)
    overlay = SerfOverlay("a", RING)
    overlay.hear(UserMessage(data))
    overlay.hear(UserState(data, False))


def one_input(data: bytes) -> None:
    read_everything(data)
    act_on(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
