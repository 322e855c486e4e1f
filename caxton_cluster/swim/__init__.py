"""The membership protocol without sockets, clocks or tasks: bytes and times in, bytes out."""
