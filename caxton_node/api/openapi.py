"""The OpenAPI document, made from the table of endpoints and their models. Pure.

Reference: OpenAPI Specification 3.1.0; JSON Schema 2020-12.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from caxton_node.api.problems import PROBLEM_MEDIA_TYPE, Problem
from caxton_node.api.table import Endpoint, PathParameter, Shape
from caxton_node.domain.errors import ERRORS

__all__ = ["build_openapi", "errors_of"]

_DESCRIPTION: Final = """Agents, their messages and their conversations on one Caxton node.

Every error is a problem document (RFC 9457) with a stable `code`. Every response names its trace
in `X-Trace-Id`; send `traceparent` to make it part of yours. Instants are RFC 3339 in UTC."""

_TAGS: Final = {
    "agents": "Deploy agents, talk to them, look after them.",
    "messages": "Send messages and see what becomes of them.",
    "conversations": "Messages that belong together.",
    "dead letters": "Messages that were given up.",
    "capabilities": "What agents offer.",
    "tools": "What models may call.",
    "memory": "What agents know: told, searched, walked, exported, forgotten.",
    "templates": "Agents to begin with.",
    "events": "What happens, as it happens.",
    "node": "The node itself.",
    "cluster": "The ring of nodes: who is there. Messages do not travel between nodes yet.",
}

_ALWAYS: Final = ("denied", "invalid_request", "internal", "timed_out")
_WITH_BODY: Final = ("malformed_body", "body_too_large", "unsupported_media_type")

_TRACE_ID: Final = {
    "description": "The trace under which the node's log tells more.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}
_RETRY_AFTER: Final = {
    "description": "Seconds to wait.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
}

ModelKey = tuple[type[BaseModel], Literal["validation", "serialization"]]
Schema = dict[str, Any]


def errors_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return every code that an endpoint can answer with."""
    codes = [*_ALWAYS, *endpoint.errors]
    codes += [parameter.missing_code for parameter in endpoint.parameters]
    if endpoint.body is not None or endpoint.binary_bytes_max is not None:
        codes += _WITH_BODY
    if endpoint.method != "GET" and not endpoint.is_while_draining:
        codes.append("node_draining")
    return tuple(dict.fromkeys(codes))


def build_openapi(endpoints: Sequence[Endpoint], *, version: str) -> Schema:
    """Return the OpenAPI document of a table.

    Args:
        endpoints: The table.
        version: Of the server.
    """
    references, schemas = _schemas(endpoints)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        operations = paths.setdefault(endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Caxton",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The node that serves this document."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {"TraceId": _TRACE_ID, "RetryAfter": _RETRY_AFTER},
        },
    }


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[dict[ModelKey, Schema], Schema]:
    models: list[ModelKey] = [(Problem, "serialization")]
    for endpoint in endpoints:
        if endpoint.body is not None:
            models.append((endpoint.body, "validation"))
        for shape in endpoint.responses.values():
            models += [(model, "serialization") for model in _models(shape)]
    references, definitions = models_json_schema(
        list(dict.fromkeys(models)), ref_template="#/components/schemas/{model}"
    )
    schemas = definitions["$defs"]
    # A problem leaves absent members out; pydantic writes every field as required.
    optional = {"hint", "errors"}
    schemas["Problem"]["required"] = [
        name for name in schemas["Problem"]["required"] if name not in optional
    ]
    schemas["FieldProblem"]["required"] = ["message"]
    return references, schemas  # type: ignore[return-value]  # pydantic types modes more widely


def _models(shape: Shape) -> tuple[type[BaseModel], ...]:
    if shape.model is None:
        return ()
    return shape.model if isinstance(shape.model, tuple) else (shape.model,)


def _operation(endpoint: Endpoint, references: Mapping[ModelKey, Schema]) -> Schema:
    operation: Schema = {
        "operationId": endpoint.operation_id,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    parameters = [_path_parameter(parameter) for parameter in endpoint.parameters]
    parameters += _query_parameters(endpoint.query)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.is_body_optional,
            "content": {"application/json": {"schema": references[endpoint.body, "validation"]}},
        }
    if endpoint.binary_bytes_max is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/wasm": {"schema": {"type": "string", "format": "binary"}}},
        }
    operation["responses"] = _responses(endpoint, references)
    return operation


def _path_parameter(parameter: PathParameter) -> Schema:
    schema: Schema = (
        {"type": "integer", "minimum": 1, "maximum": 9_999_999}
        if parameter.kind == "integer"
        else {"type": "string", "pattern": f"^{parameter.pattern}$"}
    )
    return {
        "name": parameter.name,
        "in": "path",
        "required": True,
        "description": parameter.description,
        "schema": schema,
        "example": int(parameter.example) if parameter.kind == "integer" else parameter.example,
    }


def _query_parameters(query: type[BaseModel]) -> list[Schema]:
    schema = query.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.get("$defs", {})
    parameters = []
    for name, field in schema.get("properties", {}).items():
        inlined = _inline(field, definitions)
        description = inlined.pop("description", "")
        inlined.pop("title", None)
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": description,
                "schema": _without_null(inlined),
            }
        )
    return parameters


def _inline(field: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Return a field's schema with what it refers to in place: queries share no components."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        target = {key: value for key, value in definitions[name].items() if key != "title"}
        return target | {key: value for key, value in field.items() if key != "$ref"}
    if "anyOf" in field:
        return field | {"anyOf": [_inline(one, definitions) for one in field["anyOf"]]}
    return dict(field)


def _without_null(schema: Schema) -> Schema:
    """Return a schema for text in an address, where nothing spells null: absent is absent."""
    if schema.get("default", ...) is None:
        schema = {key: value for key, value in schema.items() if key != "default"}
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(choices) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    choice = {key: value for key, value in choices[0].items() if key != "description"}
    return choice | rest


def _responses(endpoint: Endpoint, references: Mapping[ModelKey, Schema]) -> Schema:
    responses: dict[str, Schema] = {}
    for status, shape in endpoint.responses.items():
        responses[str(status)] = _response(shape, references)
    by_status: dict[int, list[str]] = {}
    for code in errors_of(endpoint):
        by_status.setdefault(ERRORS[code].http_status, []).append(code)
    for status, codes in by_status.items():
        problem = _problem_response(status, codes, references)
        if str(status) in responses:
            responses[str(status)]["content"] |= problem["content"]
        else:
            responses[str(status)] = problem
    return dict(sorted(responses.items()))


def _response(shape: Shape, references: Mapping[ModelKey, Schema]) -> Schema:
    response: Schema = {"description": shape.description}
    headers = {
        name: {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in shape.headers.items()
    }
    headers["X-Trace-Id"] = {"$ref": "#/components/headers/TraceId"}
    response["headers"] = headers
    models = _models(shape)
    if models:
        choices = [references[model, "serialization"] for model in models]
        schema = choices[0] if len(choices) == 1 else {"anyOf": choices}
        response["content"] = {shape.media_type: {"schema": schema}}
    elif shape.media_type != "application/json":
        response["content"] = {shape.media_type: {"schema": {"type": "string"}}}
    elif shape.is_free_json:
        response["content"] = {shape.media_type: {"schema": {"type": "object"}}}
    if shape.has_events:
        response["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return response


def _problem_response(
    status: int, codes: Sequence[str], references: Mapping[ModelKey, Schema]
) -> Schema:
    headers: Schema = {"X-Trace-Id": {"$ref": "#/components/headers/TraceId"}}
    if status in {429, 503}:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}",
        "headers": headers,
        "content": {PROBLEM_MEDIA_TYPE: {"schema": references[Problem, "serialization"]}},
    }
