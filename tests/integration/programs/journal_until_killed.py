"""Journal messages as fast as possible; print the number of each one that is committed.

    python journal_until_killed.py FILE [BYTES]

With BYTES, the log is copied into the database whenever so much was journaled.

Message n is accepted in the very `append` that settles message n - 1, so whoever looks at the
file afterwards can tell whether an `append` was ever torn.
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from caxton_node.domain.delivery import DeliveryStatus
from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store import committer
from caxton_node.store.protocol import Settlement
from caxton_node.store.sqlite import SqliteStore

IN_FLIGHT_MAX = 500


def journaled_message(seq: int) -> Message:
    digest = hashlib.sha256(str(seq).encode()).hexdigest()
    return Message(
        id=f"msg-{seq}",
        performative=Performative.INFORM,
        sender="writer",
        receiver="reader",
        content=b'"' + digest.encode() * (1 + seq % 30) + b'"',
        conversation_id=f"conv-{seq % 7}",
        created_at=seq,
    )


async def main(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    seq = store.last_seq
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    def report(error, seq):
        assert error is None, error
        room.release()
        os.write(1, b"%d\n" % seq)

    while True:
        await room.acquire()
        seq += 1
        store.append(
            [(seq, journaled_message(seq))],
            [Settlement(seq - 1, DeliveryStatus.DELIVERED, seq)],
            lambda error, seq=seq: report(error, seq),
        )
        if seq % 50 == 0:
            await asyncio.sleep(0)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        committer._CHECKPOINT_BYTES = int(sys.argv[2])
        committer._LOG_PAGES_MAX = 64
    asyncio.run(main(Path(sys.argv[1])))
