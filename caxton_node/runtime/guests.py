"""The node's guests in WebAssembly: their files, what was checked, and the sandboxes they run in.

From a manifest to a sandbox: the file is found by its digest, here or on another node; looked at,
compiled in a child process, and admitted by what it imports and exports; then it runs in a worker,
or in this process where the operator trusts it. Nothing of this costs anything until there is a
guest.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from caxton_node.domain.errors import Denied, Rejected, Unavailable
from caxton_node.domain.wasm import GuestLimits, Isolation, WasmSettings
from caxton_node.wasm.admission import admit_component, admit_core
from caxton_node.wasm.binary import Census, count_sections
from caxton_node.wasm.box import Box, Plan
from caxton_node.wasm.compiling import Compiled, Compiler
from caxton_node.wasm.configuration import fingerprint
from caxton_node.wasm.errors import UnfitModule
from caxton_node.wasm.kv import KeyValueStore
from caxton_node.wasm.modules import ModuleStore
from caxton_node.wasm.shapes import Shape
from caxton_node.wasm.signatures import SignatureMode, check_signature
from caxton_node.wasm.workers import WorkerPool

__all__ = ["Admitted", "GuestPolicy", "Guests", "LocalBoxes", "invalid_module"]

_log = logging.getLogger("caxton.wasm")

MODULES_KEPT_MAX: Final = 1_000
"""Files of guests on one node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPolicy:
    """What the node's operator allows."""

    signatures: SignatureMode = "off"
    signers: Mapping[str, str]
    """Public keys by name."""
    shared: tuple[str, ...] = ()
    """Signers, and digests, whose guests may run in the node's own process."""
    worker_count: int = 1


class LocalBoxes(Protocol):
    """Sandboxes in this process."""

    def open(self, plan: Plan) -> Box:
        """Return a sandbox. Nothing is started yet."""
        ...

    def close(self) -> None:
        """Release the engines."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A guest that may be run."""

    digest: str
    shape: Shape
    compiled: Compiled
    warning: str | None
    """What is wrong with its signature, where that is no reason to refuse it."""


def invalid_module(error: UnfitModule, name: str) -> Rejected:
    """Return the error for whoever deploys a file that will not be run."""
    return Rejected(
        "invalid_module",
        f"the file of {name!r} is refused: {error.detail}",
        facts={"rule": error.rule},
    )


async def _nobody_has_it(digest: str) -> bytes | None:  # noqa: ARG001 - what finders take
    return None


