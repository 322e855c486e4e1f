"""The client side of Caxton: the wire contract that every node and client speaks.

This package stays light (grpcio and protobuf) and never imports the server.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
