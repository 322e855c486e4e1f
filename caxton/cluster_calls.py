"""What a client may know of the cluster."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from caxton import models, wire
from caxton.connection import ITEMS_MAX, PAGE, Connection
from caxton.v1 import cluster_pb2
from caxton.v1.cluster_pb2_grpc import ClusterStub

__all__ = ["ClusterCalls"]


class ClusterCalls:
    """The calls of a client that concern the cluster."""

    _connection: Connection

    async def members(self) -> list[models.Member]:
        """Return the nodes by name, those gone of late included."""
        request = cluster_pb2.ClusterMembersRequest(page_size=PAGE)
        found: list[models.Member] = []
        while len(found) < ITEMS_MAX:
            answer = await self._connection.read(lambda to: ClusterStub(to).Members, request)
            found += map(wire.member, answer.members)
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        return found

    async def cluster(self) -> models.Cluster:
        """Return the state of the cluster, as the answering node sees it."""
        request = cluster_pb2.ClusterStatusRequest()
        return wire.cluster(await self._connection.read(lambda to: ClusterStub(to).Status, request))

    async def watch_members(self) -> AsyncGenerator[models.Member | models.Missed]:
        """Yield all nodes as they are now, and then each whenever it changes."""
        request = cluster_pb2.ClusterWatchRequest(is_with_present=True)
        stream = self._connection.stream(lambda to: ClusterStub(to).Watch, request)
        async with aclosing(stream) as answers:
            async for answer in answers:
                match answer.WhichOneof("event"):
                    case "member":
                        yield wire.member(answer.member)
                    case "missed_count":
                        yield models.Missed(answer.missed_count)
                    case _:
                        # A newer server may say more.
                        continue
