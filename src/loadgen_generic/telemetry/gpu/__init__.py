"""NVIDIA GPUs while a test runs: what the driver's own library tells of them."""

from loadgen_generic.telemetry.gpu.driver import Driver
from loadgen_generic.telemetry.gpu.reader import Gpus, SeenGpu

__all__ = ["Driver", "Gpus", "SeenGpu"]
