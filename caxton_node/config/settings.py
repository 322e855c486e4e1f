"""The tree of settings. The text below a field is its documentation, here and in the reference.

A field's name ends with its unit; the key in the file does not, because the value carries it:
`drain_timeout_s` is written `drain_timeout = "30s"`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from caxton_node.config.kinds import (
    EncryptionKeys,
    Expression,
    File,
    Folder,
    ListenAddress,
    ModelPrice,
    NumericAddress,
    PriceOfModel,
    Reads,
    Secret,
    decode_key,
)
from caxton_node.documents.hosts import HOST
from caxton_node.documents.readers import (
    Boolean,
    Choice,
    Duration,
    Integer,
    ListOf,
    Number,
    Reader,
    Size,
    Table,
    Text,
    Url,
)

__all__ = [
    "AgentSettings",
    "ClusterSettings",
    "EtcdSettings",
    "GrpcSettings",
    "HttpSettings",
    "LimitSettings",
    "LlmSettings",
    "LogSettings",
    "MemorySettings",
    "Neo4jSettings",
    "NodeSettings",
    "PythonSettings",
    "QdrantSettings",
    "RetrySettings",
    "SecuritySettings",
    "Setting",
    "Settings",
    "TelemetrySettings",
    "ToolSettings",
    "WasmSettings",
    "all_settings",
]

_DAY_S: Final = 86_400.0

_NODE_NAME: Final = Text(
    length_max=64,
    pattern=re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"),
    form="a name of letters, digits and . _ -",
)
_HANDLER: Final = Text(
    length_max=200,
    pattern=re.compile(r"[A-Za-z_*][\w.*]*(?::[\w*]+)?", re.ASCII),
    form='a class or a pattern of classes, such as "agents.billing:Clerk" or "agents.*"',
)
_VARIABLE: Final = Text(
    length_max=100,
    pattern=re.compile(r"[A-Za-z_*][A-Za-z0-9_*]*"),
    form='the name of a variable, or a pattern such as "*_API_KEY"',
)
_HOST_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_PEER: Final = Text(
    length_max=262,
    pattern=re.compile(
        rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[0-9]{{1,5}})?"
    ),
    form='a host and a port, such as "10.0.0.7:7946" or "caxton.internal:7946"',
)
_NEO4J_URI: Final = Text(
    length_max=500,
    pattern=re.compile(r"(?:neo4j|bolt)(?:\+s|\+ssc)?://[^\s/@]+/?"),
    form='an address such as "neo4j://host:7687" or "bolt+s://host:7687", without a login',
)
_ENGINE_NAME: Final = Text(
    length_max=63,
    pattern=re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"),
    form="a name of letters, digits and . _ -",
)
_ETCD_PREFIX: Final = Text(
    length_max=200,
    pattern=re.compile(r"/(?:[A-Za-z0-9][A-Za-z0-9._-]*/)+"),
    form='a path that begins and ends with a slash, such as "/caxton/"',
)
_LABEL: Final = Text(
    length_max=96,
    pattern=re.compile(
        r"(?!node=)[a-z][a-z0-9_-]{0,31}=[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
    ),
    form='a key and a value, such as "zone=eu"',
)
_LEVELS: Final = ("debug", "info", "warning", "error")


def _key(name: str) -> str:
    return name.removeprefix("is_").removesuffix("_s").removesuffix("_bytes")


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_key,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class NodeSettings(_Section):
    """`[node]`: who this node is, and where it keeps what it must not lose."""

    name: Annotated[str, Reads(_NODE_NAME)] = "node-1"
    """What the node is called in logs, traces and answers."""
    data_dir: Annotated[Path, Reads(Folder())]
    """The folder for messages, definitions and agents' files. Relative paths begin at the
    working directory; `~` is the home directory."""
    is_synced: Annotated[bool, Reads(Boolean())] = True
    """Whether an accepted message has reached the disk before its sender is told so. Without
    it, a power failure may lose the last moments; a crash of the process alone does not."""


class HttpSettings(_Section):
    """`[http]`: the REST API."""

    bind: Annotated[str, Reads(ListenAddress())] = "127.0.0.1:8080"
    """Host and port to listen on. Port 0 takes a free one. There is no login yet: whoever
    reaches this address may do everything."""
    max_body_bytes: Annotated[int, Reads(Size(minimum_bytes=1_000, maximum_bytes=100_000_000))] = (
        2_000_000
    )
    """The largest body of a request."""

    @property
    def address(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        host, _, port = self.bind.rpartition(":")
        return host.strip("[]"), int(port)


class GrpcSettings(_Section):
    """`[grpc]`: the gRPC API, for clients and for the other nodes."""

    bind: Annotated[str, Reads(ListenAddress())] = "127.0.0.1:50051"
    """Host and port to listen on. Port 0 takes a free one. With certificates, whoever calls must
    present one; see `peer_bind`."""
    peer_bind: Annotated[str | None, Reads(ListenAddress())] = None
    """Where other nodes call, with their certificates, when clients shall call `bind` without
    one. Without it both call `bind`."""
    max_message_bytes: Annotated[
        int, Reads(Size(minimum_bytes=4_000_000, maximum_bytes=100_000_000))
    ] = 4_000_000
    """The largest message of the gRPC protocol, either way. No less than the default: nodes tell
    each other so much in one frame of their link."""


class SecuritySettings(_Section):
    """`[security]`: how a node proves who it is, and whom it trusts.

    Make the files with `caxton security`. A node that runs takes new ones by itself.
    """

    ca_file: Annotated[Path | None, Reads(File())] = None
    """The certificates of the authorities that are trusted, in PEM."""
    cert_file: Annotated[Path | None, Reads(File())] = None
    """The node's certificate, in PEM. It carries the node's name."""
    key_file: Annotated[Path | None, Reads(File())] = None
    """The key of the certificate, in PEM."""


class ClusterSettings(_Section):
    """`[cluster]`: the ring of nodes, in which each knows who is there."""

    is_enabled: Annotated[bool | None, Reads(Boolean())] = None
    """Whether the node is a member of a ring. Without it: when `gossip` or `peers` is set. A node
    outside of any ring opens no port for one."""
    gossip: Annotated[str | None, Reads(NumericAddress())] = None
    """Where other members reach this node, by UDP and TCP. Without it: `127.0.0.1:7946`. Where
    other machines reach it, a key is needed: whoever gets in is a member."""
    advertise: Annotated[str | None, Reads(NumericAddress())] = None
    """The address to tell the others, where it is not the one listened on: behind a translation
    of addresses, or when listening on all."""
    peers: Annotated[
        tuple[str, ...], Reads(ListOf(item=_PEER, count_max=100, name="a list of hosts and ports"))
    ] = ()
    """Members to join by, any one will do; the port is 7946 where it is left out. A name may
    stand for many addresses and is looked up anew for each attempt. Attempts never end."""
    label: Annotated[str, Reads(Text(length_max=200, is_blank_allowed=True))] = ""
    """The cluster's name. Members with another one are ignored."""
    key: Annotated[SecretStr | None, Reads(EncryptionKeys())] = None
    """Keys that encrypt all that members say, in base64: the first one encrypts, all of them
    decrypt. Better not written here: use `key_file` with the path of a file that holds them. Once
    the ring is rotated to others, the node keeps those in its data directory and begins with them,
    for as long as this stays as it was."""
    preset: Annotated[str, Reads(Choice(("lan", "wan", "local", "fast")))] = "lan"
    """How patient members are with each other; the same in the whole ring. `fast` knows of a
    crash within 3 s and has two and a half times the idle traffic of `lan`."""

    expect: Annotated[int | None, Reads(Integer(minimum=1, maximum=10_000))] = None
    """How many nodes the cluster has. A node that sees no more than half of them refuses to change
    agents and takes none over. Without it: the most that were there for a second, less those that
    said goodbye."""
    labels: Annotated[
        tuple[str, ...], Reads(ListOf(item=_LABEL, count_max=8, name="a list of labels"))
    ] = ()
    """What agents' files may ask of a node that is to run them, such as `"zone=eu"`."""

    def own_labels(self) -> dict[str, str]:
        """Return the labels by key; the last one counts where a key is given twice."""
        return dict(label.split("=", 1) for label in self.labels)

    def keys(self) -> tuple[bytes, ...]:
        """Return the encryption keys, the one to send with first."""
        words = "" if self.key is None else self.key.get_secret_value()
        return tuple(map(decode_key, words.split()))


