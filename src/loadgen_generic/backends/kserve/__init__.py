"""Inference servers over the Open Inference Protocol: a model that is loaded elsewhere."""
