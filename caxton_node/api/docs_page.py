"""The API's reference as one page for people: no script, no picture, nothing from elsewhere.

The page is made once from the OpenAPI document. Its policy allows its own style sheet, by hash,
and nothing else, so that nothing in a description could ever run.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

__all__ = ["CONTENT_SECURITY_POLICY", "render_docs"]

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h1,h2{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #8886}
code{font:.9em ui-monospace,monospace}
details{border:1px solid #8886;border-radius:.4rem;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}summary b{display:inline-block;min-width:4.5rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #8883}
nav a{margin-right:1rem}.type{opacity:.75}
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Schema = Mapping[str, Any]


def render_docs(document: Schema) -> bytes:
    """Return the page, UTF-8."""
    info = document["info"]
    tags = [tag["name"] for tag in document["tags"]]
    body = [
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].split("\n\n")),
        '<p>For programs: <a href="/openapi.json">the OpenAPI document</a>.</p>',
        "<nav>",
        *(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in tags),
        '<a href="#schemas">schemas</a></nav>',
    ]
    for tag in document["tags"]:
        body += [
            f'<h2 id="{_anchor(tag["name"])}">{escape(tag["name"].capitalize())}</h2>',
            f"<p>{_text(tag['description'])}</p>",
        ]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    body += _operation(path, method, operation)
    body.append('<h2 id="schemas">Schemas</h2>')
    for name, schema in sorted(document["components"]["schemas"].items()):
        body += _component(name, schema)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>"
    )
    return page.encode()


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())


def _text(text: str) -> str:
    """Return text as HTML; what stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _operation(path: str, method: str, operation: Schema) -> Iterator[str]:
    identity = escape(operation["operationId"])
    yield (
        f'<details id="{identity}"><summary><b>{method.upper()}</b> '
        f"<code>{escape(path)}</code> — {_text(operation['summary'])}</summary>"
    )
    if "description" in operation:
        yield f"<p>{_text(operation['description'])}</p>"
    if operation.get("parameters"):
        yield "<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>"
        for parameter in operation["parameters"]:
            yield (
                f"<tr><td><code>{escape(parameter['name'])}</code></td>"
                f"<td>{escape(parameter['in'])}</td>"
                f"<td class=type>{_type(parameter['schema'])}</td>"
                f"<td>{_text(parameter['description'])}</td></tr>"
            )
        yield "</table>"
    if "requestBody" in operation:
        must = "required" if operation["requestBody"]["required"] else "optional"
        yield f"<p>Body ({must}): {_content(operation['requestBody']['content'])}</p>"
    yield "<table><tr><th>Status</th><th>Meaning</th><th>Body</th></tr>"
    for status, response in operation["responses"].items():
        yield (
            f"<tr><td>{escape(status)}</td><td>{_text(response['description'])}</td>"
            f"<td class=type>{_content(response.get('content', {}))}</td></tr>"
        )
    yield "</table></details>"


def _content(content: Schema) -> str:
    return "<br>".join(
        f"{_type(media['schema'])} <small>{escape(name)}</small>" for name, media in content.items()
    )


def _component(name: str, schema: Schema) -> Iterator[str]:
    yield (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<p>{_text(schema.get('description', ''))}</p>"
    )
    if schema.get("properties"):
        required = set(schema.get("required", ()))
        yield "<table><tr><th>Field</th><th>Type</th><th></th></tr>"
        for field, value in schema["properties"].items():
            mark = "" if field in required else " <small>optional</small>"
            yield (
                f"<tr><td><code>{escape(field)}</code>{mark}</td>"
                f"<td class=type>{_type(value)}</td>"
                f"<td>{_text(value.get('description', ''))}</td></tr>"
            )
        yield "</table>"
    else:
        yield f"<p class=type>{_type(schema)}</p>"
    yield "</details>"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    for several in ("anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            return " or ".join(_type(one) for one in schema[several])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "format" in schema:
        return f"{escape(str(kind))} ({escape(schema['format'])})"
    return escape(str(kind))
