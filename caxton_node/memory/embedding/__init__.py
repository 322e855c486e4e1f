"""Vectors of texts, made on this machine: weights, tokens, a compute graph, and who runs it.

No network and no framework for training: the published weights become an ONNX graph once, and a
small runtime executes it.
"""
