"""The services for clients, ready to be served."""

from typing import Final

from caxton.v1.agents_pb2_grpc import add_AgentsServicer_to_server
from caxton.v1.cluster_pb2_grpc import add_ClusterServicer_to_server
from caxton.v1.memory_pb2_grpc import add_MemoryServicer_to_server
from caxton.v1.messages_pb2_grpc import add_MessagesServicer_to_server
from caxton_node.grpc_api.agents import Agents
from caxton_node.grpc_api.asking import Asking
from caxton_node.grpc_api.cluster import Cluster
from caxton_node.grpc_api.memory import Memory
from caxton_node.grpc_api.messages import Messages
from caxton_node.grpc_api.server import Service
from caxton_node.runtime.door import Door, Others
from caxton_node.runtime.node import Node
from caxton_node.runtime.sending import Sending

__all__ = ["client_services"]

PACKAGE: Final = "caxton.v1"


def client_services(
    node: Node, door: Door, sending: Sending, *, others: Others | None = None
) -> tuple[Service, ...]:
    """Return what clients may call.

    Args:
        node: That serves them.
        door: Its front door.
        sending: Shared by all its edges.
        others: The other nodes, where there may be some.
    """
    asking = Asking(door)
    agents = Agents(node, asking, others)
    messages = Messages(node, sending, asking)
    cluster = Cluster(asking)
    memory = Memory(asking)
    return (
        Service(f"{PACKAGE}.Agents", lambda server: add_AgentsServicer_to_server(agents, server)),
        Service(
            f"{PACKAGE}.Messages", lambda server: add_MessagesServicer_to_server(messages, server)
        ),
        Service(f"{PACKAGE}.Memory", lambda server: add_MemoryServicer_to_server(memory, server)),
        Service(
            f"{PACKAGE}.Cluster", lambda server: add_ClusterServicer_to_server(cluster, server)
        ),
    )
