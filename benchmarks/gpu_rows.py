"""The rows of the GPU benchmark, in groups that are finished one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gpu_cases import Setting, check_case, ours_case, raw_case, server_case, verify_case
from lab import Case
from suite import Figure, Row, Suite

__all__ = ["BATCHES", "MODELS", "QUICK_BATCHES", "QUICK_MODELS", "Group", "groups"]

MODELS = ("resnet50", "mlp", "bert")
BATCHES = (1, 8, 64, 256, 1024)
QUICK_MODELS, QUICK_BATCHES = ("mlp", "bert-tiny"), (1, 8)
# TF32 on and off is asked of one model; the others show what the type of the model does.
_PRECISIONS = {"resnet50": ("float32", "tf32", "float16"), "mlp": ("float32",)}
_OTHERS = ("float32", "float16")
# MLPerf's bounds of the data centre where it has one. On a CPU a sample takes longer than that.
_SERVER_MS = {"resnet50": 15.0, "bert": 130.0, "bert-384": 130.0}
_SERVER_MS_ELSE, _CPU_TIMES = 5.0, 20.0
_MULTISTREAM = 8
# The 99th percentile takes 662 queries of 8 samples.
_MULTISTREAM_FLAGS = {"target_latency_percentile": 90}
_LEAST_COSINE = 0.999
_NS = 1000.0


@dataclass(frozen=True)
class Group:
    """Rows whose cases run side by side, round by round.

    Attributes:
        rounds: how often at most; 0 for as often as asked.
    """

    key: str
    suite: Suite
    rounds: int = 0

    @property
    def cases(self) -> list[Case]:
        return list(self.suite.cases.values())

    def only(self, chosen: Callable[[str], bool]) -> Group | None:
        """The group with the rows whose key is chosen and the cases that they need; None if there
        are no such rows."""
        rows = [row for row in self.suite.rows if chosen(row.key)]
        needed = set[str]().union(*(row.cases for row in rows))
        cases = {key: case for key, case in self.suite.cases.items() if key in needed}
        return replace(self, suite=Suite(cases, rows)) if rows else None


def groups(
    models: Sequence[str],
    batches: Sequence[int],
    locations: Sequence[str],
    provider: str,
    device: int,
    options: dict[str, str],
) -> Iterator[Group]:
    """All groups, in the order in which they are run: what is asked first comes first.

    The kinds of row go around the settings, so that a session that ends early has the same of
    every model.
    """
    settings = [
        Setting(model, precision, provider, device, location, options)
        for location in locations
        for model in models
        for precision in _PRECISIONS.get(model, _OTHERS)
        if not (provider == "cpu" and precision == "tf32")
    ]
    for make in (_verify, _offline, _single_stream, _server, _multi_stream):
        for setting in settings:
            yield make(setting, batches)


def _verify(setting: Setting, batches: Sequence[int]) -> Group:
    """Once: right answers do not become more right."""
    key = f"verify/{setting.name}"
    suite, mine = Suite(), verify_case(f"{key}/ours", setting)
    suite.compare(f"{key}/ours", mine, [], "mismatches", "samples", 0, lower=True, judge="value")
    raw = check_case(f"{key}/raw", setting)
    suite.add(raw)
    suite.rows.append(
        Row(f"{key}/raw", Figure(raw.key, "cosine"), (), "cosine", "least", _LEAST_COSINE)
    )
    return Group(key, suite, rounds=1)


def _offline(setting: Setting, batches: Sequence[int]) -> Group:
    key, suite = f"offline/{setting.name}", Suite()
    mine = [
        ours_case(
            f"{key}/ours/batch-{batch}", setting, "Offline", {"batch_size": batch}, f"{key}/ours"
        )
        for batch in batches
    ]
    raw = [
        raw_case(f"{key}/raw/batch-{batch}", setting, "throughput", batch, f"{key}/raw")
        for batch in batches
    ]
    pieces = raw_case(f"{key}/pieces", setting, "pieces")
    for one, other in zip(mine, raw, strict=True):
        suite.add(one, other)
    suite.add(pieces)

    def figures(cases: Sequence[Case]) -> tuple[Figure, ...]:
        return tuple(Figure(case.key, "samples_per_sec") for case in cases)

    first, *rest = figures(mine)

    def best(name: str, against: tuple[Figure, ...], wanted: float) -> Row:
        return Row(
            f"{key}/{name}",
            first,
            against,
            "samples/s",
            wanted=_wanted(setting, wanted),
            or_ours=tuple(rest),
            paired=True,
        )

    suite.rows.append(best("best", figures(raw), 0.98))
    suite.rows.append(best("upstream-pieces", figures([pieces]), 10.0))
    suite.rows += [
        Row(f"{key}/batch-{batch}", one, (other,), "samples/s", paired=True)
        for batch, one, other in zip(batches, figures(mine), figures(raw), strict=True)
    ]
    return Group(key, suite)


def _single_stream(setting: Setting, batches: Sequence[int]) -> Group:
    return _latency(setting, "SingleStream", {}, 1, 5 * _NS)


def _multi_stream(setting: Setting, batches: Sequence[int]) -> Group:
    flags: dict[str, object] = {"samples_per_query": _MULTISTREAM, **_MULTISTREAM_FLAGS}
    return _latency(setting, "MultiStream", flags, _MULTISTREAM, None)


def _latency(
    setting: Setting, scenario: str, flags: dict[str, object], batch: int, wanted: float | None
) -> Group:
    key = f"{scenario.lower()}/{setting.name}"
    suite, mine = Suite(), ours_case(f"{key}/ours", setting, scenario, flags)
    raw = raw_case(f"{key}/raw", setting, "latency", batch)
    suite.add(mine, raw)
    suite.rows.append(
        Row(
            f"{key}/bare-call-p50",
            Figure(mine.key, "p50"),
            (Figure(raw.key, "p50"),),
            "ns",
            "excess",
            _wanted(setting, wanted),
            lower=True,
            paired=True,
        )
    )
    return Group(key, suite)


def _server(setting: Setting, batches: Sequence[int]) -> Group:
    """Once: it holds the rate or it does not."""
    key = f"server/{setting.name}"
    bound = _SERVER_MS.get(setting.model, _SERVER_MS_ELSE)
    if setting.provider == "cpu":
        bound *= _CPU_TIMES
    suite, mine = Suite(), server_case(f"{key}/ours", setting, bound)
    suite.compare(f"{key}/p99", mine, [], "p99", "ns", 1e6 * bound, lower=True, judge="value")
    return Group(key, suite, rounds=1)


def _wanted(setting: Setting, wanted: float | None) -> float | None:
    """What is wanted on a GPU; on the CPU provider the rows only show."""
    return wanted if setting.provider == "cuda" else None
