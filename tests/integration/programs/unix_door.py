"""A door out of a network namespace: a Unix socket whose other end is a TCP port in here.

    unix_door.py SOCKET PORT

Sockets of the file system are not part of a network namespace, so a test outside reaches the
node inside, whatever happens to the network between the nodes.
"""

import asyncio
import sys
from contextlib import suppress

CHUNK = 65_536


async def pump(reader, writer):
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError):
        writer.close()


async def main(path, port):
    async def connected(reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(reader, inner_writer))
            tasks.create_task(pump(inner_reader, writer))

    async with await asyncio.start_unix_server(connected, path):
        print("open", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
