"""What ``tune`` may have found, made by code: the same each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import sample_figures

from loadgen_generic.report.reading.figures import Figures
from loadgen_generic.results.tuning import LeftOut, TunedCandidate, Tuning, Worth

__all__ = ["tuned", "tuning"]

# Name, factor of speed, worst absolute error, top-1 agreement, stage of its best.
_FAMILIES: tuple[tuple[str, float, float | None, float, str], ...] = (
    ("cpu float32", 1.0, 0.0, 1.0, "final"),
    ("cpu float32, extended", 1.04, 3.1e-6, 1.0, "longer"),
    ("openvino float32", 1.11, 7.4e-6, 1.0, "final"),
    ("openvino bfloat16", 2.02, 0.0131, 0.9844, "final"),
    ("cpu int8", 1.7, 0.94, 0.4219, "refused"),
    ("openvino float16", 1.9, None, 0.0, "failed"),
)
_PER_FAMILY = 4


def tuned(directory: Path, *, latency: bool = False) -> Figures:
    """What ``tune`` found in Offline, or in SingleStream, where small values are good."""
    base = sample_figures.performance("SingleStream" if latency else "Offline", directory)
    assert base.result is not None
    return replace(
        base, result=base.result.model_copy(update={"tuning": tuning(directory, latency=latency)})
    )


def tuning(directory: Path, *, latency: bool = False) -> Tuning:
    """Four candidates of each family, but of one that was refused and of one that failed."""
    found: list[TunedCandidate] = []
    for family in _FAMILIES:
        many = 1 if family[4] in ("refused", "failed") else _PER_FAMILY
        for place in range(many):
            found.append(_candidate(len(found) + 1, place, family, latency))
    timed = [each for each in found if each.value is not None]
    best = sorted(timed, key=lambda each: each.value or 0.0)[0 if latency else -1]
    options = "--model_path resnet50.onnx --execution_provider openvino --precision bfloat16"
    return Tuning(
        sentence="openvino bfloat16 is 2.02 times as fast as the default, and its answers are "
        "right within the tolerance.",
        objective="latency in SingleStream" if latency else "samples/s in Offline",
        unit="ns" if latency else "samples/s",
        higher_is_better=not latency,
        winner=best.number,
        gain=2.02,
        noise=0.013,
        spread=0.022,
        tolerance="bfloat16: 0.05 of the largest value of an output, and the same top-1 class in "
        "97 % of the samples",
        samples_verified=64,
        disturbed=2,
        trials=41,
        budget_s=600.0,
        used_s=412.3,
        candidates=found,
        left_out=[
            LeftOut(what="openvino int8", why="needs --allow int8"),
            LeftOut(what="execution mode parallel", why="the graph is one chain of operators"),
        ],
        worth=[
            Worth(choice="provider", before="cpu", after="openvino", factor=1.11),
            Worth(choice="precision", before="float32", after="bfloat16", factor=1.83),
            Worth(choice="batch", before="1", after="8", factor=0.97),
            Worth(choice="threads", before="2", after="1", factor=None, why="the time had run out"),
        ],
        command=f"loadgen-generic run {options}",
        cm_command="cm run script --tags=app,loadgen,generic,loadgen-generic,python,_openvino "
        "--modelpath=resnet50.onnx --precision=bfloat16 --quiet",
        config_file=str(directory / "tuned.json"),
        file=str(directory / "tune.json"),
    )


def _candidate(
    number: int, place: int, family: tuple[str, float, float | None, float, str], latency: bool
) -> TunedCandidate:
    name, speed, error, agreement, stage = family
    provider, _, precision = name.partition(" ")
    speed *= 1 - 0.13 * place if number > 1 else 0.9
    value = 17.4e6 / speed if latency else 57.3 * speed
    timed = stage not in ("refused", "failed")
    why = {"refused": "an error of 0.94 where 0.05 is allowed", "failed": "it does not start"}
    settings = {
        "execution_provider": provider,
        "precision": precision.partition(",")[0],
        "runner": "threadpool",
        "concurrency": 1 + place % 2,
        "intra_op_threads": 2 - place % 2,
        "batch_size": 2**place,
    }
    final = timed and stage == "final" and (place == 0 or number == 1)
    return TunedCandidate(
        number=number,
        family=name,
        settings=settings,
        words=f"threadpool, {1 + place % 2} x {2 - place % 2} threads, batch {2**place}",
        stage=("final" if final else "short" if place else "longer") if timed else stage,  # type: ignore[arg-type]
        value=value if timed else None,
        low=0.99 * value if final else None,
        high=1.012 * value if final else None,
        p99_ns=int(1.3e9 / speed) if timed else None,
        verified=None if stage == "failed" else timed,
        max_abs_error=error,
        max_rel_error=error,
        min_cosine=None if error is None else 1 - error / 100,
        top_1_agreement=None if error is None else agreement,
        memory_bytes=int(410e6 + 3e7 * place) if timed else None,
        load_s=0.31 + 0.4 * (provider == "openvino") if timed else None,
        why=why.get(stage, ""),
        on_front=timed and place == 0,
    )
