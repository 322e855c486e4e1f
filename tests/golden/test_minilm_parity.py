"""Our graph of the model against vectors that the reference implementation made once."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.memory_model import encoder, prepared

GOLDEN = json.loads((Path(__file__).parent / "memory" / "minilm-golden.json").read_text())
ROWS = GOLDEN["rows"]


def cosines(*, is_quantised: bool) -> np.ndarray:
    vectors = encoder(is_quantised=is_quantised).encode([row["text"] for row in ROWS])
    wanted = np.array([row["embedding"] for row in ROWS])
    return np.sum(vectors * wanted, axis=1) / np.linalg.norm(wanted, axis=1)


def test_the_tokens_are_those_of_the_reference():
    tokenizer = Tokenizer.from_file(str(prepared().tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(GOLDEN["max_tokens"])
    assert [
        row["text"] for row in ROWS if tokenizer.encode(row["text"]).ids != row["token_ids"]
    ] == []


def test_full_precision_equals_the_reference():
    assert cosines(is_quantised=False).min() >= 0.9999


def test_eight_bits_are_near_enough_for_every_text():
    assert cosines(is_quantised=True).min() >= 0.997


def test_a_text_has_the_same_vector_alone_and_in_company():
    model = encoder(is_quantised=False)
    texts = [row["text"] for row in ROWS[:20]]
    together = model.encode(texts)
    alone = np.concatenate([model.encode([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.parametrize("text", ["", "\ud800 half a pair", "\0", "a" * 100_000, "🜁" * 300])
def test_any_text_has_a_vector_of_length_one(text):
    assert np.linalg.norm(encoder().encode([text])[0]) == pytest.approx(1.0, abs=1e-4)
