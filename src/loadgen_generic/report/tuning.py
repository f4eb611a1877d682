"""What ``tune`` found, as tables and sentences, the same wherever it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from loadgen_generic.results.tuning import TunedCandidate, Tuning, Worth
from loadgen_generic.wording import format_measured, format_value

__all__ = [
    "TIMED",
    "best_first",
    "candidate_table",
    "error_in_words",
    "gained",
    "named",
    "those_that_matter",
    "tuning_rows",
    "value_in_words",
    "worth_in_words",
]

_USUAL = 0.01
_MIB = 2**20
_PAST_TIMING = ("refused", "failed")
# How a value came about, by the stage of its candidate.
TIMED = {"short": "short trial", "longer": "longer trial", "final": "full length"}


def best_first(found: Tuning) -> list[TunedCandidate]:
    """The winner, all others that were timed by their values, then the refused and the failed."""

    def place(each: TunedCandidate) -> tuple[bool, int, float]:
        late = _PAST_TIMING.index(each.stage) + 1 if each.stage in _PAST_TIMING else 0
        value = each.value or 0.0
        return each.number != found.winner, late, -value if found.higher_is_better else value

    return sorted(found.candidates, key=place)


def those_that_matter(found: Tuning) -> list[TunedCandidate]:
    """Default, winner, finalists, and of each family the best or what became of it."""
    families: set[str] = set()
    kept = []
    for each in best_first(found):
        first = each.family not in families
        families.add(each.family)
        if first or each.stage == "final" or each.number in (found.winner, found.default):
            kept.append(each)
    return kept


def candidate_table(
    found: Tuning, candidates: Sequence[TunedCandidate], columns: Sequence[str] = ()
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of columns and a row for each candidate; columns without any content are left out.

    Args:
        columns: which; empty for all.
    """
    cells = {name: [_CELLS[name](each, found) for each in candidates] for name in columns or _CELLS}
    filled = {name: column for name, column in cells.items() if any(column)}
    return list(filled), list(zip(*filled.values(), strict=True))


def named(each: TunedCandidate, found: Tuning) -> str:
    """``default``, ``winner``, both or neither."""
    names = {"winner": found.winner, "default": found.default}
    return ", ".join(name for name, number in names.items() if number == each.number)


def value_in_words(value: float | None, found: Tuning) -> str:
    """With the digits that tests of full length support; samples in a query are whole."""
    if value is None:
        return ""
    if found.unit == "samples/query":
        return format_value(value, found.unit)
    return format_measured(value, found.unit, max(found.spread, _USUAL))


def error_in_words(each: TunedCandidate) -> str:
    """The worst absolute error of its family; none where a value is no finite number."""
    if each.max_abs_error is not None:
        return f"{each.max_abs_error:.2g}"
    return "" if each.verified is None else "none"


def gained(found: Tuning) -> str:
    """What the winner is against the default, and what is mere noise."""
    if found.gain is None:
        return "not known: the default has no valid result"
    noise, apart = (f"{100 * share:.2g} %" for share in (found.noise, found.spread))
    if found.winner == found.default:
        return f"none: nothing beat the default by more than the noise of {noise}"
    factor = format_measured(found.gain, "", max(found.noise, _USUAL))
    return (
        f"{factor} times as fast as the default, to within {noise}; full tests of the same lay "
        f"up to {apart} apart"
    )


def worth_in_words(each: Worth) -> str:
    if each.factor is None:
        return f"{each.choice} not measured" + f" ({each.why})" * bool(each.why)
    return f"{each.choice} x{format_measured(each.factor, '', _USUAL)}"


def tuning_rows(found: Tuning) -> Iterator[tuple[str, str]]:
    """What was asked and what was done, as names and words."""
    yield "tuned for", found.objective
    yield "gain", gained(found)
    yield "tolerance", found.tolerance
    if found.samples_verified:
        yield "compared", f"{found.samples_verified:,} samples in each family"
    yield "trials", f"{found.trials:,}" + f", {found.disturbed:,} disturbed" * bool(found.disturbed)
    budget = format_value(1e9 * found.budget_s, "ns")
    yield "time used", f"{_time(1e9 * found.used_s)} of {budget}"


def _settled(each: TunedCandidate) -> str:
    """Whether its answers are right, or what became of it."""
    if each.stage in _PAST_TIMING:
        return f"{each.stage}: {each.why}" if each.why else each.stage
    told = {True: "verified", False: "wrong", None: "not compared"}[each.verified]
    return f"{told}; {each.why}" if each.why else told


def _between(each: TunedCandidate, found: Tuning) -> str:
    if each.low is None or each.high is None:
        return ""
    low, high = (value_in_words(value, found) for value in (each.low, each.high))
    unit = high[high.rfind(" ") :]
    return f"{low.removesuffix(unit)} to {high}"


def _time(ns: float | None) -> str:
    return "" if ns is None else format_measured(ns, "ns")


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.4g} %"


_CELLS: dict[str, Callable[[TunedCandidate, Tuning], str]] = {
    "number": lambda each, _: str(each.number),
    "which": named,
    "family": lambda each, _: each.family,
    "settings": lambda each, _: each.words,
    "result": lambda each, found: value_in_words(each.value, found),
    "answers": lambda each, _: _settled(each),
    "worst error": lambda each, _: error_in_words(each),
    "top-1 agreement": lambda each, _: _share(each.top_1_agreement),
    "top-1 accuracy": lambda each, _: _share(each.accuracy),
    "low to high": _between,
    "p99": lambda each, _: _time(each.p99_ns),
    "memory": lambda each, _: (
        "" if each.memory_bytes is None else format_measured(each.memory_bytes / _MIB, "MiB")
    ),
    "start-up": lambda each, _: _time(None if each.load_s is None else 1e9 * each.load_s),
    "timed by": lambda each, _: TIMED.get(each.stage, "not timed"),
}
