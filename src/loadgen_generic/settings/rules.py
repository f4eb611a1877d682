"""What ``--official`` allows, by LoadGen's own mlperf.conf."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen_generic.conf import ANY, Setting, builtin_conf
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError
from loadgen_generic.settings.conf_values import ConfValues
from loadgen_generic.settings.counts import duration_sec

__all__ = ["check_official", "checked_sample_set", "official_count"]

# mlperf.conf has a line for each model, and says in a comment what the lines stand for.
OFFLINE_SAMPLES = 24576
# What cuts a test short or changes what is issued; none is in mlperf.conf.
_NOT_OFFICIAL = (
    "max_duration",
    "max_query_count",
    "performance_issue_unique",
    "performance_issue_same",
)


def official_count(config: BenchmarkConfig, rules: Mapping[str, float]) -> int:
    """Fewest queries by the rules, of which Offline's are samples."""
    model = config.mlperf_model or ANY
    if config.scenario == "Offline":
        line = builtin_conf().lookup(model, "Offline", "min_query_count")
        return int(line.text) if line is not None else OFFLINE_SAMPLES
    return int(rules["min_query_count"])


def check_official(
    asked: BenchmarkConfig,
    config: BenchmarkConfig,
    rules: Mapping[str, float],
    given: Mapping[str, Setting],
) -> None:
    """Refuse what makes a test less than the rules ask for.

    Args:
        asked: the request.
        config: the same with LoadGen's files filled in.
        rules: LoadGen's settings by its built-in mlperf.conf.
        given: the lines of ``--user_conf``, by key.

    Raises:
        RequestError: naming the flag or the line, and the rule.
    """
    if config.mode == "accuracy":
        return

    def refuse(flag: str, key: str, rule: str) -> RequestError:
        value = getattr(asked, flag, None)
        if value is None and key in given:
            line = given[key]
            return RequestError(
                f"line {line.line}: {line.name} = {line.text} is not official: {rule}.",
                flag="user_conf",
                value=asked.user_conf,
            )
        return RequestError(
            f"this is not official: {rule}.",
            flag=flag,
            value=value,
            remedy=f"Leave out --{flag} or --official.",
        )

    seconds = rules["min_duration_ms"] / 1000
    if duration_sec(config) < seconds:
        by_count = asked.loadgen_duration_sec is None and asked.samples is not None
        flag = "samples" if by_count else "loadgen_duration_sec"
        raise refuse(flag, "min_duration", f"a test takes at least {seconds:g} s")
    fewest = official_count(config, rules)
    if (config.min_query_count or fewest) < fewest:
        what = "samples" if config.scenario == "Offline" else "queries"
        raise refuse("min_query_count", "min_query_count", f"it takes at least {fewest} {what}")
    if config.max_query_count:
        raise refuse("max_query_count", "max_query_count", "nothing may cut a test short")
    for key in _NOT_OFFICIAL:
        if key in given and given[key].text != "0":
            raise refuse("", key, "the rules have no such setting")
    prefix = {"SingleStream": "single_stream", "MultiStream": "multi_stream", "Server": "server"}
    if config.scenario in prefix:
        percent = round(100 * rules[f"{prefix[config.scenario]}_target_latency_percentile"], 9)
        if config.target_latency_percentile != percent:
            flag = "target_latency_percentile"
            raise refuse(flag, flag, f"the percentile is {percent:g}")
    size = int(rules["multi_stream_samples_per_query"])
    if config.scenario == "MultiStream" and config.samples_per_query != size:
        raise refuse("samples_per_query", "samples_per_query", f"a query has {size} samples")
    bound = rules["server_target_latency_ns"] / 1e6
    named = config.scenario == "Server" and config.mlperf_model is not None
    if named and (config.target_latency_ms or 0) > bound:
        rule = f"{config.mlperf_model} has to answer within {bound:g} ms"
        raise refuse("target_latency_ms", "target_latency", rule)


def checked_sample_set(
    config: BenchmarkConfig, conf: ConfValues | None, in_memory: int
) -> tuple[Mapping[str, float], list[str]]:
    """LoadGen's settings with a performance sample set that memory holds, and notes.

    LoadGen would have more samples loaded than there is room for.

    Raises:
        RequestError: with ``--official``, too few samples.
    """
    if conf is None:
        return {}, []
    name = "performance_sample_count_override"
    wanted = int(conf.values[name])
    if not in_memory or wanted <= in_memory:
        return conf.values, []
    if config.mode == "accuracy":
        return {**conf.values, name: 0}, []
    flag = "samples_in_memory" if config.dataset is not None else "distinct_samples"
    if config.official:
        raise RequestError(
            f"not with {in_memory} samples in memory: LoadGen's settings for "
            f"{config.mlperf_model or 'this test'} have it issue {wanted} different ones.",
            flag="official",
            remedy=f"Give --{flag} {wanted} or more"
            + (" and a dataset that has them." if config.dataset is not None else "."),
        )
    note = (
        f"{in_memory} different samples are issued, where LoadGen's settings have {wanted}; "
        f"--{flag} {wanted} would make it as many"
    )
    return {**conf.values, name: 0}, [note]
