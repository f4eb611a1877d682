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
``fail_on_load``        not 0: raise while the model is loaded (0)
``fail_at``             raise at this inference, counted from 1 (never)
``hang_at``             never return from this inference (never)
``die_at``              kill the process at this inference (never)
``sample_floats``       size of one sample, in float32 values (1)
======================  =====================================================

The output is the sum of the sample's values, shape (count, 1), float32.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from loadgen_generic.backends import BackendSpec
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.seams import Batch, Profiler
from loadgen_generic.tensors import Array, ModelSignature, TensorSpec

__all__ = ["FakeBackend"]

_SETTINGS = (
    "latency_us",
    "spin_us",
    "per_sample_us",
    "slow_every",
    "slow_us",
    "fail_on_load",
    "fail_at",
    "hang_at",
    "die_at",
    "sample_floats",
)
# Below this a sleep is later than asked by more than it is long.
_SHORTEST_SLEEP_SEC = 200e-6


class FakeBackend:
    def __init__(self, spec: BackendSpec) -> None:
        self._settings = {name: 0.0 for name in _SETTINGS} | {"sample_floats": 1.0}
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
        if self._settings["fail_on_load"]:
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
        prompt = not any(value for name, value in self._settings.items() if name != "sample_floats")
        return (_PromptWorker if prompt else _FakeWorker)(self._settings, self._count)

    def effective(self) -> dict[str, object]:
        return {
            "execution_provider": "none",
            "backend_options": {k: f"{v:g}" for k, v in self._settings.items() if v},
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

    def confirm(self, model_sha256: str) -> None:
        pass

    def close(self) -> None:
        pass

    def _count(self) -> int:
        with self._lock:
            self._inferences += 1
            return self._inferences


class _FakeWorker:
    def __init__(self, settings: dict[str, float], count: Callable[[], int]) -> None:
        self._fixed = settings["latency_us"] * 1e-6
        self._awake = settings["spin_us"] * 1e-6
        self._each = settings["per_sample_us"] * 1e-6
        self._events = {
            int(settings[name]): name for name in ("fail_at", "hang_at", "die_at") if settings[name]
        }
        self._slow_every = int(settings["slow_every"])
        self._slow = settings["slow_us"] * 1e-6
        self._count = count

    def infer(self, batch: Batch) -> None:
        self._last = batch
        seconds = self._fixed + self._each * batch.count
        if self._events or self._slow_every:
            number = self._count()
            self._misbehave(number)
            if self._slow_every and number % self._slow_every == 0:
                seconds += self._slow
        if seconds:
            self._wait(seconds)

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
