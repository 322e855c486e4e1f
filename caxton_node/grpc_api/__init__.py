"""The gRPC edge: protobuf and status codes on one side, the node's own parts on the other."""
