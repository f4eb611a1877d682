"""The words of a verdict, explained in one line each."""

from __future__ import annotations

import re

__all__ = ["GLOSSARY", "explain"]

# Term: (what in a verdict calls for it, what it means).
GLOSSARY: dict[str, tuple[str, str]] = {
    "INVALID": (
        r"INVALID",
        "a condition of the MLPerf rules was missed, so the number is not one to publish",
    ),
    "minimum duration": (
        r"takes at least",
        "the shortest test that counts (--loadgen_duration_sec; MLPerf asks for 10 minutes)",
    ),
    "query": (
        r"quer(y|ies)",
        (
            "what LoadGen issues at once: one sample in SingleStream and Server, several in "
            "MultiStream, all of them in Offline"
        ),
    ),
    "sample": (r"samples?\b", "one input of the model, and the answer to it"),
    "minimum query count": (
        r"fewest allowed",
        "the fewest queries that count (--min_query_count)",
    ),
    "percentile": (
        r"percentile",
        "the 90th percentile of latency is the time within which 90 % of queries are answered",
    ),
    "early stopping": (
        r"too few to be sure",
        (
            "the rule that says how many queries make a percentile 99 % certain: 64 for the 90th, "
            "662 for the 99th, 6,636 for the 99.9th, and more with each query over the bound"
        ),
    ),
    "latency bound": (
        r"took longer than|against [\d.]+ (s|ms|us|ns)\b|over the bound",
        (
            "Server: the time that the percentile of latency has to stay within "
            "(--target_latency_ms), counted from when a query was due"
        ),
    ),
    "target QPS": (
        r"they came at|queries came at|queries a second",
        "Server: how many queries a second come on average, at random times (--target_qps)",
    ),
    "expected QPS": (
        r"were expected",
        (
            "the throughput from which LoadGen computes how many queries to prepare "
            "(--loadgen_expected_qps); it changes the length of a test, not its speed"
        ),
    ),
    "maximum query count": (
        r"max_query_count",
        "where a test stops, whatever it lacks (--max_query_count)",
    ),
    "precision": (
        r"\b(tf32|bfloat16|float16|int8)\b",
        (
            "the numbers that the computation uses (--precision): float32 keeps 24 binary digits, "
            "tf32 and float16 11, bfloat16 8; int8 is whole numbers from -128 to 127"
        ),
    ),
    "card": (r"\b\d+ cards?\b", "a device with memory of its own, such as a GPU (--devices)"),
    "where samples start": (
        r"samples (from (pinned )?host|in device) memory",
        (
            "where samples are when the clock starts (--data_location): host memory is what a "
            "user pays, pinned is read by the GPU directly, device is the GPU's own"
        ),
    ),
    "trace": (r"its trace", "LoadGen's log of when each sample came and was answered (--trace)"),
}


def explain(verdict: str) -> dict[str, str]:
    """The terms that a verdict uses, and what they mean; none for a valid one."""
    if not verdict.startswith("INVALID"):
        return {}
    return {term: text for term, (sign, text) in GLOSSARY.items() if re.search(sign, verdict)}
