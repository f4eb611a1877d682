"""What TEST01 and TEST04 ask for, looked up in LoadGen's logs.

Conditions: ``compliance/TEST01`` and ``compliance/TEST04`` of mlcommons/inference. Where their
scripts are more lenient than what they are for, this is not: every byte of an answer counts
rather than its first element, an answer without a counterpart fails, and TEST04 has the wider
margin for short latencies alone. What passes here passes there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.errors import RunError
from loadgen_generic.results.build import LOADGEN_LOGS
from loadgen_generic.results.detail_log import HEADLINES, DetailLog, read_detail_log
from loadgen_generic.wording import format_beside, format_measured

__all__ = ["Check", "answers_in", "check_test01", "check_test04"]

_MARGIN = 0.10
# In ns: of latencies this short the system's own disturbances are a larger part.
_WIDE_MARGIN = 0.20
_SHORT_NS = {"SingleStream": 200_000, "MultiStream": 1_600_000}


@dataclass(frozen=True, slots=True)
class Check:
    """One condition.

    Attributes:
        test: ``TEST01`` or ``TEST04``.
        about: ``answers`` or ``speed``.
        sentence: what was found, in plain words.
        remedy: what to do if it failed; empty if it passed.
    """

    test: str
    about: str
    passed: bool
    sentence: str
    remedy: str = ""


def check_test01(performance: Path, accuracy: Path, audit: Path) -> tuple[Check, Check]:
    """The answers of a performance run are those of the accuracy run, at the same speed.

    Args:
        performance, accuracy, audit: directories with LoadGen's logs.

    Raises:
        RunError: a log is missing or damaged.
    """
    return _answers(accuracy, audit), _speed("TEST01", performance, audit)


def check_test04(performance: Path, audit: Path) -> tuple[Check]:
    """The same sample over and over is not answered faster than different ones.

    Raises:
        RunError: a log is missing or damaged.
    """
    return (_speed("TEST04", performance, audit),)


def answers_in(path: Path) -> Iterator[tuple[int, str]]:
    """Sample index and answer, as hexadecimal digits, of each line of LoadGen's accuracy log.

    One line at a time: of a large dataset the log is larger than memory.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                text = line.strip().rstrip(",")
                if text in ("", "[", "]"):
                    continue
                try:
                    entry = json.loads(text.removeprefix("[").removesuffix("]"))
                    yield int(entry["qsl_idx"]), str(entry["data"])
                except (ValueError, KeyError, TypeError):
                    raise RunError(f"{path} is damaged in line {number}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read LoadGen's accuracy log {path}: {error}") from None


def _answers(accuracy: Path, audit: Path) -> Check:
    logged: dict[int, set[str]] = {}
    count = 0
    for index, data in answers_in(audit / LOADGEN_LOGS["accuracy"]):
        logged.setdefault(index, set()).add(data)
        count += 1
    missing, differ = set(logged), set[int]()
    for index, data in answers_in(accuracy / LOADGEN_LOGS["accuracy"]):
        if index in logged:
            missing.discard(index)
            if logged[index] != {data}:
                differ.add(index)
    if not logged:
        return Check(
            "TEST01",
            "answers",
            False,
            "LoadGen logged no answer in the performance run, so nothing shows that they are right.",
            "Make a longer run, or raise accuracy_log_sampling_target in the audit settings.",
        )
    if missing:
        return Check(
            "TEST01",
            "answers",
            False,
            f"the accuracy run has no answer for {len(missing)} samples that the performance run "
            f"answered, such as sample {min(missing)}.",
            "Make both runs from the same data: begin anew in another --output_dir.",
        )
    if differ:
        return Check(
            "TEST01",
            "answers",
            False,
            f"the answers to {len(differ)} of {len(logged)} samples are not those of the accuracy "
            f"run, such as to sample {min(differ)}.",
            "If they differ in the last digits alone, their rounding depends on the batch or on "
            "threads: --batch_size 1 --intraop 1 gives every sample the same way each time.",
        )
    return Check(
        "TEST01",
        "answers",
        True,
        f"{count} answers to {len(logged)} samples are those of the accuracy run, byte by byte.",
    )


def _speed(test: str, performance: Path, audit: Path) -> Check:
    reference, tested = (
        read_detail_log(each / LOADGEN_LOGS["detail"]) for each in (performance, audit)
    )

    def failed(sentence: str, remedy: str) -> Check:
        return Check(test, "speed", False, sentence, remedy)

    for name, log in (("performance", reference), (test, tested)):
        if not log.valid or log.errors:
            reasons = [each.rstrip(".") for each in (*log.errors, *log.invalid_reasons)]
            why = "; ".join(reasons) or "LoadGen gave no reason"
            return failed(
                f"the {name} run is INVALID: {why}.",
                "Look at the verdict of that run, then begin anew in another --output_dir.",
            )
    if reference.scenario != tested.scenario:
        return failed(
            f"the scenarios differ: {reference.scenario} and {tested.scenario}.",
            "Begin anew in another --output_dir.",
        )
    bound = "effective_target_latency_ns"
    if reference.scenario == "Server" and reference.values[bound] != tested.values[bound]:
        return failed(
            "the bounds of latency differ.", "Give --target_latency_ms, or set it in no audit file."
        )
    return _compared(test, reference, tested)


def _compared(test: str, reference: DetailLog, tested: DetailLog) -> Check:
    headline = HEADLINES[reference.scenario]
    before, now = (float(log.values.get(headline.key, 0)) for log in (reference, tested))
    if not before or not now:
        sentence = f"LoadGen gave no {headline.label} to compare."
        return Check(test, "speed", False, sentence, "Make longer runs.")
    short = before <= _SHORT_NS.get(reference.scenario, -1)
    margin = _WIDE_MARGIN if short else _MARGIN
    throughput = headline.higher_is_better
    if test == "TEST01":
        ratio = now / before
        more, less = ("higher", "lower") if throughput else ("longer", "shorter")
        passed = 1 - margin <= ratio <= 1 + margin
        allowed = f"{100 * margin:.0f} % either way are allowed"
        remedy = (
            "Something else slowed one of the runs: look at their doubts in result.json, and "
            "begin anew in another --output_dir on an idle machine, with longer runs."
        )
    else:
        ratio = now / before if throughput else before / now
        more, less = "faster", "slower"
        passed = ratio < 1 + margin
        allowed = f"it may be {100 * margin:.0f} % faster at most"
        remedy = (
            "Either something slowed the performance run (look at its doubts in result.json), or a "
            "repeated sample is answered from a cache, which MLPerf forbids."
        )
    apart = format_beside(100 * abs(ratio - 1), 100 * margin, "%")
    sentence = (
        f"{format_measured(now, headline.unit)} against {format_measured(before, headline.unit)}: "
        f"{apart} {more if ratio >= 1 else less} than in the performance "
        f"run; {allowed}."
    )
    return Check(test, "speed", passed, sentence, "" if passed else remedy)