class EtcdSettings(_Section):
    """`[etcd]`: cluster metadata that all nodes agree on. Without it a cluster works, too.

    All nodes of a cluster name the same etcd and the same prefix.
    """

    endpoints: Annotated[
        tuple[str, ...],
        Reads(ListOf(item=Url(), count_max=16, name="a list of addresses with ports")),
    ] = ()
    """Addresses of members, such as `http://10.0.0.1:2379` or `https://…`; all with the same
    scheme. One is used at a time, the next one when it fails."""
    prefix: Annotated[str, Reads(_ETCD_PREFIX)] = "/caxton/"
    """All keys are below it, so that several clusters can share one etcd."""
    user: Annotated[str | None, Reads(Text(length_max=200))] = None
    """Where etcd asks for a name. It needs the right to read and write below `prefix`."""
    password: Annotated[SecretStr | None, Reads(Secret())] = None
    """Better not written here: use `password_file` with the path of a file that holds it."""
    ca_file: Annotated[Path | None, Reads(File())] = None
    """The certificates of the authorities that vouch for etcd, in PEM; the system's without it."""
    cert_file: Annotated[Path | None, Reads(File())] = None
    """A certificate for etcd to see, in PEM, where it asks for one."""
    key_file: Annotated[Path | None, Reads(File())] = None
    """The key of the certificate, in PEM."""
    timeout_s: Annotated[float, Reads(Duration(minimum_s=0.1, maximum_s=60.0))] = 5.0
    """What a call may take, with all its attempts."""
    attempt_timeout_s: Annotated[float, Reads(Duration(minimum_s=0.1, maximum_s=60.0))] = 2.0
    """What one attempt may take; then another member is asked."""
    lease_ttl_s: Annotated[float, Reads(Duration(minimum_s=2.0, maximum_s=600.0))] = 15.0
    """How long what this node says of itself in etcd outlives it."""

    def secret(self) -> str:
        """Return the password itself, for the one part that sends it."""
        return "" if self.password is None else self.password.get_secret_value()


