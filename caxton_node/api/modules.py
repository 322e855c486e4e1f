"""Files of guests in WebAssembly, by their digests: brought here before what names them."""

from typing import Final

from pydantic import Field

from caxton_node.api.table import (
    API_PREFIX,
    Answer,
    Endpoint,
    NoQuery,
    PathParameter,
    Request,
    Shape,
)
from caxton_node.api.types import View
from caxton_node.domain.errors import NotFound
from caxton_node.runtime.node import Node
from caxton_node.wasm.binary import SIZE_BYTES_MAX

__all__ = ["ENDPOINTS", "MODULE"]

UPLOAD_S: Final = 90.0

MODULE: Final = PathParameter(
    name="sha256",
    description="SHA-256 of the file, hexadecimal.",
    pattern=r"[0-9a-f]{64}",
    missing_code="module_not_found",
    example="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)


class ModuleView(View):
    """A file of a guest that is on this node."""

    sha256: str
    size_bytes: int = Field(ge=1)


async def put_module(request: Request[NoQuery, None], node: Node) -> Answer:
    """Keep a file."""
    digest = await node.guests.put_module(request.raw_body)
    view = ModuleView(sha256=digest, size_bytes=len(request.raw_body))
    return Answer(view, status=201, headers={"Location": f"{API_PREFIX}/modules/{digest}"})


async def get_module(request: Request[NoQuery, None], node: Node) -> ModuleView:
    """Say whether a file is here."""
    digest = request.path["sha256"]
    size_bytes = await node.guests.module_size(digest)
    if size_bytes is None:
        raise NotFound("module_not_found", f"there is no file {digest[:16]}… on this node")
    return ModuleView(sha256=digest, size_bytes=size_bytes)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path=f"{API_PREFIX}/modules",
        summary="Keep a WebAssembly file",
        tag="tools",
        handle=put_module,
        binary_bytes_max=SIZE_BYTES_MAX,
        deadline_s=UPLOAD_S,
        responses={201: Shape("It is kept.", ModuleView, headers={"Location": "Its address."})},
        errors=("invalid_module", "storage_unavailable"),
        description="Agents of kind `wasm` and servers of tools name it by its digest.",
    ),
    Endpoint(
        method="GET",
        path=f"{API_PREFIX}/modules/{{sha256}}",
        summary="Say whether a WebAssembly file is here",
        tag="tools",
        handle=get_module,
        parameters=(MODULE,),
        responses={200: Shape("It is.", ModuleView)},
    ),
)
