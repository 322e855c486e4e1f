"""Counters of the hot path: plain integers, read by the metrics endpoint when it is asked."""

import msgspec

__all__ = ["Counts"]


class Counts(msgspec.Struct):
    """What the pipeline and the turns have done since the node started."""

    messages_accepted: int = 0
    messages_delivered: int = 0
    messages_dead: int = 0
    messages_expired: int = 0
    messages_cancelled: int = 0
    messages_refused: int = 0
    """Never accepted: invalid, denied, nobody there, busy."""
    messages_retried: int = 0
    messages_duplicate: int = 0
    turns_finished: int = 0
    turns_failed: int = 0
    model_calls: int = 0
    model_input_tokens: int = 0
    model_output_tokens: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    events_lost: int = 0
