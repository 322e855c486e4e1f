"""What somebody who helps needs to see, in one archive, without secrets and without content.

Of the server: what it says of itself, its settings with secrets hidden, its metrics, its nodes and
agents, the reasons of dead letters. Of this machine: what `caxton doctor` found and the end of the
log, which holds no content. Every line is searched for what looks like a secret once more.
"""

import io
import json
import re
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from caxton_node.cli.checks import Finding
from caxton_node.cli.client import Client, path_of
from caxton_node.cli.daemon import log_path
from caxton_node.cli.node_options import Flags
from caxton_node.cli.node_settings import load
from caxton_node.domain.errors import CaxtonError, Conflict

__all__ = ["collect", "redacted", "write_bundle", "write_for_helper"]

LOG_BYTES_MAX: Final = 2_000_000
"""Of the end of the log."""

HIDDEN: Final = "[hidden]"

_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "status.json": ("status",),
    "config.json": ("config",),
    "agents.json": ("agents",),
    "cluster-members.json": ("cluster", "members"),
    "cluster-status.json": ("cluster", "status"),
    "cluster-partition.json": ("cluster", "partition"),
}

_DEAD_LETTER_FACTS: Final = ("reason", "settled_at", "accepted_at", "attempts", "agent", "status")

_SECRETS: Final = (
    # Keys in PEM, bearer tokens, keys of providers, passwords in addresses and in settings.
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r'(?i)(?<=password["\']: ["\'])[^"\']+|(?<=password=)\S+|(?<=api_key=)\S+'),
)


def redacted(text: str) -> str:
    """Return a text without what looks like a secret."""
    for pattern in _SECRETS:
        text = pattern.sub(HIDDEN, text)
    return text


def write_for_helper(path: Path, client: Client, findings: Sequence[Finding], flags: Flags) -> None:
    """Collect and write a bundle.

    Raises:
        Conflict: `already_exists`: there is a file at `path`.
    """
    try:
        log: Path | None = log_path(load(flags).settings.node.data_dir)
    except CaxtonError:
        log = None  # what is wrong with the settings is among the findings
    try:
        write_bundle(path, collect(client, findings, log), now_s=time.time())
    except FileExistsError:
        raise Conflict("already_exists", f"{path} exists already") from None


def collect(client: Client, findings: Sequence[Finding], log: Path | None) -> dict[str, str]:
    """Return the texts of a bundle by name. What cannot be had says why.

    Args:
        client: Of the server.
        findings: What `caxton doctor` found.
        log: Of a node that was started in the background here, if there is one.
    """
    texts = {"doctor.json": _pretty([each.document() for each in findings])}
    for name, parts in _PATHS.items():
        texts[name] = _told(client, path_of(*parts))
    texts["health.json"] = _told(client, "/health")
    texts["ready.json"] = _told(client, "/ready")
    texts["dead-letters.json"] = _dead_letters(client)
    texts["metrics.txt"] = _metrics(client)
    if log is not None and log.is_file():
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES_MAX))
            texts["node.log"] = file.read().decode(errors="replace")
    return {name: redacted(text) for name, text in texts.items()}


def _told(client: Client, path: str) -> str:
    try:
        return _pretty(client.get(path))
    except CaxtonError as error:
        return f"{error.code}: {error.detail}\n"


def _metrics(client: Client) -> str:
    try:
        return client.get_text("/metrics")
    except CaxtonError as error:
        return f"{error.code}: {error.detail}\n"


def _dead_letters(client: Client) -> str:
    """Return why messages died, without what they said."""
    try:
        items = client.get(path_of("dead-letters"), {"limit": 100})["items"]
    except CaxtonError as error:
        return f"{error.code}: {error.detail}\n"
    return _pretty([{key: one.get(key) for key in _DEAD_LETTER_FACTS} for one in items])


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"


def write_bundle(path: Path, texts: Mapping[str, str], *, now_s: float) -> None:
    """Write an archive of texts that only its owner can read.

    Args:
        path: Must not exist.
        texts: By name.
        now_s: Seconds since 1970, UTC, for the files in it.
    """
    with path.open("xb") as file:
        path.chmod(0o600)
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in sorted(texts.items()):
                data = text.encode()
                entry = tarfile.TarInfo(f"caxton-debug/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(now_s), 0o600
                archive.addfile(entry, io.BytesIO(data))
