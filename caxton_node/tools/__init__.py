"""Tools that an agent may use: the Protocol, the registry, and the built-in set."""
