"""The keys of LoadGen's configuration files.

Source: LoadGen's ``TestSettings::FromConfig`` (mlcommons-loadgen 6.0.17), each key tried out.
LoadGen reads a number wherever it can: ``1e3`` for a whole number is 1, ``010`` is 8, ``-1`` is
2^64 - 1, 7.5 ms of Server latency are 7, and a key that it does not know is as if it were not
there. So the kind, the range and the use of each key stand here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ANY", "KEYS", "Key", "value_error"]

ANY = "*"
_STREAMS_AND_SERVER = ("SingleStream", "MultiStream", "Server")
_DAY_MS = 86_400_000
_COUNT = 2**40
_LARGEST = 2**64 - 1
_WHOLE = re.compile(r"(0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?|[0-9]+\.")


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        kind: ``whole``, ``number``, or ``flag`` (0 or 1).
        least, most: the range of values, both included.
        unit: of the value.
        scenarios: where LoadGen looks at it; empty means everywhere.
        files: the kinds of file where LoadGen, or this harness, heeds it.
        instead: what to do where it is not heeded.
    """

    kind: str
    least: float = 0
    most: float = _COUNT
    unit: str = ""
    scenarios: tuple[str, ...] = ()
    files: tuple[str, ...] = ("user_conf", "audit")
    instead: str = ""


_SEED = Key(
    "whole",
    most=_LARGEST,
    files=(),
    instead="LoadGen heeds it in its built-in mlperf.conf alone; use --seed.",
)
_TEST05 = Key(
    "whole", most=_LARGEST, files=(), instead="LoadGen heeds it in its built-in mlperf.conf alone."
)
_TOKENS = Key(
    "whole", files=(), instead="It is about tokens, which this harness does not tell LoadGen of."
)
_AUDIT = ("audit",)

KEYS = {
    "min_duration": Key("whole", most=_DAY_MS, unit="ms"),
    "max_duration": Key("whole", most=_DAY_MS, unit="ms"),
    "min_query_count": Key("whole", least=1),
    "max_query_count": Key("whole"),
    "target_qps": Key(
        "number", least=1e-9, most=1e9, unit="samples/s", scenarios=("Server", "Offline")
    ),
    "target_latency": Key(
        "number", least=1e-6, most=3.6e6, unit="ms", scenarios=_STREAMS_AND_SERVER
    ),
    "target_latency_percentile": Key(
        # A share, such as 0.99, would be accepted as 0.99 %.
        "number",
        least=1,
        most=99.9999,
        unit="%",
        scenarios=_STREAMS_AND_SERVER,
    ),
    "samples_per_query": Key("whole", least=1, most=2**20, scenarios=("MultiStream",)),
    "coalesce_queries": Key("flag", scenarios=("Server",)),
    "max_async_queries": Key("whole", most=2**31 - 1, scenarios=("Server",)),
    "performance_sample_count_override": Key("whole"),
    "accuracy_sample_count_override": Key(
        "whole", files=(), instead="Use --distinct_samples for a smaller accuracy run."
    ),
    "performance_issue_unique": Key("flag"),
    "performance_issue_same": Key("flag"),
    "performance_issue_same_index": Key("whole"),
    "sample_concatenate_permutation": Key("flag"),
    "print_timestamps": Key("flag"),
    # 2 is a performance run; another mode is another run than the harness has prepared.
    "mode": Key("whole", least=2, most=2, files=_AUDIT, instead="Use --mode."),
    "accuracy_log_rng_seed": Key(
        "whole", most=_LARGEST, files=_AUDIT, instead="It belongs into an --audit file."
    ),
    "accuracy_log_sampling_target": Key(
        "whole", files=_AUDIT, instead="It belongs into an --audit file."
    ),
    "accuracy_log_probability": Key(
        "number",
        files=(),
        instead="LoadGen heeds it in its built-in mlperf.conf alone; "
        "accuracy_log_sampling_target does the same by number.",
    ),
    "qsl_rng_seed": _SEED,
    "sample_index_rng_seed": _SEED,
    "schedule_rng_seed": _SEED,
    "test05": _TEST05,
    "test05_qsl_rng_seed": _TEST05,
    "test05_sample_index_rng_seed": _TEST05,
    "test05_schedule_rng_seed": _TEST05,
    "use_token_latencies": _TOKENS,
    "infer_token_latencies": _TOKENS,
    "token_latency_scaling_factor": _TOKENS,
    "ttft_latency": _TOKENS,
    "tpot_latency": _TOKENS,
    "target_duration": Key(
        "whole", files=(), instead="LoadGen heeds it nowhere; use min_duration."
    ),
}


def value_error(name: str, scenario: str, text: str) -> str:
    """What is wrong with a value of a key; empty if LoadGen reads it as it is meant."""
    key = KEYS[name]
    unit = f" {key.unit}" if key.unit else ""
    if key.kind == "flag":
        return "" if text in ("0", "1") else f"{name} is 0 or 1, not {text}"
    # Of this key alone the kind depends on the scenario.
    bound = name == "target_latency" and scenario in ("Server", ANY)
    if key.kind == "whole" or bound:
        if not _WHOLE.fullmatch(text):
            where = " in Server (--target_latency_ms takes fractions)" if bound else ""
            what = unit and f" of{unit}"
            return f"{name} is a whole number{what}{where}, in decimal digits, not {text}"
        value: float = int(text, 0)
    else:
        if not _NUMBER.fullmatch(text):
            return f"{name} is a number{unit and ' of' + unit}, not {text}"
        value = float(text)
    if not key.least <= value <= key.most:
        if name == "target_latency_percentile" and 0 < value < 1:
            return f"{name} is in %, so {text} should be {100 * value:g}"
        if key.least == key.most:
            return f"{name} has to be {key.least} here, not {text}"
        return f"{name} is from {key.least:.12g} to {key.most:.12g}{unit}, not {text}"
    return ""
