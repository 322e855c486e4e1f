"""What the server talks about: messages, agents, conversations, errors.

Values and rules only. Nothing here reads a clock, a file or a socket, and nothing here
imports another part of the server.
"""
