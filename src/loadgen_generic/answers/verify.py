"""Compares what the measured runner answers with what is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadgen_generic.answers.collect import collect
from loadgen_generic.answers.compare import (
    LEAST_COSINE,
    Difference,
    Tolerance,
    compare,
    tolerance_of,
)
from loadgen_generic.answers.reference import Right
from loadgen_generic.answers.split import top_1
from loadgen_generic.answers.spotcheck import Kept
from loadgen_generic.results.result import OutputComparison, Verification
from loadgen_generic.seams import Known, Runner, SampleLibrary
from loadgen_generic.tensors import Array, SamplePlan

__all__ = ["DEFAULT_SAMPLES", "Question", "spread", "verify"]

DEFAULT_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared, and how strictly.

    Attributes:
        against: ``data``, ``reference``, or the path of another model.
        outputs: names of the outputs.
        scenario, per_query: how the samples are issued.
        absolute, relative: tolerances that the user gave.
        by_direction: the right answers are of another precision.
        computed: the type that the measured answers were computed in, where it is coarser than
            float32.
        tolerance: the type that the user judges by, in place of it.
    """

    against: str
    outputs: Sequence[str]
    scenario: str
    per_query: int
    absolute: float | None = None
    relative: float | None = None
    by_direction: bool = False
    computed: str = ""
    tolerance: str = ""


def spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` distinct indices below ``count``, from the first to the last."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


def verify(
    question: Question,
    right: Right,
    runner: Runner,
    samples: SampleLibrary,
    source: Known,
    plan: SamplePlan,
    indices: Sequence[int],
    beat: Callable[[], None],
    kept: Kept | None = None,
) -> Verification:
    """Ask the runner for these samples and compare its answers with the right ones.

    Samples are loaded as many at a time as may be in memory.

    Args:
        right: asked for each sample while it is loaded.
        runner: the one that was measured; up and idle.
        beat: called after each inference, as a sign of life.
        kept: answers given during the test, to be compared as well.

    Raises:
        Whatever the runner reports.
    """
    tally = _Tally(question, kept)
    given = {} if kept is None else kept.by_index
    needed = sorted({*indices, *given})
    for at in range(0, len(needed), samples.resident()):
        chunk = needed[at : at + samples.resident()]
        samples.load(chunk)
        asked = sorted({*indices} & {*chunk})
        now: dict[int, list[Array]] = {}
        if asked:
            found = collect(runner, plan, asked, question.scenario, question.per_query, beat)
            now = dict(zip(asked, found, strict=True))
        for index in chunk:
            wanted = right.answer(index)
            beat()
            if wanted is None:
                continue
            if index in now:
                tally.add(index, now[index], wanted, source.label(index))
            for measured in given.get(index, []):
                tally.add_kept(index, measured, wanted)
        samples.unload(chunk)
    return tally.verification()


@dataclass(slots=True)
class _Column:
    """One output, over the samples so far."""

    element_type: str = ""
    tolerance: Tolerance = field(default_factory=lambda: Tolerance(0, 0))
    mismatches: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    cosines: list[float] = field(default_factory=list)
    top_1: list[bool] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        self.mismatches += bool(difference.what)
        self.max_abs = max(self.max_abs, difference.max_abs)
        self.max_rel = max(self.max_rel, difference.max_rel)
        if difference.cosine is not None:
            self.cosines.append(difference.cosine)
        if difference.top_1 is not None:
            self.top_1.append(difference.top_1)

    def record(self, name: str, judged_by: str) -> OutputComparison:
        return OutputComparison(
            name=name,
            element_type=self.element_type,
            criterion=_criterion(self.tolerance) + judged_by,
            mismatches=self.mismatches,
            max_abs_error=_finite(self.max_abs),
            max_rel_error=_finite(self.max_rel),
            min_cosine=min(self.cosines, default=None),
            top_1_agreement=sum(self.top_1) / len(self.top_1) if self.top_1 else None,
        )


class _Tally:
    def __init__(self, question: Question, kept: Kept | None) -> None:
        self._question, self._kept = question, kept
        self._columns = [_Column() for _ in question.outputs]
        self._samples = 0
        self._failed: set[int] = set()
        self._spot_checked = self._spot_failed = 0
        self._worst = (0.0, -1, "", "", "")  # excess, sample, output, when, in words
        self._hits: list[bool] = []

    def add(
        self, index: int, measured: Sequence[Array], wanted: Sequence[Array], label: object
    ) -> None:
        self._samples += 1
        named = top_1(measured) if label is not None else None
        if named is not None:
            self._hits.append(named == label)
        if not self._agree(index, measured, wanted, ""):
            self._failed.add(index)

    def add_kept(self, index: int, measured: Sequence[Array], wanted: Sequence[Array]) -> None:
        """An answer given during the test."""
        self._spot_checked += 1
        self._spot_failed += not self._agree(index, measured, wanted, " during the test")

    def _agree(
        self, index: int, measured: Sequence[Array], wanted: Sequence[Array], when: str
    ) -> bool:
        question, agree = self._question, True
        rows = zip(question.outputs, self._columns, measured, wanted, strict=True)
        for name, column, one, other in rows:
            # An answer can be no better than the coarser of both types.
            tolerance = max(
                (
                    tolerance_of(
                        each.dtype,
                        question.absolute,
                        question.relative,
                        question.by_direction,
                        question.tolerance or question.computed,
                    )
                    for each in (one, other)
                ),
                key=lambda t: t.relative,
            )
            column.element_type, column.tolerance = one.dtype.name, tolerance
            difference = compare(one, other, tolerance)
            column.add(difference)
            if difference.what:
                agree = False
                if self._worst[1] < 0 or difference.excess > self._worst[0]:
                    self._worst = (difference.excess, index, name, when, difference.what)
        return agree

    def verification(self) -> Verification:
        _, sample, output, _, _ = self._worst
        kept = self._kept
        return Verification(
            against=self._question.against,
            passed=not self._failed and not self._spot_failed,
            samples=self._samples,
            failed_samples=len(self._failed),
            worst_sample=sample,
            worst_output=output,
            sentence=self._sentence(),
            outputs=[
                column.record(name, self._judged_by())
                for name, column in zip(self._question.outputs, self._columns, strict=True)
            ],
            accuracy=sum(self._hits) / len(self._hits) if self._hits else None,
            spot_answered=None if kept is None else kept.answered,
            spot_checked=None if kept is None else self._spot_checked,
            spot_failed=None if kept is None else self._spot_failed,
        )

    def _judged_by(self) -> str:
        """What decided on the tolerance, as the end of a criterion."""
        question = self._question
        words = [f"by --tolerance {question.tolerance}"] * bool(question.tolerance)
        words += [f"computed in {question.computed}"] * bool(question.computed)
        return f" ({', '.join(words)})" if words else ""

    def _sentence(self) -> str:
        against = {
            "data": "the expected outputs of the data",
            "reference": "the reference (CPU, not optimised)",
        }.get(self._question.against, self._question.against)
        if not self._failed and not self._spot_failed:
            agree = f"verified: {self._samples} samples agree with {against}"
            return agree if self._kept is None else f"{agree}; {self._spot_passed(self._kept)}"
        _, sample, output, when, what = self._worst
        wrong, but = [], ""
        if self._failed:
            wrong.append(f"{len(self._failed)} of {self._samples} samples")
        if self._spot_failed:
            wrong.append(
                f"{self._spot_failed} of {self._spot_checked} answers kept during the test"
            )
            if not self._failed:
                but = f", though all {self._samples} samples agree when asked after it"
        return (
            f"verification failed: {' and '.join(wrong)} differ from {against}{but}; "
            f"the worst is sample {sample}, output {output}{when}: {what}"
        )

    def _spot_passed(self, kept: Kept) -> str:
        if self._spot_checked:
            return (
                f"{self._spot_checked} of the {kept.answered} answers given during the test were "
                "compared and agree too"
            )
        why = "no expected outputs came with those kept"
        if not kept.by_index:
            why = "--verify_fraction drew none of them, a larger one would"
        return f"of the {kept.answered} answers given during the test none was compared: {why}"


def _criterion(tolerance: Tolerance) -> str:
    if tolerance.by_direction:
        return f"cosine similarity of at least {LEAST_COSINE:g}, same top-1"
    if not tolerance.absolute and not tolerance.relative:
        return "equal"
    of = " x largest value" if tolerance.scaled else ""
    return f"error of at most {tolerance.absolute:g}{of} + {tolerance.relative:g} x value"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