class LogSettings(_Section):
    """`[log]`: what the node writes to its standard error."""

    level: Annotated[
        str,
        Reads(
            Choice(
                _LEVELS,
                synonyms={level.upper(): level for level in _LEVELS}
                | {"warn": "warning", "WARN": "warning"},
            )
        ),
    ] = "info"
    """The least important lines that are written."""
    format: Annotated[str, Reads(Choice(("text", "json")))] = "text"
    """`text` for people, `json` for collectors: one object a line."""


class TelemetrySettings(_Section):
    """`[telemetry]`: where traces go. Metrics can be read at `/metrics`, whatever stands here.

    Headers, certificates and compression are taken from the variables that OpenTelemetry has for
    them, such as `OTEL_EXPORTER_OTLP_HEADERS`.
    """

    otlp_endpoint: Annotated[str | None, Reads(Url())] = None
    """Who receives traces, such as `http://collector:4317`. Without it nothing is recorded, and
    the traces of others pass through. Nothing is sent anywhere else."""
    otlp_protocol: Annotated[str, Reads(Choice(("grpc", "http")))] = "grpc"
    """How the receiver is spoken to: mostly `grpc` at port 4317 and `http` at port 4318."""
    sample_ratio: Annotated[float, Reads(Number(minimum=0.0, maximum=1.0))] = 0.1
    """The share of traces begun by this node that is recorded. Those that came with a decision
    keep it."""
    otlp_metrics_interval_s: Annotated[
        float | None, Reads(Duration(minimum_s=1.0, maximum_s=3_600.0))
    ] = None
    """How often metrics are sent to `otlp_endpoint` too, such as "60s", for those who do not
    scrape. Without it nobody gets them who does not ask."""


class LlmSettings(_Section):
    """`[llm]`: the model for agents that name none of their own."""

    provider: Annotated[str | None, Reads(Choice(("openai", "offline")))] = None
    """`openai` is any OpenAI-compatible endpoint; `offline` answers without a model. Without
    it: `openai` when an address or a key is set, else `offline`."""
    model: Annotated[str | None, Reads(Text(length_max=200))] = None
    """The model's name at the provider."""
    base_url: Annotated[str | None, Reads(Url())] = None
    """Address of the endpoint, such as `http://localhost:11434/v1`."""
    api_key: Annotated[SecretStr | None, Reads(Secret())] = None
    """Key for the endpoint. Better not written here: use `"${OPENAI_API_KEY}"`, or
    `api_key_file` with the path of a file that holds it."""
    prices: Annotated[
        Mapping[str, ModelPrice],
        Reads(Table(key=Text(length_max=200), item=PriceOfModel(), name="a table of prices")),
    ] = Field(default_factory=dict)
    """US dollars for a million tokens, by model or `provider/model`:
    `"gpt-4o" = { input = 2.5, output = 10 }`. A model without a price has an unknown cost."""

    def secret(self) -> str | None:
        """Return the key itself, for the one part that sends it."""
        return None if self.api_key is None else self.api_key.get_secret_value()


