"""int8 versions of a model, by ONNX Runtime's static quantisation on the samples of a run.

The work is done in a process of its own, under the environment of the CPU provider: ONNX Runtime
is not imported here, what it prints goes nowhere, and a crash costs the caller nothing.
"""

from loadgen_generic.quantization.keeping import Quantized, quantized

__all__ = ["Quantized", "quantized"]
