"""The API about itself: its OpenAPI document, and a page of it for people."""

import asyncio
from typing import Final

from caxton_node.api.docs_page import CONTENT_SECURITY_POLICY
from caxton_node.api.table import Document, Endpoint, NoQuery, Request, Shape
from caxton_node.runtime.node import Node

__all__ = ["ENDPOINTS"]


async def get_openapi(request: Request[NoQuery, None], _: Node) -> Document:
    """Return the OpenAPI document."""
    rendered = await asyncio.to_thread(request.edge.render)
    return Document(rendered.openapi, "application/json")


async def get_docs(request: Request[NoQuery, None], _: Node) -> Document:
    """Return the page about this API."""
    rendered = await asyncio.to_thread(request.edge.render)
    return Document(
        rendered.docs_page,
        "text/html; charset=utf-8",
        {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "X-Frame-Options": "DENY",
            "Cache-Control": "no-cache",
        },
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/openapi.json",
        summary="Read the OpenAPI document",
        tag="node",
        handle=get_openapi,
        responses={200: Shape("OpenAPI 3.1.", is_free_json=True)},
    ),
    Endpoint(
        method="GET",
        path="/docs",
        summary="Read about this API",
        tag="node",
        handle=get_docs,
        responses={200: Shape("A page without scripts.", media_type="text/html")},
    ),
)
