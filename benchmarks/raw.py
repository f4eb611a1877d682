"""The raw side, each in a process of its own: ``ceiling.py``, a plain ONNX Runtime loop, and
``floor.py``, LoadGen with the barest callback."""

from __future__ import annotations

import sys
from pathlib import Path

from lab import Case, Lab, Measured

__all__ = ["bare_call_case", "ceiling_case", "floor_case"]

_SCRIPT = Path(__file__).resolve().with_name("ceiling.py")
_FLOOR = _SCRIPT.with_name("floor.py")
_SCALING_BATCHES = (1, 4)
_TRIAL_SEC = 0.3


def ceiling_case(key: str, model: str, workers: int = 0) -> Case:
    """``samples_per_sec`` of the best raw loop, or of one with so many single-threaded workers.

    The first round tries every layout; the later ones run the best of them.
    """

    def measure(lab: Lab) -> Measured:
        if workers:
            layouts = [
                f"{workers},1,{sessions},{batch}"
                for sessions in sorted({1, workers})
                for batch in _SCALING_BATCHES
            ]
        else:
            layouts = lab.memory.get(key, [])
        command = _command(lab, model, "throughput")
        command += [word for layout in layouts for word in ("--layout", layout)]
        found = lab.json_of(command, patience=4 * lab.patience)
        lab.memory.setdefault(key, list(found["full"]))
        lab.memory.setdefault(f"rate/{model}", found["samples_per_sec"])
        return Measured({"samples_per_sec": found["samples_per_sec"]}, lab.show(command), found)

    return Case(key, measure)


def bare_call_case(key: str, model: str) -> Case:
    """``p50`` and ``p90`` in ns of the bare bound call."""

    def measure(lab: Lab) -> Measured:
        command = _command(lab, model, "latency")
        found = lab.json_of(command)
        return Measured({"p50": found["p50"], "p90": found["p90"]}, lab.show(command), found)

    return Case(key, measure)


def floor_case(key: str, scenario: str, samples: int) -> Case:
    """``ns_per_sample`` (Offline) or ``p50`` and ``p90`` in ns (SingleStream) of LoadGen alone."""

    def measure(lab: Lab) -> Measured:
        command = [sys.executable, _FLOOR, scenario, "--samples", samples, "--seconds", lab.seconds]
        return Measured(lab.json_of(command), lab.show(command))

    return Case(key, measure)


def _command(lab: Lab, model: str, mode: str) -> list[object]:
    command: list[object] = [sys.executable, _SCRIPT, lab.model(model), mode]
    return [*command, "--seconds", lab.seconds, "--trial", min(_TRIAL_SEC, lab.seconds / 3)]
