"""How batches reach an NVIDIA GPU: memory, copies, graphs, and the engines that TensorRT builds."""