class MemorySettings(_Section):
    """`[memory]`: what agents remember beyond a conversation."""

    is_enabled: Annotated[bool, Reads(Boolean())] = True
    """Whether the node keeps a memory. Agents use it when their file says so."""
    backend: Annotated[str, Reads(Choice(("sqlite", "qdrant", "neo4j", "qdrant+neo4j")))] = "sqlite"
    """What keeps it: the node itself, in its data directory; or an engine that several nodes
    share, reached as `[qdrant]` and `[neo4j]` say. With both, Qdrant finds and Neo4j walks."""
    model: Annotated[str, Reads(Text(length_max=1_000))] = "all-MiniLM-L6-v2"
    """What makes vectors of texts: the model that is installed with the server, a folder with
    another one of BERT's kind (`model.safetensors`, `tokenizer.json`, `config.json`), or `none`
    to find by words only. After a change, all vectors are made anew in the background."""
    precision: Annotated[str, Reads(Choice(("int8", "fp32")))] = "int8"
    """The model's numbers: eight bits take a quarter of the memory, `fp32` is the reference."""
    exclude: Annotated[
        tuple[str, ...],
        Reads(ListOf(item=Expression(), count_max=100, name="a list of regular expressions")),
    ] = ()
    """What else is never stored: texts in which one of these regular expressions is found, in any
    case of letters. Passwords, keys and numbers as long as those of cards are never stored."""
    entities: Annotated[int, Reads(Integer(minimum=1, maximum=10_000_000))] = 100_000
    """How many entities one agent, or one shared memory, may have. Beyond it, what was of no use
    for the longest time is deleted; pinned memories stay."""
    half_life_s: Annotated[float, Reads(Duration(minimum_s=60.0))] = 30 * _DAY_S
    """After so long without use a memory counts half. What was merely said is deleted after
    four times as long; what was concluded from it stays."""
    consolidate_after_s: Annotated[float, Reads(Duration(minimum_s=1.0))] = 120.0
    """A conversation in which nothing was said for so long has ended: facts are drawn from it."""
    recall_tokens: Annotated[int, Reads(Integer(minimum=50, maximum=100_000))] = 800
    """How much of a prompt memory may take, in tokens."""


class QdrantSettings(_Section):
    """`[qdrant]`: where a shared memory is, when `memory.backend` names it."""

    url: Annotated[str, Reads(Url())] = "http://localhost:6333"
    """Of its REST interface."""
    api_key: Annotated[SecretStr | None, Reads(Secret())] = None
    """Better not written here: use `api_key_file` with the path of a file that holds it."""
    collection: Annotated[str, Reads(_ENGINE_NAME)] = "caxton_memory"
    """Nodes that share a memory name the same one. It is made when it is missing."""
    timeout_s: Annotated[float, Reads(Duration(minimum_s=0.1, maximum_s=60.0))] = 5.0
    """What a call may take, with all its attempts."""

    def secret(self) -> str | None:
        """Return the key itself, for the one part that sends it."""
        return None if self.api_key is None else self.api_key.get_secret_value()


class Neo4jSettings(_Section):
    """`[neo4j]`: where a shared memory is, when `memory.backend` names it."""

    uri: Annotated[str, Reads(_NEO4J_URI)] = "neo4j://localhost:7687"
    """Of its Bolt interface."""
    user: Annotated[str | None, Reads(Text(length_max=200))] = None
    """Where the server asks for a name. It needs the right to make indexes."""
    password: Annotated[SecretStr | None, Reads(Secret())] = None
    """Better not written here: use `password_file` with the path of a file that holds it."""
    database: Annotated[str | None, Reads(_ENGINE_NAME)] = None
    """Without it: the user's own."""
    timeout_s: Annotated[float, Reads(Duration(minimum_s=0.1, maximum_s=60.0))] = 5.0
    """What a call may take, with all its attempts."""

    def secret(self) -> str:
        """Return the password itself, for the one part that sends it."""
        return "" if self.password is None else self.password.get_secret_value()


class ToolSettings(_Section):
    """`[tools]`: what the node's operator allows tools to reach."""

    allowed_private_hosts: Annotated[
        tuple[str, ...], Reads(ListOf(item=HOST, count_max=100, name="a list of hosts"))
    ] = ()
    """Hosts inside your own network that `http_client` may reach: `host`, `host:port` or
    `*.host`. Public hosts need no permission; link-local and metadata addresses get none."""


