"""What goes wrong on a link. It ends the stream; the link begins another one."""

__all__ = ["LinkBroken", "LinkRefused"]


class LinkBroken(Exception):
    """The other side broke the rules of the link, or fell silent."""


class LinkRefused(Exception):
    """The two nodes do not belong together: another cluster, name or version."""
