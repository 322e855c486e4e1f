"""The facts about a node that all its telemetry shares.

Reference: OpenTelemetry semantic conventions, "Service".
"""

__all__ = ["node_resource"]


def node_resource(node: str, *, version: str, label: str | None) -> dict[str, str]:
    """Return the attributes of `names.RESOURCE_ATTRIBUTES` for a node.

    Args:
        node: Its name.
        version: Of the program.
        label: Of its cluster, where that has one.
    """
    resource = {
        "service.name": "caxton",
        "service.instance.id": node,
        "service.version": version,
    }
    if label:
        resource["service.namespace"] = label
    return resource
