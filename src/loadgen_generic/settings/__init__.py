"""The numbers of one LoadGen test, and where they come from.

Each comes from the first of these that says something: a flag, ``--user_conf``, LoadGen's
mlperf.conf (``--mlperf_model``, ``--official``), and what this harness takes otherwise.
"""

from __future__ import annotations

from loadgen_generic.settings.conf_values import ConfValues
from loadgen_generic.settings.counts import (
    DEFAULT_PERCENTILE,
    DEFAULT_SAMPLES_PER_QUERY,
    duration_sec,
    samples_per_query,
)
from loadgen_generic.settings.files import (
    check_files,
    logs_answers,
    model_of,
    rate_given,
    user_settings,
    with_conf,
)
from loadgen_generic.settings.plan import TestSettings, needs_probe, plan_settings
from loadgen_generic.settings.server import SERVER_LEAST_LATENCY_SEC

__all__ = [
    "DEFAULT_PERCENTILE",
    "DEFAULT_SAMPLES_PER_QUERY",
    "SERVER_LEAST_LATENCY_SEC",
    "ConfValues",
    "TestSettings",
    "check_files",
    "duration_sec",
    "logs_answers",
    "model_of",
    "needs_probe",
    "plan_settings",
    "rate_given",
    "samples_per_query",
    "user_settings",
    "with_conf",
]
