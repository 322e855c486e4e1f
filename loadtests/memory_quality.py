"""How often memory finds what answers a question, on conversations that people annotated.

    python -m loadtests.memory_quality FOLDER [--precision fp32]

FOLDER holds the conversations of LoCoMo (https://github.com/snap-research/locomo), one JSON file
each; they are not ours to ship. Every turn is an observation with the turn before it as context,
every conversation a scope of its own; a question counts as answered by the turns that its
annotation names. The product's own search is measured, and the same with only some of its ways.

Reference: Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", 2024.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caxton_node.memory.backend import Search
from caxton_node.memory.embedding.encoder import Encoder
from caxton_node.memory.embedding.model_files import DEFAULT_MODEL, find_model, prepare_model
from caxton_node.memory.fusion import FusionWeights
from caxton_node.memory.records import Access, Hit, NewFact, Scope
from caxton_node.memory.sqlite import SqliteMemory

ROOT = Path(__file__).parent.parent
ADVERSARIAL = 5
"""Questions of this category have no answer in the conversation."""
NOW = 1_800_000_000_000
DEPTH = 10

WAYS = {
    "vectors only": FusionWeights(keywords=0.0, graph=0.0),
    "words only": FusionWeights(similarity=0.0, graph=0.0),
    "as shipped": FusionWeights(),
}

RANKS = "ranks fused, 60, 1:1"
"""The usual way to join two lists, from the places that the shipped search tells of each find."""

CANDIDATES = 128


@dataclass(frozen=True)
class Conversation:
    name: str
    turns: list[tuple[str, str]]
    """Id and text."""
    questions: list[tuple[str, set[str]]]


def conversations(folder: Path) -> Iterator[Conversation]:
    for file in sorted(folder.rglob("*.json")):
        found = json.loads(file.read_text())
        for number, one in enumerate(found if isinstance(found, list) else [found]):
            yield read(f"{file.stem}-{number}", one)


def read(name: str, one: dict[str, Any]) -> Conversation:
    body = one.get("conversation", one)
    turns = []
    for number in range(1, 100):
        day = body.get(f"session_{number}_date_time", "")
        for turn in body.get(f"session_{number}") or []:
            seen = f" [{turn['blip_caption']}]" if turn.get("blip_caption") else ""
            turns.append((turn["dia_id"], f"{turn['speaker']}: {turn['text']}{seen} ({day})"))
    known = {turn_id for turn_id, _ in turns}
    questions = [
        (qa["question"], set(qa.get("evidence") or []) & known)
        for qa in one.get("qa", ())
        if qa.get("category") != ADVERSARIAL
    ]
    return Conversation(name, turns, [one for one in questions if one[1]])


async def store(memory: SqliteMemory, encoder: Encoder, one: Conversation) -> Access:
    scope = Scope("workspace", one.name)
    access = Access.only(scope)
    before = ["", *(text for _, text in one.turns)]
    facts = [
        NewFact(entity=turn_id, text=text, context=context)
        for (turn_id, text), context in zip(one.turns, before, strict=False)
    ]
    for start in range(0, len(facts), 500):
        await memory.remember(access, scope, facts[start : start + 500], now=NOW)
    while waiting := await memory.unembedded(limit=256):
        vectors = encoder.encode([each.text for each in waiting])
        rows = [(w.observation_id, v.tobytes()) for w, v in zip(waiting, vectors, strict=True)]
        await memory.put_vectors(rows, now=NOW)
    return access


def score(names: list[str], wanted: set[str]) -> tuple[float, float]:
    """Recall and reciprocal rank of the first right one."""
    first = next((n for n, name in enumerate(names, 1) if name in wanted), 0)
    return len(wanted & set(names)) / len(wanted), 1 / first if first else 0.0


def by_ranks(hits: list[Hit]) -> list[str]:
    def fused(hit: Hit) -> float:
        ranks = (hit.reasons.similarity_rank, hit.reasons.keyword_rank)
        return sum(1 / (60 + rank) for rank in ranks if rank is not None)

    return [hit.observation.entity for hit in sorted(hits, key=fused, reverse=True)[:DEPTH]]


async def measure(folder: Path, precision: str, work: Path) -> dict[str, Any]:
    model = prepare_model(find_model(DEFAULT_MODEL), folder=work, is_quantised=precision == "int8")
    encoder = Encoder(model)
    memory = SqliteMemory(work / "memory.db", is_synced=False)
    await memory.open()
    await memory.use_model(encoder.identity, encoder.dimensions)
    results: dict[str, list[tuple[float, float]]] = {way: [] for way in (*WAYS, RANKS)}
    seconds = []
    for one in conversations(folder):
        access = await store(memory, encoder, one)
        vectors = encoder.encode([question for question, _ in one.questions])
        for (question, wanted), vector in zip(one.questions, vectors, strict=True):
            for way, weights in WAYS.items():
                search = Search(
                    question=question, vector=vector.tobytes(), limit=DEPTH, weights=weights
                )
                started = time.perf_counter()
                hits = await memory.search(access, search, now=NOW)
                seconds.append(time.perf_counter() - started)
                names = [hit.observation.entity for hit in hits]
                results[way].append(score(names, wanted))
            search = Search(question=question, vector=vector.tobytes(), limit=CANDIDATES)
            fused = by_ranks(await memory.search(access, search, now=NOW))
            results[RANKS].append(score(fused, wanted))
    await memory.close()
    return {
        "precision": precision,
        "questions": len(results["as shipped"]),
        "search_p50_ms": round(statistics.median(seconds) * 1e3, 2),
        "ways": {
            way: {
                "recall_at_10": round(statistics.fmean(found for found, _ in rows), 3),
                "mrr": round(statistics.fmean(mrr for _, mrr in rows), 3),
            }
            for way, rows in results.items()
        },
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caxton-bench-") as work:
        rows = asyncio.run(measure(given.folder, given.precision, Path(work)))
    print(f"{rows['questions']} questions, {rows['precision']}, {rows['search_p50_ms']} ms")
    for way, row in rows["ways"].items():
        print(f"{way:22} recall@10 {row['recall_at_10']:.3f}   MRR {row['mrr']:.3f}")
    target = ROOT / "build" / "bench" / f"memory_quality_{given.precision}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    sys.exit(main())
