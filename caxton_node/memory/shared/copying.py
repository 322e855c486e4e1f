"""A memory as a file of records, whole or not at all: the copy of what no file of ours holds."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, TextIO

import msgspec

from caxton_node.memory.backend import Exported, MemoryBackend
from caxton_node.memory.records import Access
from caxton_node.memory.transfer import header_record, records_of

__all__ = ["pages_of", "write_copy"]

PAGE: Final = 500


async def pages_of(
    memory: MemoryBackend, access: Access, *, has_vectors: bool
) -> AsyncIterator[Exported]:
    """Yield all that may be read: observations, then relations."""
    after: int | None = 0
    while after is not None:
        page = await memory.export(access, after=after, limit=PAGE, has_vectors=has_vectors)
        yield page
        after = page.next_after
    after = 0
    while after is not None:
        page = await memory.export_relations(access, after=after, limit=PAGE)
        yield page
        after = page.next_after


async def write_copy(
    memory: MemoryBackend, access: Access, target: Path, *, model: str | None, now: int
) -> int:
    """Write all that may be read to a file, one record a line; return its bytes."""
    draft = target.with_name(f".{target.name}.part")
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    out = await asyncio.to_thread(draft.open, "w", encoding="utf-8")
    try:
        await asyncio.to_thread(_write, out, [header_record(now)])
        async for page in pages_of(memory, access, has_vectors=True):
            await asyncio.to_thread(_write, out, records_of(page, model=model))
        return await asyncio.to_thread(_finish, out, draft, target)
    finally:
        out.close()
        draft.unlink(missing_ok=True)


def _write(out: TextIO, records: list[dict[str, object]]) -> None:
    out.writelines(msgspec.json.encode(record).decode() + "\n" for record in records)


def _finish(out: TextIO, draft: Path, target: Path) -> int:
    out.flush()
    os.fsync(out.fileno())
    out.close()
    draft.replace(target)
    return target.stat().st_size
