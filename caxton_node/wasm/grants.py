"""May a guest do what it asks for? Decided on the manifest alone; *no* where there is doubt.

A refusal names the grant that is missing, as it would stand in the manifest. What a later version
asks for beyond the running one is told before it comes into force.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from caxton_node.domain.wasm import GrantSettings, HttpGrant

__all__ = ["added_rights", "allows_url", "missing_grant"]

_TEXT_LENGTH_MAX: Final = 100


def missing_grant(operation: str, values: Mapping[str, Any], grants: GrantSettings) -> str | None:
    """Return the line of the manifest that an operation lacks; None when it is granted.

    Args:
        operation: As `OPERATIONS` has it.
        values: Its arguments. One that is missing or of another type matches nothing.
        grants: Of the manifest.
    """
    interface, _, function = operation.partition(".")
    match interface:
        case "messaging":
            receiver = _text(values, "receiver")
            return None if _matches(receiver, grants.messaging) else _line("messaging", receiver)
        case "memory":
            scope = _text(values, "scope")
            return None if scope in grants.memory else _line("memory", scope)
        case "kv":
            return None if grants.kv_bytes else 'kv = "64KB"'
        case "http":
            request = values.get("request")
            request = request if isinstance(request, dict) else {}
            method, url = str(request.get("method", "GET")), _text(request, "url")
            # The place itself is looked at where the address is read, once for every redirect.
            return None if grants.http else _line("http", f"{method} {url}")
        case "tools":
            name = _text(values, "name")
            return None if _matches(name, grants.tools) else _line("tools", name)
        case "model":
            return None if grants.model else _line("model", "*")
        case "files":
            right = "read" if function in ("read", "paths") else "write"
            return None if right in grants.files else _line("files", right)
        case _:
            return f"{interface} = …"


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _line(grant: str, wanted: str) -> str:
    shown = "".join(char for char in wanted[:_TEXT_LENGTH_MAX] if char.isprintable())
    return f'{grant} = ["{shown}"]'


def _matches(name: str, patterns: Sequence[str]) -> bool:
    if not name:
        return False
    for pattern in patterns:
        if pattern == name:
            return True
        # The beginning of a name opens no capability: who provides one may change any time.
        is_same_kind = name.startswith("capability:") == pattern.startswith("capability:")
        if pattern == "*" or (
            is_same_kind and pattern.endswith("*") and name.startswith(pattern[:-1])
        ):
            return True
    return False


def allows_url(
    grants: Sequence[HttpGrant], *, method: str, scheme: str, host: str, port: int
) -> bool:
    """Return whether a request may be made. Asked for every redirect too."""
    return any(
        method in grant.methods
        and scheme == grant.scheme
        and port == grant.port
        and (host == grant.host or (grant.host.startswith("*.") and host.endswith(grant.host[1:])))
        for grant in grants
    )


def added_rights(before: GrantSettings, after: GrantSettings) -> tuple[str, ...]:
    """Return what the grants of a new version have that those of the running one have not."""
    added = []
    for name in ("messaging", "memory", "tools", "model", "files", "secrets"):
        known = getattr(before, name)
        added += [_line(name, one) for one in getattr(after, name) if one not in known]
    if after.kv_bytes > before.kv_bytes:
        added.append(f"kv = {after.kv_bytes}")
    if after.model and after.model_tokens > before.model_tokens:
        added.append(f"model_tokens = {after.model_tokens}")
    for place in after.http:
        is_known = any(
            place.methods <= one.methods
            and (place.scheme, place.host, place.port) == (one.scheme, one.host, one.port)
            for one in before.http
        )
        if not is_known:
            added.append(_line("http", str(place)))
    return tuple(added)
