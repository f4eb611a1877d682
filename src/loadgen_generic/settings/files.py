"""What LoadGen's files say, where no flag says otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.conf import ANY, Conf, Setting, check_model, model_names, read_conf
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.early_stopping import min_queries
from loadgen_generic.errors import RequestError
from loadgen_generic.settings.conf_values import ConfValues
from loadgen_generic.settings.counts import DEFAULT_PERCENTILE, samples_per_query
from loadgen_generic.settings.rules import check_official, official_count

__all__ = [
    "check_files",
    "logs_answers",
    "model_of",
    "rate_given",
    "user_settings",
    "with_conf",
]

_SIZES = ("loadgen_duration_sec", "min_query_count")


@dataclass(frozen=True, slots=True)
class _Said:
    """What the files say for a flag; ``by`` names the line or the file."""

    flag: str
    key: str
    value: float
    by: str
    by_user: bool


def model_of(config: BenchmarkConfig) -> str:
    """The model whose lines LoadGen heeds."""
    return config.mlperf_model or ANY


def user_settings(config: BenchmarkConfig) -> Mapping[str, Setting]:
    """The lines of ``--user_conf`` that have an effect in this test.

    Raises:
        RequestError: a line that LoadGen would misread or pass by.
    """
    if config.user_conf is None:
        return {}
    conf = read_conf(Path(config.user_conf), "user_conf", model_names())
    return conf.given(model_of(config), config.scenario)


def rate_given(config: BenchmarkConfig) -> bool:
    """Whether the length of the test follows from a rate that the user gave."""
    if config.loadgen_expected_qps is not None:
        return True
    return bool({"target_qps", "target_latency"} & user_settings(config).keys())


def check_files(config: BenchmarkConfig) -> tuple[str, ...]:
    """Look at LoadGen's files before anything is started.

    Returns:
        What the user should know of them.

    Raises:
        RequestError: no such model, no such file, or a line that LoadGen would misread.
    """
    notes: list[str] = []
    if config.mlperf_model is not None:
        check_model(config.mlperf_model)
    if config.user_conf is not None:
        conf = read_conf(Path(config.user_conf), "user_conf", model_names())
        hint = "" if config.mlperf_model else "; name yours with --mlperf_model"
        notes += _idle(conf, model_of(config), "user_conf", hint)
    if config.audit is not None:
        conf = read_conf(Path(config.audit), "audit", model_names())
        # LoadGen itself never names a model here.
        notes += _idle(conf, ANY, "audit", "; LoadGen heeds lines for * alone")
        given = conf.given(ANY, config.scenario).values()
        changes = ", ".join(f"{each.key} = {each.text}" for each in given)
        notes.append(
            f"--audit {config.audit} goes to LoadGen: {changes or 'nothing for this test'}"
        )
    return tuple(notes)


def logs_answers(config: BenchmarkConfig) -> bool:
    """Whether ``--audit`` has LoadGen log some of the answers of a performance run."""
    if config.audit is None:
        return False
    conf = read_conf(Path(config.audit), "audit", model_names())
    target = conf.given(ANY, config.scenario).get("accuracy_log_sampling_target")
    return target is not None and int(target.text, 0) > 0


def _idle(conf: Conf, model: str, flag: str, hint: str) -> list[str]:
    idle = conf.of_other_models(model)
    if not idle:
        return []
    names = ", ".join(dict.fromkeys(each.model for each in idle))
    return [f"--{flag}: the lines for {names} have no effect{hint}"]


def with_conf(
    config: BenchmarkConfig, conf: ConfValues | None
) -> tuple[BenchmarkConfig, tuple[str, ...]]:
    """The request with what LoadGen's files say filled in where no flag was given.

    Returns:
        The request, and a note for each flag that wins over a file.

    Raises:
        RequestError: with ``--official``, something that the rules do not allow.
    """
    if conf is None:
        return config, ()
    if conf.values["use_token_latencies"] or conf.values["infer_token_latencies"]:
        raise RequestError(
            "this model is measured by its tokens, of which this harness does not tell LoadGen.",
            flag="mlperf_model",
            value=config.mlperf_model,
            remedy="Leave it out to measure whole answers.",
        )
    filled: dict[str, float] = {}
    notes: list[str] = []
    if conf.built_in and config.seed:
        notes.append(
            f"--seed {config.seed} is that of the inputs; LoadGen's generators have the seeds of "
            "its mlperf.conf"
        )
    for said in _said(config, conf):
        flag = said.flag
        counted = flag in _SIZES and config.samples is not None
        if flag == "target_qps" and config.target_qps is None and config.loadgen_expected_qps:
            flag = "loadgen_expected_qps"
        given = getattr(config, flag)
        if given is not None and given != said.value:
            notes.append(f"--{flag} {given:g} wins over {said.by}")
        elif given is None and counted:
            notes.append(f"--samples {config.samples} wins over {said.by}")
        elif given is None:
            filled[flag] = said.value
    fewest, most = (
        filled.get(name, getattr(config, name)) for name in ("min_query_count", "max_query_count")
    )
    if fewest and most and fewest > most:
        if "min_query_count" in conf.given:
            raise _contradiction(config, conf.given["min_query_count"], most)
        filled["min_query_count"] = most
    changed = config.model_copy(update=filled)
    if config.official:
        check_official(config, changed, conf.rules, conf.given)
    return changed, tuple(notes)


def _contradiction(config: BenchmarkConfig, setting: Setting, most: float) -> RequestError:
    return RequestError(
        f"line {setting.line}: min_query_count = {setting.text} is more than the most that are "
        f"allowed, {most:g}.",
        flag="user_conf",
        value=config.user_conf,
    )


def _said(config: BenchmarkConfig, conf: ConfValues) -> Iterator[_Said]:
    """What the files say, in the units of the flags."""
    values, scenario = conf.values, config.scenario

    def said(flag: str, key: str, value: float, shown: str = "") -> Iterator[_Said]:
        """``shown`` names what the file is not quoted for."""
        setting = conf.given.get(key)
        if setting is not None:
            by = f"{setting.name} = {setting.text} (line {setting.line} of {config.user_conf})"
            yield _Said(flag, key, value, by, True)
        elif conf.built_in:
            by = shown or f"LoadGen's mlperf.conf ({key} = {value:g})"
            yield _Said(flag, key, value, by, False)

    percentile = config.target_latency_percentile or DEFAULT_PERCENTILE.get(scenario, 99.0)
    prefix = {"SingleStream": "single_stream", "MultiStream": "multi_stream", "Server": "server"}
    if scenario in prefix:
        share = values[f"{prefix[scenario]}_target_latency_percentile"]
        # LoadGen multiplies by 0.01, which leaves the last digits to chance.
        for each in said(
            "target_latency_percentile", "target_latency_percentile", round(100 * share, 9)
        ):
            percentile = config.target_latency_percentile or each.value
            yield each
    if config.mode != "accuracy":
        milliseconds = values["min_duration_ms"]
        shown = f"LoadGen's mlperf.conf (min_duration = {milliseconds:g})"
        yield from said("loadgen_duration_sec", "min_duration", milliseconds / 1000, shown)
        fewest, why = int(values["min_query_count"]), ""
        if "min_query_count" not in conf.given and scenario == "Offline" and config.official:
            fewest, why = official_count(config, conf.rules), "the count of the rules"
        elif "min_query_count" not in conf.given and scenario != "Offline":
            needed = min_queries(percentile / 100)
            if needed > fewest:
                fewest, why = needed, f"the {needed} queries that early stopping needs"
        yield from said("min_query_count", "min_query_count", fewest, why)
        if values["max_query_count"]:
            yield from said("max_query_count", "max_query_count", int(values["max_query_count"]))
    if scenario == "MultiStream":
        size = int(values["multi_stream_samples_per_query"])
        yield from said("samples_per_query", "samples_per_query", size)
    if scenario == "Server":
        yield from said(
            "target_latency_ms", "target_latency", values["server_target_latency_ns"] / 1e6
        )
        if "target_qps" in conf.given:
            yield from said("target_qps", "target_qps", values["server_target_qps"])
    # Of the expectations LoadGen's own file holds nothing but placeholders.
    if scenario == "Offline" and "target_qps" in conf.given:
        yield from said("loadgen_expected_qps", "target_qps", values["offline_expected_qps"])
    if scenario.endswith("Stream") and "target_latency" in conf.given:
        latency_ns = values[f"{prefix[scenario]}_expected_latency_ns"]
        size = samples_per_query(config)
        if scenario == "MultiStream" and config.samples_per_query is None:
            size = int(values["multi_stream_samples_per_query"])
        yield from said("loadgen_expected_qps", "target_latency", 1e9 * size / latency_ns)
