"""The calls of etcd that are used: where each is, and which messages go in and out."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from caxton_cluster.metadata.wire import etcd_pb2 as wire

__all__ = [
    "AUTHENTICATE",
    "KEEP_ALIVE",
    "LEASE_GRANT",
    "LEASE_REVOKE",
    "PUT",
    "RANGE",
    "TXN",
    "WATCH",
    "Method",
]

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """One call."""

    path: str
    request: type[RequestT]
    response: type[ResponseT]


RANGE: Final = Method("/etcdserverpb.KV/Range", wire.RangeRequest, wire.RangeResponse)
PUT: Final = Method("/etcdserverpb.KV/Put", wire.PutRequest, wire.PutResponse)
TXN: Final = Method("/etcdserverpb.KV/Txn", wire.TxnRequest, wire.TxnResponse)
LEASE_GRANT: Final = Method(
    "/etcdserverpb.Lease/LeaseGrant", wire.LeaseGrantRequest, wire.LeaseGrantResponse
)
LEASE_REVOKE: Final = Method(
    "/etcdserverpb.Lease/LeaseRevoke", wire.LeaseRevokeRequest, wire.LeaseRevokeResponse
)
AUTHENTICATE: Final = Method(
    "/etcdserverpb.Auth/Authenticate", wire.AuthenticateRequest, wire.AuthenticateResponse
)
KEEP_ALIVE: Final = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", wire.LeaseKeepAliveRequest, wire.LeaseKeepAliveResponse
)
WATCH: Final = Method("/etcdserverpb.Watch/Watch", wire.WatchRequest, wire.WatchResponse)
