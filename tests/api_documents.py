"""The generated part of the reference: the OpenAPI document, REST and telemetry.

`python -m tests.api_documents` writes them; a test compares them with what the code says now.
"""

import json
import re
from pathlib import Path
from typing import Any

from caxton import __version__
from caxton_node.api.openapi import build_openapi
from caxton_node.api.routes import ENDPOINTS
from caxton_node.domain.errors import ERRORS
from caxton_node.telemetry.names import (
    EVENTS,
    LOG_FIELDS,
    METRICS,
    RESOURCE_ATTRIBUTES,
    SPAN_ATTRIBUTES,
    SPANS,
)

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"

_REST_HEAD = """# REST

Generated from the table of endpoints by `python -m tests.api_documents`. The same facts for
programs: [openapi.json](openapi.json), which a node also serves at `/openapi.json`; a node's own
page about them is at `/docs`.

Addresses begin with `/api/v1`, but for the few that monitoring expects elsewhere. Bodies are JSON
in UTF-8 with `Content-Type: application/json`, at most `http.max_body` large and 64 levels deep;
unknown fields and parameters are refused. Instants are RFC 3339 in UTC. A GET is also a HEAD.

```sh
curl -s localhost:8080/api/v1/agents/Echo/chat -H 'Content-Type: application/json' \\
     -d '{"message": "hello"}'
```

**Lists** are `{"items": […], "total": …, "next_cursor": …}`. Pass `next_cursor` back as `cursor`
until it is null; a page may hold fewer items than `limit`, even none, and still name a next one.

**Errors** are problem documents (RFC 9457), `application/problem+json`, with a stable `code`, a
`trace_id` to look for in the log, often a `hint`, and `errors` that name fields. A code keeps its
meaning; see the table below. 429 and 503 carry `Retry-After`.

**Traces**: send `traceparent` (W3C) and the message, the log and every response
(`X-Trace-Id`) belong to your trace; without it the node begins one.

**Streams** are server-sent events. A comment comes every 15 seconds when there is nothing to
say. A stream ends after an hour; connect again.

**Sending twice**: give a message an `id` and repeat the request as often as you like. Only the
first one sends; the others tell what became of it.

**Browsers**: a node on loopback has no login, so it keeps pages of other sites out. It answers
to `localhost`, `127.0.0.1` and `[::1]` only, grants no CORS, and refuses changes that come from
another origin.
"""


def rest_reference() -> str:
    """Return docs/reference/rest.md."""
    document = build_openapi(ENDPOINTS, version=__version__)
    parts = [_REST_HEAD]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        for endpoint in ENDPOINTS:
            if endpoint.tag == tag["name"]:
                operation = document["paths"][endpoint.path][endpoint.method.lower()]
                parts.append(_operation(endpoint.method, endpoint.path, operation, document))
    parts.append("## Error codes\n")
    rows = ["| Code | Status | Exit | Meaning | What to do |", "|---|---|---|---|---|"]
    for code, kind in sorted(ERRORS.items()):
        advice = kind.advice.replace("_", " ")
        rows.append(
            f"| `{code}` | {kind.http_status} | {kind.exit_code} | {kind.title} | {advice} |"
        )
    parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    lines = [f"### {method} {path}", "", f"{operation['summary']}."]
    if "description" in operation:
        lines.append(operation["description"])
    fields = [
        (parameter["name"], parameter["in"], parameter["schema"], parameter["description"], False)
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    ]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        if media_type == "application/json":
            fields += _body_fields(content["schema"], document)
        else:
            lines += ["", f"The body is a file of the type `{media_type}`."]
    if fields:
        lines += ["", "| Name | In | Type | |", "|---|---|---|---|"]
        for name, place, schema, text, is_required in fields:
            must = "**required.** " if is_required else ""
            lines.append(f"| `{name}` | {place} | {_type(schema)} | {must}{_cell(text)} |")
    lines.append("")
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            bodies = " or ".join(
                _type(media["schema"]) if "json" in media_type else f"`{media_type}`"
                for media_type, media in response.get("content", {}).items()
                if "problem" not in media_type
            )
            lines.append(f"- **{status}** {response['description']} {bodies}".rstrip())
    codes = sorted(
        {
            code
            for status, response in operation["responses"].items()
            for code in re.findall(r"`([a-z_]+)`", response["description"])
            if not status.startswith("2")
        }
        - {"denied", "invalid_request", "internal", "timed_out", "node_draining"}
        - {"malformed_body", "body_too_large", "unsupported_media_type"}
    )
    if codes:
        lines.append(f"- Errors of its own: {', '.join(f'`{code}`' for code in codes)}")
    return "\n".join(lines) + "\n"


def _body_fields(schema: dict[str, Any], document: dict[str, Any]) -> list[tuple[Any, ...]]:
    schema = _resolve(schema, document)
    fields: list[tuple[Any, ...]] = []
    for choice in schema.get("oneOf", schema.get("anyOf", ())):
        if "$ref" in choice:
            fields += _body_fields(choice, document)
    required = set(schema.get("required", ()))
    fields += [
        (name, "body", field, field.get("description", ""), name in required)
        for name, field in schema.get("properties", {}).items()
    ]
    return fields


def _resolve(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [_type(one) for one in schema[several] if one.get("type") != "null"]
            return " or ".join(kinds)
    if "enum" in schema:
        values = [f"`{value}`" for value in schema["enum"]]
        return ", ".join(values) if len(values) <= 6 else "an act"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "format" in schema:
        return schema["format"]
    return schema.get("type", "any")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def telemetry_reference() -> str:
    """Return docs/reference/telemetry.md."""
    lines = [
        "# Telemetry",
        "",
        "Generated from `caxton_node/telemetry/names.py` by `python -m tests.api_documents`.",
        "A name, once released, keeps its meaning.",
        "",
        "## Metrics",
        "",
        "Served at `/metrics` in the text format of Prometheus; in that of OpenMetrics to whoever",
        "accepts it, with exemplars: a class of a histogram names the latest recorded trace of it.",
        "",
        "| Name | Kind | Labels | |",
        "|---|---|---|---|",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.description} |")
    lines += [
        "",
        "## Spans",
        "",
        "Sent by OTLP to `telemetry.otlp_endpoint`. A trace is recorded where whoever began it",
        "decided so; of those begun by a node, `telemetry.sample_ratio` are.",
        "",
        "| Name | |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in SPANS.items()),
        "",
        "| Attribute | |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in SPAN_ATTRIBUTES.items()),
        "",
        "| Attribute of the resource | |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in RESOURCE_ATTRIBUTES.items()),
        "",
        "## Events",
        "",
        "Streamed at `/api/v1/events`. They carry no state: a watcher that is too slow misses",
        "some, and `lost` tells it how many.",
        "",
        "| Kind | |",
        "|---|---|",
        *(f"| `{kind}` | {text} |" for kind, text in EVENTS.items()),
        "",
        "## Fields of log lines",
        "",
        'With `log.format = "json"` each line is one object.',
        "",
        "| Field | |",
        "|---|---|",
        *(f"| `{field}` | {text} |" for field, text in LOG_FIELDS.items()),
    ]
    return "\n".join(lines) + "\n"


def documents() -> dict[Path, str]:
    """Return every generated document by its path."""
    openapi = build_openapi(ENDPOINTS, version=__version__)
    return {
        REFERENCE / "openapi.json": json.dumps(openapi, indent=1, ensure_ascii=False) + "\n",
        REFERENCE / "rest.md": rest_reference(),
        REFERENCE / "telemetry.md": telemetry_reference(),
    }


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
