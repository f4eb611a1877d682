"""What ``tune`` found, as part of a result."""

from __future__ import annotations

from typing import Any, Literal

from loadgen_generic.results.record import Record

__all__ = ["LeftOut", "TunedCandidate", "Tuning", "Worth"]


class LeftOut(Record):
    """What was not tried, and why, in words.

    Attributes:
        what: such as ``openvino float16`` or ``execution mode parallel``.
    """

    what: str
    why: str


class TunedCandidate(Record):
    """One configuration that was looked at.

    Attributes:
        number: from 1, in the order in which they were first looked at; 1 is the default.
        family: provider and precision in words, such as ``openvino bfloat16``; candidates of
            one family compute the same but for the order of sums, and were verified together.
        settings: as options of a run.
        words: the settings for a table.
        stage: how far it came. ``refused``: its answers are wrong, so it was not timed;
            ``failed``: it did not run; ``short`` and ``longer``: timed by trials of this
            length; ``final``: confirmed by tests of full length.
        value: of the metric, or the highest load within the bound; the median where there are
            several. Null where nothing was timed.
        low, high: of the values of the final tests; in a search for a load, the highest that
            passed and the lowest that did not. Null where there is none.
        p99_ns: 99th percentile of latency in the test that ``value`` is of.
        verified: whether the answers of its family are right; null where that was not asked,
            since the model has none to compare.
        max_abs_error, max_rel_error, min_cosine, top_1_agreement: of its family, over all
            outputs, the worst of each; see :class:`OutputComparison`.
        accuracy: top-1 of its family on the labels of the samples that were compared.
        memory_bytes: highest resident memory of the measured process and its workers.
        load_s: what making the sessions took.
        why: why it was refused or failed, or was not followed further; empty otherwise.
        on_front: no other verified candidate is both faster and nearer to the right answers.
    """

    number: int
    family: str
    settings: dict[str, Any]
    words: str
    stage: Literal["refused", "failed", "short", "longer", "final"]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p99_ns: int | None = None
    verified: bool | None = None
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    min_cosine: float | None = None
    top_1_agreement: float | None = None
    accuracy: float | None = None
    memory_bytes: int | None = None
    load_s: float | None = None
    why: str = ""
    on_front: bool = False


class Worth(Record):
    """What one choice of the winner brings, by short trials that go from the default to it.

    Attributes:
        choice: in words: ``provider``, ``precision``, ``threads``, ``batch``, ...
        before, after: what was chosen in the default and in the winner.
        factor: how much faster it made the one before; more than 1 is faster, also where the
            metric is a latency. Null where it was not measured, ``why`` says why.
    """

    choice: str
    before: str
    after: str
    factor: float | None
    why: str = ""


class Tuning(Record):
    """What ``tune`` found; the rest of the result is the winner's last test of full length.

    Attributes:
        sentence: the answer in plain words.
        objective: what was tuned for, such as ``samples/s in Offline`` or ``queries/s in
            Server within 20 ms at the 99th percentile``.
        unit: of every ``value``.
        higher_is_better: whether large values are good ones.
        winner: its number; 1 where the default is the answer.
        default: always 1.
        gain: how many times as fast as the default the winner is; 1 where it is the default,
            null where the default has no valid value.
        noise: by which share ``gain`` may be wrong: how far it varied from round to round of the
            final tests, the worst of five rounds apart, or how exactly a highest load is known.
            A winner has to beat the default by more.
        spread: how far full tests of one configuration, the winner or the default, lay apart,
            as a share of its value; a machine that is faster at times is among it.
        tolerance: by what answers were judged, in words.
        samples_verified: compared in each family.
        disturbed: how many trials other programs disturbed.
        trials: of all kinds.
        budget_s, used_s: of the search; what a killed command lost is not among it.
        command, cm_command: run the winner again, for a shell.
        config_file: the winner's options, as ``run --config`` takes them.
        file: path of ``tune.json``.
    """

    sentence: str
    objective: str
    unit: str
    higher_is_better: bool
    winner: int
    default: int = 1
    gain: float | None
    noise: float
    spread: float
    tolerance: str
    samples_verified: int
    disturbed: int
    trials: int
    budget_s: float
    used_s: float
    candidates: list[TunedCandidate]
    left_out: list[LeftOut]
    worth: list[Worth]
    command: str
    cm_command: str
    config_file: str
    file: str

    @property
    def bounds_a_load(self) -> bool:
        """Whether values are the highest loads within a bound of latency."""
        return self.unit in ("queries/s", "samples/query")

    @property
    def reached(self) -> float | None:
        """The winner's value."""
        return next((e.value for e in self.candidates if e.number == self.winner), None)