class AgentSettings(_Section):
    """`[agents]`: what the node's operator allows agent files."""

    environment: Annotated[
        tuple[str, ...],
        Reads(ListOf(item=_VARIABLE, count_max=100, name="a list of variables or patterns")),
    ] = ("*_API_KEY", "AGENT_*")
    """The environment variables that agent files may refer to as `${NAME}`; `*` matches
    anything. The node's own, `CAXTON_…`, are never among them."""


class PythonSettings(_Section):
    """`[python]`: agents of kind `python`."""

    allow: Annotated[
        tuple[str, ...],
        Reads(ListOf(item=_HANDLER, count_max=100, name="a list of classes or patterns")),
    ] = ()
    """The classes that agents may name as their `handler`; `*` matches anything. Empty allows
    none: a class runs with all the rights of the node."""


class LimitSettings(_Section):
    """`[limits]`: how long things may last."""

    drain_timeout_s: Annotated[float, Reads(Duration(minimum_s=0.0, maximum_s=3_600.0))] = 30.0
    """How long turns under way may take to finish when the node stops. What does not finish is
    taken up again after the start."""
    retention_s: Annotated[float, Reads(Duration(minimum_s=60.0))] = 30 * _DAY_S
    """How long settled messages are kept."""


class RetrySettings(_Section):
    """`[retry]`: what happens after a delivery failed for a reason that may pass."""

    attempts: Annotated[int, Reads(Integer(minimum=1, maximum=100))] = 5
    """Attempts, the first included, before a message becomes a dead letter."""
    initial_s: Annotated[float, Reads(Duration())] = 0.1
    """The wait after the first attempt, before jitter."""
    factor: Annotated[float, Reads(Number(minimum=1.0, maximum=10.0))] = 2.0
    """How much longer each wait is than the one before."""
    max_s: Annotated[float, Reads(Duration())] = 10.0
    """The longest wait."""


class WasmSettings(_Section):
    """`[wasm]`: guests in WebAssembly."""

    workers: Annotated[int, Reads(Integer(minimum=1, maximum=64))] = 1
    """Processes in which guests run, apart from the node's. Each starts when it is wanted."""
    signatures: Annotated[str, Reads(Choice(("off", "warn", "require")))] = "off"
    """Whether files must be signed by one of `signers`."""
    signers: Annotated[
        Mapping[str, str],
        Reads(
            Table(
                key=Text(length_max=100),
                item=Text(length_max=100),
                name="a table of names and public keys",
            )
        ),
    ] = Field(default_factory=dict)
    """Ed25519 keys that are trusted, in base64, by name. One that is not here any more is
    trusted no more."""
    shared: Annotated[
        tuple[str, ...],
        Reads(
            ListOf(item=Text(length_max=100), count_max=100, name="a list of signers and digests")
        ),
    ] = ()
    """Signers, and SHA-256 digests of files, whose guests may run in the node's own process:
    `wasm.isolation = "shared"` in their manifest."""


class Settings(_Section):
    """All settings of a node."""

    node: NodeSettings
    http: HttpSettings = HttpSettings()
    grpc: GrpcSettings = GrpcSettings()
    security: SecuritySettings = SecuritySettings()
    cluster: ClusterSettings = ClusterSettings()
    etcd: EtcdSettings = EtcdSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    llm: LlmSettings = LlmSettings()
    memory: MemorySettings = MemorySettings()
    qdrant: QdrantSettings = QdrantSettings()
    neo4j: Neo4jSettings = Neo4jSettings()
    tools: ToolSettings = ToolSettings()
    agents: AgentSettings = AgentSettings()
    python: PythonSettings = PythonSettings()
    wasm: WasmSettings = WasmSettings()
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, as users know it."""

    key: str
    """As in the file: `limits.drain_timeout`."""
    section: str
    name: str
    """Of the field in the section."""
    reader: Reader
    default: Any
    """None where the loader finds one."""
    doc: str

    @property
    def is_secret(self) -> bool:
        """It is never shown, and may come from a file: `<key>_file`."""
        return isinstance(self.reader, Secret)


def all_settings() -> Iterator[Setting]:
    """Yield every setting there is, in the order of the reference."""
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type), "every section is a model"
        assert issubclass(model, BaseModel), "every section is a model"
        for name, leaf in model.model_fields.items():
            reader = next(one.reader for one in leaf.metadata if isinstance(one, Reads))
            yield Setting(
                key=f"{section}.{leaf.alias}",
                section=section,
                name=name,
                reader=reader,
                default=leaf.get_default(call_default_factory=True)
                if not leaf.is_required()
                else None,
                doc=" ".join((leaf.description or "").split()),
            )
