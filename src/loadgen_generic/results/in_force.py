"""LoadGen's settings: what it was told against what it made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loadgen_generic.results.detail_log import DetailLog
from loadgen_generic.results.result import LoadGenSetting

__all__ = ["changed_settings", "logged_settings"]

_REQUESTED, _EFFECTIVE = "requested_", "effective_"
_SCENARIOS = ("single_stream_", "multi_stream_", "server_", "offline_")
# Settings that LoadGen logs under two names.
_NAMES = {
    "expected_qps": "target_qps",
    "performance_sample_count_override": "performance_sample_count",
    "accuracy_sample_count_override": "accuracy_sample_count",
}
_DIGITS = 1e-5  # LoadGen logs six


def logged_settings(log: DetailLog) -> list[LoadGenSetting]:
    """Every setting in the log, in its order."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in log.values.items():
        for prefix in (_REQUESTED, _EFFECTIVE):
            if key.startswith(prefix):
                name = _name(key.removeprefix(prefix))
                found.setdefault(name, {})[prefix] = value
    return [
        LoadGenSetting(key=name, requested=pair.get(_REQUESTED), effective=pair.get(_EFFECTIVE))
        for name, pair in found.items()
    ]


def changed_settings(settings: Sequence[LoadGenSetting], scenario: str) -> list[str]:
    """A sentence for each setting that is not in force as it was requested."""
    return [
        f"LoadGen ran with {each.key} = {each.effective} where {each.requested} was requested"
        for each in settings
        if not _as_requested(each, scenario)
    ]


def _name(key: str) -> str:
    for scenario in _SCENARIOS:
        key = key.removeprefix(scenario)
    return _NAMES.get(key, key)


def _as_requested(setting: LoadGenSetting, scenario: str) -> bool:
    asked, made = setting.requested, setting.effective
    if asked is None or made is None or asked == made:
        return True
    if setting.key.endswith("_sample_count") and not asked:
        return True  # 0 leaves it to the sample library
    if setting.key == "min_query_count" and scenario == "Offline":
        return True  # one query that holds at least so many samples
    if isinstance(asked, str) or isinstance(made, str):
        return False
    return math.isclose(asked, made, rel_tol=_DIGITS)
