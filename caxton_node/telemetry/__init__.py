"""How the node shows what it does: events, metrics, logs."""
