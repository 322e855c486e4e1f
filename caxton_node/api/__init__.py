"""The REST edge: HTTP requests in, values of the domain through the node, JSON and events out.

`routes.ENDPOINTS` is the one table. The addresses that are served and the OpenAPI document both
follow from it, so neither can say what the other does not.
"""
