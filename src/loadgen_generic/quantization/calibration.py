"""The samples of a run, as ONNX Runtime's calibration takes them."""

from __future__ import annotations

from collections.abc import Callable

from loadgen_generic.answers.verify import spread
from loadgen_generic.assembly import Assembly
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.feed import settle_feed
from loadgen_generic.machine import available_cores, last_level_cache_bytes
from loadgen_generic.quantization.recipe import MOST_BYTES, MOST_SAMPLES
from loadgen_generic.tensors import Array

__all__ = ["Calibration"]

# Which samples a run has does not depend on where and how it answers them.
_ON_THE_CPU: dict[str, object] = {
    "execution_provider": "CPUExecutionProvider",
    "ep_options": {},
    "precision": None,
    "devices": None,
    "data_location": "host",
    "runner": "auto",
    "optimized_cache": False,
}


class Calibration:
    """ONNX Runtime's ``CalibrationDataReader``: some samples of a run, spread over all that it
    would load, one inference at a time.

    Args:
        beat: called after each inference.

    Attributes:
        count: samples in use; at most 128, of 256 MiB.
        words: what they are.

    Raises:
        RequestError: the samples do not fit the model, as in a run.
    """

    def __init__(self, config: BenchmarkConfig, model_path: str, beat: Callable[[], None]) -> None:
        config = config.model_copy(update=_ON_THE_CPU)
        assembly = Assembly(config, model_path, available_cores(), beat)
        feed = settle_feed(config, assembly, assembly.begin(), last_level_cache_bytes(), beat)
        assembly.close()
        self._beat = beat
        self._samples = feed.samples
        self._names = [each.name for each in feed.plan.inputs]
        room = max(1, MOST_BYTES // max(feed.plan.bytes_per_sample, 1))
        self._indices = spread(feed.samples.resident(), min(MOST_SAMPLES, room))
        self.count = len(self._indices)
        self.words = f"from {config.dataset}" if config.dataset else "with generated values"
        # A model whose batch is fixed takes no fewer at once.
        one_shape = feed.samples.shapes() is None
        self._at_once = feed.plan.fixed_batch if feed.plan.fixed_batch and one_shape else 1
        self._next = 0

    def load(self) -> None:
        """Bring them into memory."""
        self._samples.load(self._indices)
        self._reader = self._samples.reader(self._at_once)

    def get_next(self) -> dict[str, Array] | None:
        """Input name to array, as the model takes it; None after the last."""
        self._beat()
        indices = self._indices[self._next : self._next + self._at_once]
        self._next += self._at_once
        if not indices:
            return None
        arrays = self._reader.batch(indices).arrays
        return dict(zip(self._names, arrays, strict=True))
