"""Membership for a cluster of processes: who is here, who is gone, told to everyone in seconds.

SWIM with Lifeguard on HashiCorp memberlist's wire, so that serf and memberlist peers can share a
ring with these members. Use `Cluster` to join a ring; use `caxton_cluster.swim` to run the
protocol on a clock and a network of your own.
"""
