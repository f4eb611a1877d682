"""What the journal of a tuning says of a finished trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from loadgen_generic.campaigns.fixing import layout_of
from loadgen_generic.campaigns.space import facts_shown
from loadgen_generic.campaigns.strategy import Attempt
from loadgen_generic.campaigns.tuning.family import Family
from loadgen_generic.campaigns.tuning.objective import Objective
from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.campaigns.tuning.trial import Entry, facts_of
from loadgen_generic.errors import RunError
from loadgen_generic.results.result import Result
from loadgen_generic.runners.layout import Layout

__all__ = ["judged"]


def judged(
    result: Result, attempt: Attempt, objective: Objective, families: Mapping[str, Family]
) -> Entry:
    """The entry of a trial.

    Args:
        families: by name, the default's first.

    Raises:
        RunError: the default's own answers are wrong.
    """
    told: Entry = {**attempt.about, "full": attempt.full, **facts_of(result)}
    verification = result.verification
    wrong = "" if verification is None or verification.passed else verification.sentence
    if told["phase"] == "check":
        if wrong and told["family"] == next(iter(families)):
            raise RunError(f"the default itself gives wrong answers, so nothing is tuned: {wrong}")
        return told | {"passed": not wrong, "why": wrong}
    told |= objective.judge(result, attempt.full)
    told["unit"] = objective.unit
    told["rate"] = result.samples_completed / max(result.duration_s, 1e-9)
    if wrong:
        told |= {"passed": False, "wrong": True, "why": wrong}
    if "setting" not in told:
        effective = result.config.effective
        told["setting"] = _chosen(result, families[told["family"]]).as_json()
        told["facts"] = asdict(facts_shown(effective))
        told["bound"] = objective.bound(effective)
    return told


def _chosen(result: Result, family: Family) -> Setting:
    """The setting that was chosen automatically."""
    layout = layout_of(result)
    chosen = Layout(
        layout["runner"],
        layout["concurrency"],
        layout.get("intra_op_threads", 1),
        layout["batch_size"],
        len(result.config.effective["devices"]),
    )
    return Setting(family.name, chosen, tuple((c.option, c.values[0]) for c in family.choices))
