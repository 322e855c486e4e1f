"""Models: one Protocol, the providers that speak it, and the honest one that needs no network."""
