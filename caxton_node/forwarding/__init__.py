"""Messages between nodes: one link a pair, and inboxes for agents that are elsewhere."""
