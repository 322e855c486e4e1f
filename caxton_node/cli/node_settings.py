"""The settings of a node as they are found here, and what the command line makes of them.

Imports pydantic, a quarter of a second: only commands that need settings import this.
"""

import ipaddress
import os
from pathlib import Path
from typing import Any

from caxton_node.cli.node_options import FLAGS, Flags
from caxton_node.config import LoadedSettings, load_settings
from caxton_node.domain.errors import Rejected
from caxton_node.ring_place import gossip_address

__all__ = ["config_document", "is_loopback", "load", "reachable_url", "refuse_exposure"]


def load(flags: Flags) -> LoadedSettings:
    """Find the settings in force here.

    Raises:
        Rejected: `invalid_settings`.
    """
    return load_settings(
        flags={FLAGS[option]: value for option, value in flags.items()},
        environment=os.environ,
        working_dir=Path.cwd(),
        home=Path.home(),
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may mean anything by the time it is looked up.
        return False


def refuse_exposure(loaded: LoadedSettings, *, is_insecure: bool) -> None:
    """Refuse to listen where others could reach a node that asks nobody who they are.

    Raises:
        Rejected: `invalid_settings`.
    """
    if is_insecure:
        return
    _refuse_open_ring(loaded)
    _refuse_open_grpc(loaded)
    host, _ = loaded.settings.http.address
    if is_loopback(host):
        return
    _, origin = loaded.sources["http.bind"]
    raise Rejected(
        "invalid_settings",
        f"{loaded.settings.http.bind} ({origin}) can be reached from other machines, and there "
        "is no login yet: whoever reaches it may do everything",
        hint="listen on 127.0.0.1, or accept this with --insecure",
    )


def _refuse_open_ring(loaded: LoadedSettings) -> None:
    cluster = loaded.settings.cluster
    address = gossip_address(cluster)
    if address is None or is_loopback(address[0]) or cluster.key is not None:
        return
    _, origin = loaded.sources["cluster.gossip"]
    raise Rejected(
        "invalid_settings",
        f"{cluster.gossip} ({origin}) can be reached from other machines, and the ring has no "
        "key: whoever reaches it becomes a member",
        hint="set `cluster.key_file`, or accept this with --insecure",
    )


def _refuse_open_grpc(loaded: LoadedSettings) -> None:
    """Let beyond this machine only who presents a certificate."""
    grpc, has_certificates = loaded.settings.grpc, loaded.settings.security.cert_file is not None
    for key, address in (("grpc.bind", grpc.bind), ("grpc.peer_bind", grpc.peer_bind)):
        if address is None or is_loopback(address.rpartition(":")[0].strip("[]")):
            continue
        _, origin = loaded.sources[key]
        if not has_certificates:
            raise Rejected(
                "invalid_settings",
                f"{address} ({origin}) can be reached from other machines, and the node has no "
                "certificate: whoever reaches it may do everything",
                hint="make certificates with `caxton security` and set security.ca_file, "
                "cert_file and key_file, or accept this with --insecure",
            )
        if key == "grpc.bind" and grpc.peer_bind is not None:
            raise Rejected(
                "invalid_settings",
                f"{address} ({origin}) can be reached from other machines, and with "
                "`grpc.peer_bind` it asks clients for no certificate",
                hint="remove `grpc.peer_bind`, or accept this with --insecure",
            )


def reachable_url(loaded: LoadedSettings) -> str:
    """Return an address under which this machine reaches the node."""
    host, port = loaded.settings.http.address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - translated, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def config_document(loaded: LoadedSettings) -> dict[str, Any]:
    """Return settings as the API shows them, without secrets."""
    return {
        "items": {
            key: {"value": value, "source": source}
            for key, (value, source) in loaded.sources.items()
        }
    }
