"""The Caxton node: a server that runs agents and carries their messages."""
