"""The wire contract, compiled: messages and stubs of the protobuf package `caxton.v1`.

Everything else in this folder is generated from `proto/caxton/v1/*.proto` by `make proto` and
never edited. Import the module that is meant (`from caxton.v1 import messages_pb2`): nothing is
loaded here, so that a client that only sends messages does not pay for the rest.
"""
