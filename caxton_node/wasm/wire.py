"""What a node and the processes that run its guests say to each other.

Frames of MessagePack with their length before them, on a socket pair. A frame is small or it is an
error: neither side trusts the other to stop.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, cast

import msgspec

from caxton_node.domain.wasm import GuestLimits

__all__ = [
    "Answered",
    "Call",
    "Called",
    "Close",
    "Frame",
    "HostAsk",
    "Open",
    "Ping",
    "ReadyToWork",
    "Said",
    "Snapshotted",
    "Stop",
    "TakeSnapshot",
    "Warm",
    "Wire",
]

FRAME_BYTES_MAX: Final = 4_000_000

LENGTH_BYTES: Final = 4


class Open(msgspec.Struct, tag="open", array_like=True, kw_only=True):
    """Make a sandbox. Nothing runs yet."""

    box: int
    file: str
    """Compiled code."""
    shape: str
    limits: GuestLimits
    is_fresh: bool
    """A new guest for every call."""
    parameters: bytes
    secret_names: tuple[str, ...]
    environment: Mapping[str, str]
    snapshot: tuple[bytes, str] | None


class Call(msgspec.Struct, tag="call", array_like=True):
    """Call a function of a guest."""

    number: int
    box: int
    function: str
    data: bytes | None


class Stop(msgspec.Struct, tag="stop", array_like=True):
    """The answer to a call is not wanted any more."""

    number: int


class Warm(msgspec.Struct, tag="warm", array_like=True):
    """Start a guest, if it is not running; with a snapshot, anew from that."""

    number: int
    box: int
    snapshot: tuple[bytes, str] | None


class TakeSnapshot(msgspec.Struct, tag="snap", array_like=True):
    """Ask a guest for its state."""

    number: int
    box: int
    version: str


class Ping(msgspec.Struct, tag="ping", array_like=True):
    """Say that you live: a worker answers at once with `ReadyToWork`."""


class Close(msgspec.Struct, tag="close", array_like=True):
    """Throw a sandbox away."""

    box: int


class Answered(msgspec.Struct, tag="answer", array_like=True):
    """The host's answer to what a guest asked."""

    number: int
    answer: bytes


class ReadyToWork(msgspec.Struct, tag="ready", array_like=True):
    """The worker has started and shut itself in."""

    pid: int
    is_confined: bool
    """Whether the kernel refuses it network and programs."""


class Called(msgspec.Struct, tag="called", array_like=True):
    """What a call came to."""

    number: int
    kind: str
    """`ok`, `refused`, `trapped`, `limit`, `unfit`."""
    data: bytes | None
    """The result; or the reason, as text."""
    detail: str = ""
    """The code of a refusal, the name of a limit, the rule that was broken."""


class Snapshotted(msgspec.Struct, tag="snapped", array_like=True):
    """A guest's state. Also unasked, some time after it changed."""

    box: int
    state: bytes


class HostAsk(msgspec.Struct, tag="ask", array_like=True):
    """A guest asks something of the host."""

    number: int
    box: int
    call: int
    """The call it belongs to; 0 for none."""
    operation: str
    arguments: bytes


class Said(msgspec.Struct, tag="said", array_like=True):
    """A line of a guest's log."""

    box: int
    level: str
    text: str


Frame = (
    Open
    | Call
    | Stop
    | TakeSnapshot
    | Warm
    | Close
    | Ping
    | Answered
    | ReadyToWork
    | Called
    | Snapshotted
    | HostAsk
    | Said
)

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Frame)


class Wire(asyncio.Protocol):
    """One end of the socket pair.

    Frames that are sent within one turn of the event loop leave together.

    Args:
        on_frame: Takes each frame as it arrives.
        on_lost: Told once that there will be no more, and why.
    """

    def __init__(self, on_frame: Callable[[Frame], None], on_lost: Callable[[str], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._unsent: list[bytes] = []
        self._why = "the other side has ended"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # The transports of uvloop are no instances of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._transport = None
        self._on_lost(str(exc) if exc is not None else self._why)

    def data_received(self, data: bytes) -> None:
        """Take what came, and hand on the frames that are complete."""
        received = self._received
        received += data
        start = 0
        while len(received) - start >= LENGTH_BYTES:
            size = int.from_bytes(received[start : start + LENGTH_BYTES], "little")
            if size > FRAME_BYTES_MAX:
                self._break(f"it sent a frame of {size:,} bytes")
                return
            end = start + LENGTH_BYTES + size
            if len(received) < end:
                break
            try:
                frame = _DECODER.decode(memoryview(received)[start + LENGTH_BYTES : end])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._break(f"it sent what is no frame: {error}")
                return
            start = end
            self._on_frame(frame)
        if start:
            del received[:start]

    def _break(self, why: str) -> None:
        self._why = why
        self._received.clear()
        self.close()

    def send(self, frame: Frame) -> None:
        """Send a frame; nothing happens when the other side has gone."""
        if self._transport is None:
            return
        data = _ENCODER.encode(frame)
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(len(data).to_bytes(LENGTH_BYTES, "little"))
        self._unsent.append(data)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(b"".join(unsent))

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
