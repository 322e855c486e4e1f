"""Whole clusters in virtual time: the machines of `caxton_cluster`, a network that misbehaves.

`world` moves bytes and time, `faults` breaks things on schedule, `checkers` watch from outside.
A run is a function of its seed: `python -m tests.sim --seed 7` replays one.
"""
