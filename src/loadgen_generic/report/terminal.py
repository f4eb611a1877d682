"""Progress, notes and the verdict on a terminal, and the same as plain lines in a log."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from loadgen_generic.progress import Phase
from loadgen_generic.report.live_line import LiveLine
from loadgen_generic.report.writing import REPORT_FILE

if TYPE_CHECKING:
    from loadgen_generic.results.result import Result, Statistics, Verification
    from loadgen_generic.telemetry.live import Glance

__all__ = ["REFRESH_PER_SEC", "TerminalObserver", "describe", "print_result"]

_PHASES = {
    Phase.STARTING: "starting",
    Phase.LOADING: "loading the model",
    Phase.CALIBRATING: "calibrating runner, workers, threads and batch",
    Phase.WARMING_UP: "warming up",
    Phase.PROBING: "probing the model's speed",
    Phase.TESTING: "testing",
    Phase.VERIFYING: "looking at the answers",
    Phase.FINISHING: "finishing",
}
_FIRST_LINE_SEC = 2.0  # of a phase, in a log
_LINE_EVERY_SEC = 10.0
_LONG_SEC = 60.0  # after which a line a minute is enough
REFRESH_PER_SEC = 1.0  # of what is live: drawing takes a processor from what is measured
_NAMES_WIDTH = 10
_SHOWN_PERCENTILES = ("p50", "p90", "p99", "p99.9")


class TerminalObserver:
    """Shows a live line where the stream is a terminal, and notes either way.

    Args:
        quiet: show nothing.
        stream: where to; standard error by default, which leaves standard output to results.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        # A terminal that cannot move its cursor is a log.
        dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown") or _is_old_console()
        self._live = not quiet and self._stream.isatty() and not dumb
        self._next_sec = 0.0  # of the phase, when the next line is due
        self._line = LiveLine(self._stream)
        self._phase: Phase | None = None

    def __enter__(self) -> TerminalObserver:  # noqa: PYI034 - Self is new in Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._line.clear()

    def note(self, text: str) -> None:
        if self._quiet:
            return
        if self._live:
            self._line.note(text)
        else:
            print(text, file=self._stream, flush=True)

    def update(self, glance: Glance) -> None:
        if not self._live:
            self._log(glance)
        elif glance.phase is not self._phase or glance.phase_sec >= self._next_sec:
            self._phase, self._next_sec = glance.phase, glance.phase_sec + 1 / REFRESH_PER_SEC
            self._show(glance)

    def _log(self, glance: Glance) -> None:
        """A line when the test starts, and now and then if anything takes long."""
        if glance.phase is not self._phase:
            self._phase, self._next_sec = glance.phase, _FIRST_LINE_SEC
            if glance.phase is Phase.TESTING:
                self.note("LoadGen test started")
        elif glance.phase_sec >= self._next_sec:
            step = _LINE_EVERY_SEC if glance.phase_sec < _LONG_SEC else _LONG_SEC
            self._next_sec = step * (glance.phase_sec // step + 1)
            self.note(describe(glance))

    def _show(self, glance: Glance) -> None:
        self._line.show(describe(glance, self._line.width))


def _is_old_console() -> bool:
    """Windows' console from before it understood control characters."""
    if os.name != "nt":
        return False
    from rich.console import Console

    return Console().legacy_windows


def describe(glance: Glance, width: int | None = None) -> str:
    """One look at a run in words.

    Args:
        width: characters on a line; what does not fit is left out from the end. None for all.
    """
    from loadgen_generic.wording import format_measured

    text = _PHASES[glance.phase]
    if glance.phase is not Phase.TESTING:
        parts = [text] if glance.phase_sec < _FIRST_LINE_SEC else [f"{text}: {_sec(glance)}"]
    else:
        parts = [f"{text}: {_sec(glance)}", f"{glance.answered:,} {glance.unit}"]
        if glance.rate is not None:
            parts.append(f"{format_measured(glance.rate, '')}/s")
        if glance.latency_ns is not None:
            parts.append(f"{glance.percentile} {format_measured(glance.latency_ns, 'ns')}")
        if glance.verdict:
            parts.append(glance.verdict)
    line = ", ".join(parts)
    while width is not None and len(line) > width and len(parts) > 1:
        parts.pop()
        line = ", ".join(parts)
    return line if width is None else line[:width]


def _sec(glance: Glance) -> str:
    return f"{glance.phase_sec:.0f} s"


def print_result(result: Result, stream: TextIO | None = None) -> None:
    """The verdict, what was measured, and where the files are."""
    from loadgen_generic.report.devices import computation_rows, computed_on, gpu_rows
    from loadgen_generic.report.operators import operator_lines
    from loadgen_generic.results.glossary import explain
    from loadgen_generic.wording import format_measured

    out = stream or sys.stdout
    effective = result.config.effective
    latency = ", ".join(
        f"{name} {format_measured(result.latency_ns[name], 'ns')}"
        for name in _SHOWN_PERCENTILES
        if name in result.latency_ns
    )
    provider = ", ".join(result.providers) or "none"
    run_by = (
        f"{effective['runner']} runner, {effective['concurrency']} worker(s), "
        f"{effective.get('intra_op_threads', '-')} intra-op thread(s) each, "
        f"batch {effective['batch_size']}, {provider}"
    )
    rows = [("result", str(result.path))]
    if (page := result.path.with_name(REPORT_FILE)).is_file():
        rows.append(("report", str(page)))
    if result.scenario != "Offline" and latency:
        rows.insert(0, ("latency", latency))
    rows[:0] = [
        ("run by", run_by),
        *([("computed on", words)] if (words := computed_on(result)) else []),
        *computation_rows(result),
        *gpu_rows(result.telemetry),
    ]
    if result.verification is not None:
        rows.insert(0, ("answers", _verified(result.verification)))
    if result.accuracy is not None and result.accuracy.outputs_file:
        rows.append(("outputs", result.accuracy.outputs_file))
    if result.statistics is not None:
        rows.append(("checked", _checked(result.statistics)))
    rows += [("doubtful", doubt) for doubt in result.doubts]
    if result.next_command:
        rows.append(("try next", result.next_command))
    print(result.verdict, file=out)
    width = max(_NAMES_WIDTH, *(len(name) + 1 for name, _ in rows))
    for name, text in rows:
        print(f"  {name + ':':<{width}} {text}", file=out)
    if result.profile is not None:
        for line in operator_lines(result.profile):
            print(f"  {line}", file=out)
    if terms := explain(result.verdict):
        print("  in other words:", file=out)
        for term, text in terms.items():
            print(f"    {term}: {text}", file=out)
    out.flush()


def _checked(found: Statistics) -> str:
    """Whether LoadGen's figures follow from its trace, and where the latencies are."""
    if not found.checked:
        return "not, see above"
    agree = "agree" if found.agree else f"DISAGREE in {len(found.differences)}"
    return (
        f"{found.checked} figures of LoadGen's {agree} with the latencies of its "
        f"{found.samples} samples, which are in {found.latencies_file}"
    )


def _verified(found: Verification) -> str:
    """The outcome, and how near the outputs are."""
    text = found.sentence
    if found.passed:
        errors = [each.max_abs_error for each in found.outputs if each.max_abs_error is not None]
        cosines = [each.min_cosine for each in found.outputs if each.min_cosine is not None]
        if errors:
            text += f"; largest error {max(errors):.3g}"
        if cosines:
            text += f", least cosine similarity {min(cosines):.6g}"
    if found.accuracy is not None:
        text += f"; top-1 {100 * found.accuracy:.4g} % of their labels"
    return text
