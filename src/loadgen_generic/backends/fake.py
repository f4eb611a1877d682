"""A backend without a model: it answers after a set time.

It ships because it is useful outside the tests as well: it shows what LoadGen and this
harness cost by themselves, and it has a limit that is known exactly, so that a search for a
limit can be checked. Settings, given as ``--backend_options key=value,...``:

======================  =====================================================
``latency_us``          time of one inference, in microseconds (0)
``spin_us``             the end of each inference, spent awake: a sleep ends some
                        tens of us late, by how much depends on the machine (0)
``per_sample_us``       more time for each sample of the batch (0)
``slow_every``          each so many inferences one is slow (none)
``slow_us``             more time for a slow inference (0)
``copy_in_us``          more time for a batch that is not on its device already,
                        see ``--data_location`` (0)
``fail_on_load``        not 0: raise while the model is loaded (0)
``fail_at``             raise at this inference, counted from 1 (never)
``hang_at``             never return from this inference (never)
``die_at``              kill the process at this inference (never)
``most_samples``        out of memory with a larger batch (any)
``sample_floats``       size of one sample, in float32 values (1)
``cards``               cards to play, which ``--devices`` may name (2)
``slow_device``         the card that is slower than the others (none)
``slow_factor``         how much longer it takes (1)
``fail_device``         the card on which ``fail_on_load``, ``fail_at``, ``hang_at``
                        and ``die_at`` hold (all)
======================  =====================================================

Each card counts its own inferences.

The output is the sum of the sample's values, shape (count, 1), float32.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from loadgen_generic.backends import BackendSpec
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.seams import Batch, Profiler
from loadgen_generic.tensors import Array, ModelSignature, TensorSpec

__all__ = ["FakeBackend"]

_NONE = -1.0  # where 0 is the number of a card
# What each is where it is not given.
_SETTINGS = {
    "latency_us": 0.0,
    "spin_us": 0.0,
    "per_sample_us": 0.0,
    "slow_every": 0.0,
    "slow_us": 0.0,
    "copy_in_us": 0.0,
    "fail_on_load": 0.0,
    "fail_at": 0.0,
    "hang_at": 0.0,
    "die_at": 0.0,
    "most_samples": 0.0,
    "sample_floats": 1.0,
    "cards": 2.0,
    "slow_device": _NONE,
    "slow_factor": 1.0,
    "fail_device": _NONE,
}
# With none of these an inference takes no time and has nothing to look at.
_MATTERS = {
    "latency_us",
    "per_sample_us",
    "slow_every",
    "copy_in_us",
    "fail_at",
    "hang_at",
    "die_at",
    "most_samples",
}
# Below this a sleep is later than asked by more than it is long.
_SHORTEST_SLEEP_SEC = 200e-6


class FakeBackend:
    def __init__(self, spec: BackendSpec) -> None:
        self._spec = spec
        self._settings = dict(_SETTINGS)
        for name, value in spec.options.items():
            if name not in self._settings:
                raise RequestError(
                    f"the fake backend has no setting {name}.",
                    flag="backend_options",
                    remedy=f"It has: {', '.join(_SETTINGS)}.",
                )
            try:
                self._settings[name] = float(value)
            except ValueError:
                raise RequestError(
                    f"{name} must be a number.", flag="backend_options", value=f"{name}={value}"
                ) from None
        self._inferences = 0
        self._lock = threading.Lock()

    def load(self) -> ModelSignature:
        if self._settings["fail_on_load"] and self._may_fail():
            raise RunError(
                "the fake backend could not load, as it was told to. Leave fail_on_load out of "
                "--backend_options."
            )
        float32 = np.dtype(np.float32)
        size = int(self._settings["sample_floats"])
        return ModelSignature(
            (TensorSpec("x", "tensor(float)", float32, ("batch", size)),),
            (TensorSpec("y", "tensor(float)", float32, ("batch", 1)),),
        )

    def worker(self) -> _FakeWorker:
        settings = dict(self._settings)
        if self._spec.data_location == "device":
            settings["copy_in_us"] = 0.0
        if self._spec.device != settings["slow_device"]:
            settings["slow_factor"] = 1.0
        if not self._may_fail():
            settings |= dict.fromkeys(("fail_at", "hang_at", "die_at"), 0.0)
        prompt = not any(settings[name] for name in _MATTERS)
        return (_PromptWorker if prompt else _FakeWorker)(settings, self._count)

    def effective(self) -> dict[str, object]:
        return {
            "execution_provider": "none",
            "backend_options": {
                name: f"{value:g}"
                for name, value in self._settings.items()
                if name == "sample_floats" or value != _SETTINGS[name]
            },
        }

    def providers(self) -> list[str]:
        return []

    def notes(self) -> list[str]:
        return []

    def profiler(self) -> Profiler:
        raise RequestError(
            "the fake backend has no operators, so there is nothing to profile.",
            flag="profile",
            remedy="Leave it out, or measure a model with --backend onnxruntime.",
        )

    def phases(self, batches: Iterator[Batch], beat: Callable[[], None]) -> Mapping[str, float]:
        return {}

    def cards(self) -> Sequence[str]:
        return [f"fake card {number}" for number in range(int(self._settings["cards"]))]

    def confirm(self, model_sha256: str) -> None:
        pass

    def close(self) -> None:
        pass

    def _may_fail(self) -> bool:
        return self._settings["fail_device"] in (_NONE, self._spec.device)

    def _count(self) -> int:
        with self._lock:
            self._inferences += 1
            return self._inferences


class _FakeWorker:
    def __init__(self, settings: dict[str, float], count: Callable[[], int]) -> None:
        self._fixed = (settings["latency_us"] + settings["copy_in_us"]) * 1e-6
        self._awake = settings["spin_us"] * 1e-6
        self._each = settings["per_sample_us"] * 1e-6
        self._events = {
            int(settings[name]): name for name in ("fail_at", "hang_at", "die_at") if settings[name]
        }
        self._slow_every = int(settings["slow_every"])
        self._slow = settings["slow_us"] * 1e-6
        self._factor = settings["slow_factor"]
        self._most = int(settings["most_samples"])
        self._count = count

    def infer(self, batch: Batch) -> None:
        self._last = batch
        if self._most and batch.count > self._most:
            raise RunError(
                f"out of memory: the fake backend holds {self._most} samples, as it was told to, "
                f"and the batch has {batch.count}"
            )
        seconds = self._fixed + self._each * batch.count
        if self._events or self._slow_every:
            number = self._count()
            self._misbehave(number)
            if self._slow_every and number % self._slow_every == 0:
                seconds += self._slow
        if seconds:
            self._wait(seconds * self._factor)

    def outputs(self) -> Sequence[Array]:
        values = self._last.arrays[0].reshape(self._last.count, -1)
        return [values.sum(axis=1, keepdims=True)]

    def _misbehave(self, number: int) -> None:
        event = self._events.get(number)
        if event == "fail_at":
            raise RunError(
                "the fake backend failed, as it was told to. Leave fail_at out of --backend_options."
            )
        if event == "hang_at":
            threading.Event().wait()
        if event == "die_at":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    def _wait(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        asleep = seconds - self._awake
        if asleep >= _SHORTEST_SLEEP_SEC:
            time.sleep(asleep)
            if not self._awake:
                return
        while time.perf_counter() < end:
            pass


class _PromptWorker(_FakeWorker):
    """Takes no time at all, so that what is measured is the harness."""

    def infer(self, batch: Batch) -> None:
        self._last = batch
