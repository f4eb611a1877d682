"""What the raw loop runs, and the samples that it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from gpu_card import Card

__all__ = ["TYPES", "Pool", "Task"]

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
# The most batches that are bound where they lie; to bind one takes up to 100 us.
_MOST_DIRECT = 1 << 12


@dataclass(frozen=True)
class Task:
    """What is measured.

    Attributes:
        provider: ``cuda`` or ``cpu``.
        location: where samples are when the clock starts, as the harness's ``--data_location``.
        tf32: whether CUDA may round float32 products to TF32.
        options: of the provider, by ONNX Runtime's names; they win.
        ranges: of integer inputs, without the upper end; others get 0 and 1.
    """

    model: str
    provider: str
    device: int
    location: str
    batch: int
    tf32: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Pool:
    """Distinct samples of every input, a whole number of batches, where the task wants them.

    Attributes:
        batches: how many.
        arrays: by input, [samples, ...] in ordinary memory, pinned where the task says so.
        addresses: by input, of the first sample: on the card where the task says so.
    """

    def __init__(self, task: Task, nodes: Sequence[Any], samples: int, card: Card) -> None:
        self.batches = max(2, -(-samples // task.batch))
        if task.location == "device":
            self.batches = min(self.batches, _MOST_DIRECT)
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        self.addresses: dict[str, int] = {}
        random = np.random.default_rng(0)
        for node in nodes:
            shape = (self.batches * task.batch, *node.shape[1:])
            values = _draw(random, shape, np.dtype(TYPES[node.type]), task.ranges.get(node.name))
            if task.location == "pinned":
                memory = card.pinned(values.nbytes).view(values.dtype).reshape(shape)
                memory[...] = values
                values = memory
            self.arrays[node.name] = values
            self.addresses[node.name] = values.ctypes.data
            if task.location == "device" and not card.shared:
                address, stream = card.memory(values.nbytes), card.stream()
                card.copy(address, values.ctypes.data, values.nbytes, stream)
                card.wait(stream)
                self.addresses[node.name] = address


def _draw(
    random: np.random.Generator,
    shape: tuple[int, ...],
    kind: np.dtype[Any],
    bounds: tuple[int, int] | None,
) -> npt.NDArray[Any]:
    if kind.kind == "i":
        return random.integers(*(bounds or (0, 2)), shape, dtype=kind)
    return random.random(shape, dtype=np.float32).astype(kind, copy=False)
