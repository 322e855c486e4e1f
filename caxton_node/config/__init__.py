"""The settings of a node: one frozen tree, and where each value came from.

Flags win over the environment, the environment over the file, the file over the defaults.
Nothing reads a setting from anywhere else: `load_settings` runs once, and the parts of the
server get what they need by constructor.
"""

from caxton_node.config.load import LoadedSettings, load_settings
from caxton_node.config.settings import Settings

__all__ = ["LoadedSettings", "Settings", "load_settings"]
