"""Guests in WebAssembly to begin with, and how each language's toolchain builds them.

The folders beside this file are whole projects. The server never imports any of this: it is for
whoever writes a guest.
"""

from caxton_node.starters.projects import STARTERS, starter_files
from caxton_node.starters.toolchains import BuildPlan, Guest, Run, find_guest, plan_build

__all__ = ["STARTERS", "BuildPlan", "Guest", "Run", "find_guest", "plan_build", "starter_files"]
