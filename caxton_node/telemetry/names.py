"""Every name that monitoring may rely on: metrics, spans, events, fields of log lines. One table.

A name, once released, keeps its meaning. `docs/reference/telemetry.md` shows this table.
Labels are few and their values come from short closed lists: a label for every conversation
would fill a time-series database.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "EVENTS",
    "LATENCY_BUCKETS_S",
    "LOG_FIELDS",
    "METRICS",
    "RESOURCE_ATTRIBUTES",
    "SPANS",
    "SPAN_ATTRIBUTES",
    "WORK_BUCKETS_S",
    "Metric",
]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of time series."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: tuple[str, ...] = ()


METRICS: Final[tuple[Metric, ...]] = (
    Metric("caxton_node", "gauge", "Always 1; tells which node and version.", ("node", "version")),
    Metric("caxton_uptime_seconds", "gauge", "Time since the node started."),
    Metric(
        "caxton_messages_total",
        "counter",
        "Messages by what became of them since the node started: accepted, delivered, dead, "
        "expired, cancelled, refused, retried, duplicate.",
        ("outcome",),
    ),
    Metric(
        "caxton_turns_total",
        "counter",
        "Turns of agents that ended: finished, failed.",
        ("result",),
    ),
    Metric("caxton_turns_under_way", "gauge", "Turns that run now."),
    Metric(
        "caxton_message_duration_seconds",
        "histogram",
        "Time from the acceptance of a message on this node to its end, to the millisecond, "
        "wherever its turn was taken. One sent at most once to another node ends when it is "
        "handed over.",
    ),
    Metric(
        "caxton_turn_duration_seconds",
        "histogram",
        "Time that a turn took on this node, to the millisecond, however it ended.",
    ),
    Metric("caxton_model_calls_total", "counter", "Calls of models."),
    Metric("caxton_model_errors_total", "counter", "Calls of models that failed for good."),
    Metric(
        "caxton_model_call_duration_seconds",
        "histogram",
        "Time until a model had answered, with its own retries.",
    ),
    Metric(
        "caxton_model_tokens_total",
        "counter",
        "Tokens that models read and wrote: input, output.",
        ("direction",),
    ),
    Metric(
        "caxton_tool_calls_total", "counter", "Calls of tools by result: ok, error.", ("result",)
    ),
    Metric("caxton_tool_call_duration_seconds", "histogram", "Time that a tool took."),
    Metric(
        "caxton_guest_calls_total",
        "counter",
        "Calls of guests by result: ok; refused, by the guest; stopped, at a limit; broken.",
        ("result",),
    ),
    Metric("caxton_guest_call_duration_seconds", "histogram", "Time until a guest had answered."),
    Metric(
        "caxton_guest_operations_total",
        "counter",
        "What guests asked: ok, denied, error.",
        ("result",),
    ),
    Metric("caxton_agents", "gauge", "Agents on this node by state.", ("state",)),
    Metric("caxton_queued_messages", "gauge", "Messages that wait in mailboxes, all agents."),
    Metric(
        "caxton_unplaced_messages", "gauge", "Messages whose agent is on no node that is in reach."
    ),
    Metric(
        "caxton_mailbox_fullest_ratio",
        "gauge",
        "How full the fullest mailbox is. At 1 its agent answers that it is busy.",
    ),
    Metric("caxton_store_backlog", "gauge", "Journal entries that wait for the writer."),
    Metric("caxton_answers_awaited", "gauge", "Requests and turns that wait for an answer."),
    Metric(
        "caxton_event_loop_lag_seconds",
        "gauge",
        "How long a callback waited for its turn on the event loop when this was scraped.",
    ),
    Metric("caxton_process_resident_memory_bytes", "gauge", "Memory that the process holds."),
    Metric(
        "caxton_data_dir_bytes",
        "gauge",
        "The file system that holds the data directory: free to the node, and its size.",
        ("count",),
    ),
    Metric(
        "caxton_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the node's certificate ends, in seconds since 1970. Without certificates there is "
        "none.",
    ),
    Metric(
        "caxton_trace_spans_total",
        "counter",
        "Spans by what became of them: exported; failed, which the receiver did not take; dropped, "
        "because too many waited.",
        ("outcome",),
    ),
    Metric(
        "caxton_ring_members",
        "gauge",
        "Nodes of the ring by what this one believes of them: alive, suspect, dead, left.",
        ("state",),
    ),
    Metric(
        "caxton_ring_local_health",
        "gauge",
        "How much this node doubts itself: 0 is well, 7 the worst.",
    ),
    Metric(
        "caxton_ring_probes_total",
        "counter",
        "Nodes that this one asked after, by result: answered, failed.",
        ("result",),
    ),
    Metric(
        "caxton_ring_suspicions_total",
        "counter",
        "Times that a node became suspect to this one, by its own finding or another's.",
    ),
    Metric(
        "caxton_ring_refutations_total",
        "counter",
        "Times that this node had to object to what was said of it.",
    ),
    Metric(
        "caxton_ring_stalls_total",
        "counter",
        "Times that this node found its event loop late and blamed itself instead of the others.",
    ),
    Metric(
        "caxton_ring_name_conflicts_total",
        "counter",
        "Nodes that were not let in because another one has their name.",
    ),
    Metric(
        "caxton_ring_bytes_total",
        "counter",
        "Bytes of membership, without headers of IP, by direction (in, out) and transport "
        "(datagram, stream).",
        ("direction", "transport"),
    ),
    Metric(
        "caxton_ring_datagrams_dropped_total",
        "counter",
        "Datagrams that were not acted upon: overload, malformed, foreign (of another cluster).",
        ("reason",),
    ),
    Metric(
        "caxton_ring_round_trip_seconds",
        "histogram",
        "Time until a node answered a probe directly, to the millisecond.",
    ),
    Metric(
        "caxton_cluster_mode",
        "gauge",
        "1 for the side of a partition that this node is on, 0 for the others: majority, minority, "
        "isolated.",
        ("mode",),
    ),
    Metric(
        "caxton_cluster_nodes",
        "gauge",
        "Nodes of the cluster: alive, as this one believes, and expected.",
        ("count",),
    ),
    Metric("caxton_cluster_agents", "gauge", "Names of agents on all live nodes."),
    Metric(
        "caxton_cluster_agents_moved_total",
        "counter",
        "Agents that this node took over from another, or left to another: taken, left.",
        ("direction",),
    ),
    Metric(
        "caxton_failover_right",
        "gauge",
        "1 for the right by which this node takes agents over, 0 for the others: majority, lease, "
        "degraded (etcd is lost to all), withheld (etcd is lost here only).",
        ("right",),
    ),
    Metric(
        "caxton_failover_permits_total",
        "counter",
        "Attempts to take an agent over: granted, refused.",
        ("outcome",),
    ),
    Metric(
        "caxton_link_up",
        "gauge",
        "1 while messages flow between this node and the other, 0 while they wait. A label for "
        "each other node that is held alive.",
        ("peer",),
    ),
    Metric(
        "caxton_link_waiting_messages",
        "gauge",
        "Messages that wait to be sent to the other node.",
        ("peer",),
    ),
    Metric(
        "caxton_link_round_trip_seconds",
        "gauge",
        "Time that the last frame to the other node and its echo took.",
        ("peer",),
    ),
    Metric(
        "caxton_link_messages_total",
        "counter",
        "Messages between this node and the other: out, in.",
        ("peer", "direction"),
    ),
    Metric(
        "caxton_link_frames_sent_again_total",
        "counter",
        "Frames that were sent once more, after the stream to the other node broke.",
        ("peer",),
    ),
    Metric(
        "caxton_link_breaks_total",
        "counter",
        "Times that the link to the other node went down.",
        ("peer",),
    ),
    Metric(
        "caxton_etcd_state",
        "gauge",
        "1 for how cluster metadata does, 0 for the others: off, connected, degraded.",
        ("state",),
    ),
    Metric("caxton_etcd_calls_total", "counter", "Calls of etcd."),
    Metric(
        "caxton_etcd_attempts_failed_total",
        "counter",
        "Attempts of calls that failed; another member may have answered.",
    ),
    Metric("caxton_etcd_losses_total", "counter", "How often etcd was there and then was not."),
    Metric(
        "caxton_etcd_watch_resumptions_total",
        "counter",
        "Watches that went on after their stream broke: resumed, or relisted where history was "
        "compacted.",
        ("how",),
    ),
    Metric(
        "caxton_etcd_mirror_backlog",
        "gauge",
        "Keys that this node's copy in etcd does not have yet.",
    ),
    Metric(
        "caxton_etcd_mirror_refused_total", "counter", "Keys that this node's copy has no room for."
    ),
    Metric(
        "caxton_http_requests_total",
        "counter",
        "HTTP requests by route template, method and status.",
        ("route", "method", "status"),
    ),
    Metric(
        "caxton_http_request_duration_seconds",
        "histogram",
        "Time to answer HTTP requests by route template; event streams are left out.",
        ("route",),
    ),
)

LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
"""Classes of what the node itself takes part in at every step."""

WORK_BUCKETS_S: Final = (
    *(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 10.0, 30.0, 120.0),
)
"""Classes of what waits for models, tools and other agents."""

SPANS: Final[dict[str, str]] = {
    "{method} {route}": "SERVER. A request of a client over HTTP.",
    "{service}/{method}": "SERVER. A call of a client over gRPC, or of another node for one.",
    "send {destination}": "PRODUCER. A message from its being handed in until it is on disk.",
    "process {agent}": "CONSUMER. One attempt at a turn of an agent. Its parent may be on another "
    "node.",
    "receive {client}": "CONSUMER. An answer reached the node on which its client waits.",
    "invoke_agent {agent}": "INTERNAL. What an agent with a model, or in WebAssembly, does.",
    "search_memory": "INTERNAL. What an agent knows about the question was looked up.",
    "chat {model}": "CLIENT. One call of a model, with its own retries.",
    "execute_tool {tool}": "INTERNAL. One call of a tool.",
}
"""Name of a span → its kind and what it covers."""

SPAN_ATTRIBUTES: Final[dict[str, str]] = {
    "error.type": "The stable code of what went wrong, or the class of an agent's own exception.",
    "http.request.method": "GET, POST, ….",
    "http.route": "Template of the address, never the address itself.",
    "http.response.status_code": "Of the answer.",
    "rpc.system.name": "`grpc`.",
    "rpc.method": "With its service, such as `caxton.v1.Messages/Send`.",
    "messaging.system": "`caxton`.",
    "messaging.operation.name": "send, process, receive.",
    "messaging.operation.type": "As the conventions have it: the same words.",
    "messaging.destination.name": "The agent, the client, or what was written instead.",
    "messaging.message.id": "The message; `caxton message trace` takes it.",
    "messaging.message.conversation_id": "Its conversation.",
    "messaging.message.body.size": "Of its content, in bytes.",
    "gen_ai.operation.name": "invoke_agent, chat, execute_tool, search_memory.",
    "gen_ai.agent.name": "The agent.",
    "gen_ai.agent.version": "Of its definition.",
    "gen_ai.conversation.id": "The conversation.",
    "gen_ai.provider.name": "Who runs the model; `offline` is no model.",
    "gen_ai.request.model": "The model that was asked for.",
    "gen_ai.response.model": "The model that answered.",
    "gen_ai.usage.input_tokens": "Tokens read.",
    "gen_ai.usage.output_tokens": "Tokens written.",
    "gen_ai.tool.name": "The tool.",
    "gen_ai.tool.call.id": "As the model numbered its call.",
    "gen_ai.tool.type": "`function`.",
    "caxton.performative": "What the message does: request, inform, ….",
    "caxton.attempt": "How often the message has been tried, this time included.",
    "caxton.wait_ms": "How long a message waited from its acceptance until its turn, by the clocks "
    "of the two nodes.",
    "caxton.step": "Number of a model or tool call within its turn, as in `message trace`.",
    "caxton.guest.isolation": "Where the sandbox of a guest in WebAssembly is: worker, shared.",
    "caxton.guest.sha256": "Beginning of the digest of its file.",
    "caxton.knowledge.count": "Memories that were found.",
}
"""Attribute of a span → what it holds. Content of messages and prompts is in none."""

RESOURCE_ATTRIBUTES: Final[dict[str, str]] = {
    "service.name": "`caxton`.",
    "service.namespace": "`cluster.label`, where the cluster has one.",
    "service.instance.id": "The node's name.",
    "service.version": "Of the program.",
}
"""What all spans of a node share; `OTEL_RESOURCE_ATTRIBUTES` adds to it."""

EVENTS: Final[dict[str, str]] = {
    "message.accepted": "A message is journaled and waits in a mailbox.",
    "message.delivered": "A turn ended well, or a client can read its answer.",
    "message.dead": "A message was given up; it is among the dead letters.",
    "message.expired": "`reply_by` passed before the turn was done.",
    "message.cancelled": "A message was called off.",
    "turn.recall": "Memory was searched, and something is known.",
    "turn.model_call": "A turn calls a model.",
    "turn.delta": "A piece of a model's text, as it arrives.",
    "turn.tool_call": "A turn calls a tool.",
    "turn.tool_result": "The tool answered.",
    "agent.deployed": "A definition came into force.",
    "agent.rolled_back": "An earlier version came into force again.",
    "agent.canary": "A new version takes a share of an agent's new conversations.",
    "agent.canary_ended": "A canary was promoted, rolled back, or replaced by another change.",
    "agent.state": "An agent was restarted, suspended, resumed or stopped.",
    "agent.failed": "An agent crashed too often and was given up.",
    "agent.deleted": "An agent is gone.",
    "agent.placed": "How many nodes are to run an agent, or which, was changed.",
    "agent.adopted": "A definition came into force because another node runs it, or ran it.",
    "agent.released": "This node left an agent to another one.",
    "agent.moved": "This node took an agent over from another one.",
    "agent.log": "A line was added to an agent's log.",
    "guest.denied": "A guest in WebAssembly asked for what its manifest does not grant.",
    "guest.stopped": "A guest in WebAssembly was stopped at one of its limits.",
    "guest.quarantined": "A guest in WebAssembly was stopped too often and takes no more calls.",
    "guest.handed_over": "A new version of a guest in WebAssembly goes on from the old one.",
    "member.joined": "A node appeared in the ring, or came back.",
    "member.updated": "A node changed its tags or its address.",
    "member.suspect": "A node does not answer; it has some seconds to object.",
    "member.recovered": "A node that was suspected objected.",
    "member.failed": "A node is held dead.",
    "member.left": "A node said goodbye to the ring.",
    "member.conflict": "Two nodes have one name; the one at the address given is not let in.",
    "member.refused": "A node was not let in: its versions do not fit, or the ring is full.",
    "cluster.partition": "This node is on another side of a partition than before.",
    "cluster.draining": "This node hands its agents over and takes none.",
    "cluster.removed": "A dead node is expected no more.",
    "metadata.state": "etcd was lost or found.",
    "failover.right": "Agents of dead nodes are taken over by another right than before.",
    "cluster.setting": "The whole cluster was told of a setting, or told no more.",
}
"""Kind → what happened. Watched at `/api/v1/events`."""

LOG_FIELDS: Final[dict[str, str]] = {
    "time": "When the line was logged, UTC.",
    "level": "debug, info, warning, error.",
    "logger": "Which part of the node, or which library, says it.",
    "message": "What it says.",
    "trace_id": "W3C trace id of the request that led here; problem documents carry it too.",
    "conversation_id": "The conversation that the line is about.",
    "message_id": "The message whose turn the line was written in.",
    "agent": "The agent.",
    "node": "The node's name.",
    "exception": "The traceback, where there is one.",
}
"""Field of a log line in JSON → what it holds."""
