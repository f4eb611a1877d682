"""Which provider each operator of a model landed on.

ONNX Runtime gives the operators that a provider does not have to the next one, in the end to the
CPU's, and tells of it only who asks for a record of it. The operators are those of the graph that
the providers were offered, after the optimisations that know no provider. Keeping the record costs
no load time that could be measured (ResNet-50 under OpenVINO).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnxruntime as ort

from loadgen_generic.errors import RunError
from loadgen_generic.provider_facts import facts_of

__all__ = ["Placement", "placement_of", "recording"]

_ENTRY = "session.record_ep_graph_assignment_info"
_MOST_NAMED = 6


@dataclass(frozen=True, slots=True)
class Placement:
    """Where operators landed.

    Attributes:
        asked: the provider that was asked for.
        operators: how many landed on each provider.
        elsewhere: how many of each type did not land on the one that was asked for.
    """

    asked: str
    operators: Mapping[str, int] = field(default_factory=dict)
    elsewhere: Mapping[str, int] = field(default_factory=dict)

    def effective(self) -> dict[str, object]:
        """For a result; empty where nothing is known."""
        if not self.operators:
            return {}
        return {"operators": dict(self.operators), "operators_elsewhere": dict(self.elsewhere)}

    def check(self) -> None:
        """Raise RunError where the provider took nothing: that is another provider's run under
        its name. So it is under OpenVINO with a device that does not exist."""
        if self.operators and self.asked not in self.operators:
            raise RunError(
                f"--ep {self.asked}: it starts, but takes no operator of the model: all "
                f"{sum(self.operators.values())} would run on {' and '.join(self.operators)}. "
                "Measure it there, or accept that with --allow_fallback."
            )

    def note(self) -> str:
        """For the user; empty where all landed as asked."""
        short = facts_of(self.asked).short
        if not self.operators:
            return (
                f"onnxruntime {ort.__version__} does not tell which operators run on {short} and "
                "which on the CPU; newer versions do"
            )
        if not self.elsewhere:
            return ""
        others = [name for name in self.operators if name != self.asked]
        named = [f"{kind} {count}" for kind, count in list(self.elsewhere.items())[:_MOST_NAMED]]
        if len(self.elsewhere) > _MOST_NAMED:
            named.append(f"{len(self.elsewhere) - _MOST_NAMED} more types")
        count, total = sum(self.elsewhere.values()), sum(self.operators.values())
        return (
            f"{count} of {total} operators run on {' and '.join(others)}, not on {short}: "
            f"{', '.join(named)}"
        )


def recording() -> dict[str, str]:
    """The session's entries that have it keep the record; none where this ONNX Runtime has no
    such thing."""
    return {_ENTRY: "1"} if _can_tell() else {}


def placement_of(session: ort.InferenceSession, asked: str) -> Placement:
    """What the record says; nothing where this ONNX Runtime keeps none.

    Args:
        session: opened with the entries of :func:`recording`.
    """
    if not _can_tell():
        return Placement(asked)
    operators: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        kinds = [node.op_type for node in part.get_nodes()]
        operators[part.ep_name] += len(kinds)
        if part.ep_name != asked:
            elsewhere.update(kinds)
    return Placement(asked, dict(operators.most_common()), dict(elsewhere.most_common()))


def _can_tell() -> bool:
    return hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
