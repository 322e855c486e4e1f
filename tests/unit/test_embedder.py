"""One model for all: what is cached, who goes first, and what is said when there is none."""

import asyncio
import threading

import pytest

from caxton_node.memory.embedding.embedder import CACHE_COUNT_MAX, Embedder, Priority
from caxton_node.memory.embedding.model_files import (
    ModelSource,
    ModelUnavailable,
    find_model,
    prepare_model,
)
from tests.memory_model import WordEncoder, prepared


async def opened(encoder: WordEncoder) -> Embedder:
    embedder = Embedder(lambda: encoder)
    assert await embedder.loaded(timeout_s=10)
    return embedder


async def test_a_text_goes_through_the_model_once():
    encoder = WordEncoder()
    embedder = await opened(encoder)
    first = await embedder.embed(["blue sky", "blue sky"])
    second = await embedder.embed(["blue sky"])
    assert encoder.batches == [["blue sky"]]
    assert first[1] == second[0]
    await embedder.close()


async def test_vectors_come_back_in_the_order_of_the_texts():
    embedder = await opened(WordEncoder())
    texts = [f"word{number}" for number in range(100)]
    together = await embedder.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        assert vector == WordEncoder().encode([text])[0].tobytes()
    await embedder.close()


async def test_the_cache_is_bounded():
    embedder = await opened(WordEncoder())
    for start in range(0, CACHE_COUNT_MAX + 2_000, 2_000):
        await embedder.embed([f"text {n}" for n in range(start, start + 2_000)])
    assert len(embedder._cache) == CACHE_COUNT_MAX
    await embedder.close()


class HeldEncoder(WordEncoder):
    """Waits in its first batch until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held, self.may_go = threading.Event(), threading.Event()

    def encode(self, texts):
        self.is_held.set()
        self.may_go.wait(10)
        return super().encode(texts)


async def test_a_question_goes_before_what_is_to_be_stored():
    encoder = HeldEncoder()
    embedder = await opened(encoder)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(embedder.embed(["first"]))
        await asyncio.to_thread(encoder.is_held.wait, 10)
        tasks.create_task(embedder.embed([f"s{n}" for n in range(5)], priority=Priority.STORED))
        tasks.create_task(embedder.embed(["question"], priority=Priority.QUESTION))
        while sum(map(len, embedder._waiting)) < 6:
            await asyncio.sleep(0)
        encoder.may_go.set()
    assert encoder.batches[1] == ["question"]
    await embedder.close()


async def test_a_cancelled_question_is_not_computed():
    encoder = HeldEncoder()
    embedder = await opened(encoder)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(embedder.embed(["first"]))
        await asyncio.to_thread(encoder.is_held.wait, 10)
        unwanted = tasks.create_task(embedder.embed(["unwanted"]))
        await asyncio.sleep(0)
        unwanted.cancel()
        await asyncio.sleep(0)
        encoder.may_go.set()
    await embedder.embed(["last"])
    assert encoder.batches == [["first"], ["last"]]
    await embedder.close()


async def test_without_a_model_asking_says_why():
    embedder = Embedder(None, why_absent="switched off")
    assert not await embedder.loaded(timeout_s=1)
    with pytest.raises(ModelUnavailable, match="switched off"):
        await embedder.embed(["text"])


async def test_a_model_that_cannot_be_loaded_leaves_its_reason():
    def load():
        raise ModelUnavailable("the weights are damaged")

    embedder = Embedder(load)
    assert not await embedder.loaded(timeout_s=10)
    assert embedder.state == "the weights are damaged"
    await embedder.close()


async def test_a_batch_that_fails_fails_its_askers_only():
    class Broken(WordEncoder):
        def encode(self, texts):
            if "bad" in texts:
                raise RuntimeError("out of memory")
            return super().encode(texts)

    embedder = await opened(Broken())
    with pytest.raises(ModelUnavailable, match="out of memory"):
        await embedder.embed(["bad", "worse"])
    assert len(await embedder.embed(["good"])) == 1
    await embedder.close()


async def test_closing_refuses_what_waits():
    encoder = HeldEncoder()
    embedder = await opened(encoder)
    waiting = asyncio.gather(
        *(embedder.embed([f"t{n}"]) for n in range(40)), return_exceptions=True
    )
    await asyncio.to_thread(encoder.is_held.wait, 10)
    closing = asyncio.gather(embedder.close())
    while not embedder._is_closing:
        await asyncio.sleep(0)
    encoder.may_go.set()
    await closing
    assert any(isinstance(one, ModelUnavailable) for one in await waiting)


def test_a_damaged_graph_is_built_again():
    model = prepared()
    whole = model.graph.read_bytes()
    model.graph.write_bytes(whole[:-1000])
    again = prepare_model(
        find_model("all-MiniLM-L6-v2"), folder=model.graph.parent, is_quantised=True
    )
    assert again.graph.read_bytes() == whole
    assert again.identity == model.identity


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path):
    source = find_model_or_skip()
    for file in source.folder.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 1_000)
    with pytest.raises(ModelUnavailable, match="checksum differs"):
        prepare_model(
            ModelSource("all-MiniLM-L6-v2", tmp_path, True), folder=tmp_path, is_quantised=True
        )


def find_model_or_skip() -> ModelSource:
    prepared()
    return find_model("all-MiniLM-L6-v2")


def test_a_folder_without_weights_is_no_model(tmp_path):
    with pytest.raises(ModelUnavailable, match="no model"):
        find_model(str(tmp_path))


def test_a_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelUnavailable, match="only BERT"):
        prepare_model(find_model(str(tmp_path)), folder=tmp_path, is_quantised=True)
