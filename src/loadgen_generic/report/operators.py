"""The operators that take the time, as lines for a terminal."""

from __future__ import annotations

from loadgen_generic.results.profile import OperatorTime, Profile
from loadgen_generic.wording import format_measured

__all__ = ["operator_lines", "slowest_kinds"]

_MOST_OF_THE_TIME = 0.9
_MOST_KINDS = 8
_SPREAD = 0.05  # of one kind's time, between two passes


def operator_lines(profile: Profile) -> list[str]:
    """A heading, and a table of the slowest kinds of operators: name, nodes, share, time."""
    whole = format_measured(profile.inference_us * 1e3, "ns", _SPREAD)
    each = "sample" if profile.batch_size == 1 else f"batch of {profile.batch_size} samples"
    kinds = slowest_kinds(profile)
    rows = [_row(kind, profile.inferences) for kind in kinds]
    rest = profile.operators[len(kinds) :]
    if rest:
        nodes, share = sum(kind.nodes for kind in rest), sum(kind.share for kind in rest)
        total_us = sum(kind.total_us for kind in rest)
        rows.append(
            (
                f"{len(rest)} other kind" + "s" * (len(rest) != 1),
                *_figures(nodes, share, total_us, profile.inferences),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"time of the operators, of {whole} for a {each} under ONNX Runtime's profiler:",
        *(
            f"  {name:<{widths[0]}}  {nodes:>{widths[1]}}  {share:>{widths[2]}}  {time:>{widths[3]}}"
            for name, nodes, share, time in rows
        ),
    ]


def slowest_kinds(profile: Profile) -> list[OperatorTime]:
    """Those that together take nine tenths of the time, eight at most."""
    kept: list[OperatorTime] = []
    for kind in profile.operators:
        if len(kept) == _MOST_KINDS or sum(each.share for each in kept) >= _MOST_OF_THE_TIME:
            break
        kept.append(kind)
    return kept


def _row(kind: OperatorTime, inferences: int) -> tuple[str, str, str, str]:
    return kind.name, *_figures(kind.nodes, kind.share, kind.total_us, inferences)


def _figures(nodes: int, share: float, total_us: float, inferences: int) -> tuple[str, str, str]:
    return (
        f"{nodes} node" + "s" * (nodes != 1),
        f"{100 * share:.1f} %",
        format_measured(1e3 * total_us / inferences, "ns", _SPREAD),
    )