class Guests:
    """Files, compiler and sandboxes of a node.

    Args:
        folder: For all that is kept of guests.
        policy: What is allowed.
        tasks: Owns what runs beside calls.
    """

    def __init__(self, folder: Path, policy: GuestPolicy, tasks: asyncio.TaskGroup) -> None:
        self.folder = folder
        self.modules = ModuleStore(folder / "modules")
        self.kv = KeyValueStore(folder / "kv.db")
        self.find_module: Callable[[str], Awaitable[bytes | None]] = _nobody_has_it
        """Asks other nodes for a file. Whoever connects the node to a ring sets it."""
        self._policy = policy
        self._compiler = Compiler(
            folder / "compiled", (fingerprint(is_metered=False), fingerprint(is_metered=True))
        )
        self.workers = WorkerPool(tasks, policy.worker_count)
        self._local: LocalBoxes | None = None

    async def admit(
        self, name: str, version: str, settings: WasmSettings, *, limits: GuestLimits
    ) -> Admitted:
        """Check and compile a guest; cheap when it was done before.

        Args:
            name: As the manifest says.
            version: Likewise.
            settings: Which file, and who vouches for it.
            limits: Within which it is to run.

        Raises:
            Rejected: `invalid_module`.
            Denied: `denied`, where it wants to run in the node's own process and may not.
            Unavailable: `unreachable`: no node that answers has the file.
        """
        try:
            warning = check_signature(
                settings,
                name,
                version,
                mode=self._policy.signatures,
                signers=self._policy.signers,
            )
            if settings.isolation is Isolation.SHARED:
                self._check_shared(name, settings)
            data = await self._data(settings.sha256, name)
            census = await asyncio.to_thread(count_sections, data)
            _check_memory(census, limits)
            compiled = await self._compiler.compile(
                self.modules.path(settings.sha256),
                settings.sha256,
                is_metered=limits.fuel is not None,
            )
            shape = _shape(census, compiled)
        except UnfitModule as error:
            raise invalid_module(error, name) from None
        if warning is not None:
            _log.warning("guest %s: %s", name, warning)
        return Admitted(digest=settings.sha256, shape=shape, compiled=compiled, warning=warning)

    async def _data(self, digest: str, name: str) -> bytes:
        data = await asyncio.to_thread(self.modules.read, digest)
        if data is not None:
            return data
        data = await self.find_module(digest)
        if data is None:
            raise Unavailable(
                "unreachable",
                f"no node that answers has the file {digest[:16]}… of {name!r}",
                hint="`caxton deploy FILE.wasm --manifest …` brings it along.",
                facts={"sha256": digest},
            )
        kept = await asyncio.to_thread(self.modules.put, data)
        if kept != digest:
            await asyncio.to_thread(self.modules.delete, kept)
            raise UnfitModule("digest", "what another node sent is not what its digest says")
        return data

    async def put_module(self, data: bytes) -> str:
        """Keep a file of a guest; return its digest.

        Raises:
            Rejected: `invalid_module`.
        """
        try:
            await asyncio.to_thread(count_sections, data)
            _check_room(await asyncio.to_thread(self.modules.digests))
            return await asyncio.to_thread(self.modules.put, data)
        except UnfitModule as error:
            raise invalid_module(error, "upload") from None

    def read_module(self, digest: str) -> bytes | None:
        """Return a file, None when it is not here. Blocking."""
        return self.modules.read(digest)

    async def module_size(self, digest: str) -> int | None:
        """Return the size of a file in bytes; None when it is not here."""
        data = await asyncio.to_thread(self.modules.read, digest)
        return None if data is None else len(data)

    def _check_shared(self, name: str, settings: WasmSettings) -> None:
        trusted = self._policy.shared
        is_signed = settings.signer in trusted and settings.signer in self._policy.signers
        if settings.sha256 in trusted:
            return
        if is_signed and settings.signature and self._policy.signatures != "off":
            return
        raise Denied(
            "denied",
            f"{name!r} may not run in the node's own process",
            hint="The operator allows signers and digests under `wasm.shared` in caxton.toml.",
        )

    def open(self, plan: Plan, isolation: Isolation) -> Box:
        """Return a sandbox. Nothing is started yet."""
        match isolation:
            case Isolation.WORKER:
                return self.workers.open(plan)
            case Isolation.SHARED:
                if self._local is None:
                    self._local = _open_local()
                return self._local.open(plan)

    async def close(self) -> None:
        """End the workers and close what is kept."""
        await self.workers.close()
        if self._local is not None:
            self._local.close()
        await self.kv.close()


def _open_local() -> LocalBoxes:
    """Open the engines of this process: loads the engine's library."""
    from caxton_node.wasm.local_box import LocalPool  # noqa: PLC0415 - only where guests share

    return LocalPool()


def _check_room(digests: list[str]) -> None:
    if len(digests) >= MODULES_KEPT_MAX:
        raise UnfitModule("room", f"this node keeps {MODULES_KEPT_MAX} files already")


def _check_memory(census: Census, limits: GuestLimits) -> None:
    if census.memory_bytes > limits.memory_bytes:
        raise UnfitModule(
            "memory",
            f"it starts with {census.memory_bytes:,} bytes of memory; limits.memory is "
            f"{limits.memory_bytes:,}",
        )


def _shape(census: Census, compiled: Compiled) -> Shape:
    if census.is_component:
        return admit_component(compiled.imports, compiled.exports)
    return admit_core(compiled.imports, compiled.exports)
