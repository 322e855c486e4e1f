"""Memory that several nodes share, kept by an engine outside of them.

What memory means (what is one observation, what ends what, what may be seen) is decided here, once,
in values; an engine is a `Shelf` that keeps and finds items and knows nothing of meaning.
"""
