"""The programs `caxton` (the command line, over the public API) and `caxton-node` (one node).

A command decides in plain functions what to ask and what to print; `client` talks, `output`
prints. What a command needs is imported when it runs: `caxton --help` must be there at once.
"""
