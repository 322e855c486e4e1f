"""Runs a model: texts in, unit vectors out. Blocking; one thread at a time.

Texts of like length share a batch, because a batch costs as much as its longest text.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Encoding, Tokenizer

from caxton_node.memory.embedding.model_files import ModelUnavailable, PreparedModel

__all__ = ["Encoder", "Vectors"]

BATCH_TOKENS_MAX: Final = 2_048
"""Tokens, padding included, that go through the graph at once."""

TEXT_LENGTH_MAX: Final = 8_000
"""Characters of a text that are read. More would be cut as tokens anyway."""

Vectors = npt.NDArray[np.float32]


class Encoder:
    """A loaded model.

    Args:
        model: Its files.
        thread_count: Threads that one batch may use.

    Raises:
        ModelUnavailable: The files cannot be loaded.
    """

    def __init__(self, model: PreparedModel, *, thread_count: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count
        options.inter_op_num_threads = 1
        # Threads that wait by spinning would take the event loop's core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(model.graph), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(model.tokenizer))
        except Exception as error:
            # Both libraries raise types of their own, some of them plain `Exception`.
            raise ModelUnavailable(
                f"the model {model.identity} cannot be loaded: {error}"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(model.token_count_max)
        self.identity = model.identity
        self.dimensions = model.dimensions

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, in order."""
        encodings = [self._tokens(text) for text in texts]
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for batch in _batches(encodings):
            longest = len(encodings[batch[-1]].ids)
            ids = np.zeros((len(batch), longest), np.int32)
            mask = np.zeros((len(batch), longest), np.int32)
            for row, position in enumerate(batch):
                tokens = encodings[position].ids
                ids[row, : len(tokens)] = tokens
                mask[row, : len(tokens)] = 1
            feed = {"input_ids": ids, "attention_mask": mask}
            vectors[batch] = self._session.run(None, feed)[0]
        return vectors

    def _tokens(self, text: str) -> Encoding:
        # Half a surrogate pair is no character; the tokenizer would refuse the whole text.
        whole = text[:TEXT_LENGTH_MAX].encode("utf-8", "replace").decode()
        return self._tokenizer.encode(whole)


def _batches(encodings: Sequence[Encoding]) -> Iterator[list[int]]:
    """Yield positions of texts that go together, shortest first."""
    batch: list[int] = []
    for position in sorted(range(len(encodings)), key=lambda one: len(encodings[one].ids)):
        length = len(encodings[position].ids)
        if batch and (len(batch) + 1) * length > BATCH_TOKENS_MAX:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
