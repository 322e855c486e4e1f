"""How a host is written where somebody allows one: `host`, `host:port`, `*.host`, `[::1]:80`."""

import re
from typing import Final

from caxton_node.documents.readers import Text

__all__ = ["HOST"]

HOST: Final = Text(
    length_max=262,
    pattern=re.compile(
        r"(?:(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    ),
    form='a host such as "localhost:8000", "*.internal" or "[::1]", without http://',
)
"""Reads the spelling. What it permits is decided where connections are made."""
