"""The one way through: validate, authorise, journal, route, deliver.

Every message takes it: a client's request, an agent's reply, a retry, a timer. The steps that
decide are pure and have a module each; `pipeline` is the thin shell that acts on them.
"""
