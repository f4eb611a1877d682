"""Replicas of a backend on the nodes of a cluster, as one backend."""
