"""What a model's graph demands of its inputs.

Needs ``onnx``, which is slow to load, so its modules are imported only where a model leaves
something open.
"""
