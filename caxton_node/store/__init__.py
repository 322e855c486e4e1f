"""What a node keeps: messages, agents and their versions, steps of turns, usage, logs.

`protocol` says what a store does; `sqlite` is the real one, `memory` its twin for tests and for
nodes that need not remember. Both pass the same contract tests.
"""
