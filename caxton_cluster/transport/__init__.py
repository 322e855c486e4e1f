"""Ways for bytes to get from one member to another."""
