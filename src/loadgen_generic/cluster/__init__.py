"""A cluster of nodes that Ray runs: joining it, its nodes, and files that they need."""
