"""The real embedding model for tests, built once a session of the machine, and a stand-in."""

import functools
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from caxton_node.memory.embedding.encoder import Encoder
from caxton_node.memory.embedding.model_files import (
    DEFAULT_MODEL,
    ModelUnavailable,
    PreparedModel,
    find_model,
    prepare_model,
)


@functools.cache
def prepared(*, is_quantised: bool = True) -> PreparedModel:
    """The default model, ready to run; skips where its weights are not installed."""
    try:
        source = find_model(DEFAULT_MODEL)
    except ModelUnavailable as error:
        pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="caxton-model-"))
    return prepare_model(source, folder=folder, is_quantised=is_quantised)


def encoder(*, is_quantised: bool = True) -> Encoder:
    return Encoder(prepared(is_quantised=is_quantised))


class WordEncoder:
    """A model of a kind: each word has a direction. Texts that share words are near."""

    dimensions = 64

    def __init__(self, identity: str = "words/1") -> None:
        self.identity = identity
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.batches.append(list(texts))
        vectors = np.full((len(texts), self.dimensions), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.sha256(f"{self.identity}{word.strip('.,?!:')}".encode()).digest()
                vectors[row, digest[0] % self.dimensions] += 1.0 if digest[1] % 2 else -1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
