"""How well the offline provider chooses tools, beside two simpler ways."""
