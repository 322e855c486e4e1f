"""What agents know: facts and relations with scope, time and provenance, found by meaning.

`store` keeps them in SQLite, `arena` finds vectors in memory, `embedding` makes vectors of texts,
`recall` fuses what was found, `service` is what the rest of the node talks to.
"""
