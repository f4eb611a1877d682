"""The table of a tuning: what became of each setting and each family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from loadgen_generic.campaigns.tuning.finals import still_in
from loadgen_generic.campaigns.tuning.runs import Runs
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.campaigns.tuning.trial import Entry, Tried
from loadgen_generic.results.tuning import TunedCandidate
from loadgen_generic.wording import format_value

__all__ = ["candidates"]

Stage = Literal["refused", "failed", "short", "longer", "final"]


def candidates(story: Story, runs: Runs) -> list[TunedCandidate]:
    """Settings that were timed, then families that were not."""
    timed = [_timed(story, runs, each) for each in story.tried]
    found = [*timed, *_not_timed(story, len(timed))]
    return [each.model_copy(update={"on_front": _on_front(story, each, found)}) for each in found]


def _timed(story: Story, runs: Runs, each: Tried) -> TunedCandidate:
    setting = each.setting
    threaded = story.facts(setting.family).threaded if story.screen(setting.family) else True
    family = story.families[setting.family]
    low, high = story.objective.limits(each.of("final"))
    shown = _shown(story, each)
    return TunedCandidate(
        number=each.number,
        family=setting.family,
        settings={**family.options, **runs.model(family), **runs.of_setting(setting, threaded)},
        words=setting.words(),
        stage=_stage(each),
        value=story.value(each),
        low=low,
        high=high,
        p99_ns=shown.get("p99_ns"),
        memory_bytes=shown.get("memory_bytes"),
        load_s=shown.get("load_s"),
        why=_why(story, each),
        **_answers(story, setting.family),
    )


def _shown(story: Story, each: Tried) -> Entry:
    """The trial that the value is of: the longest that passed."""
    passed = [entry for entry in each.entries if entry["passed"]] or each.entries
    if story.objective.varies_load:
        return max(passed, key=lambda entry: (entry["full"], entry.get("load") or 0.0))
    return max(passed, key=lambda entry: entry.get("duration_s") or 0.0)


def _stage(each: Tried) -> Stage:
    if each.failed or not still_in([each]):
        return "failed"
    if any(entry["full"] for entry in each.of("final")):
        return "final"
    return "longer" if each.of("longer") else "short"


def _why(story: Story, each: Tried) -> str:
    if each.failed:
        return each.failed
    wrong = [entry for entry in each.of("final") if entry.get("wrong") or entry.get("broken")]
    if wrong:
        return str(wrong[0]["why"])
    if story.value(each) is None:
        return str(each.entries[-1]["why"])
    screen = story.screen(each.setting.family)
    if screen is each and not each.of("final"):
        screens = [s for f in story.right if (s := story.screen(f.name)) is not None]
        top, value = story.ranked(screens)[0], story.value(each)
        share = story.times(value or 0.0, story.value(top) or 1.0)
        if story.left_behind(each.setting.family):
            return _left_behind(story, each, top, share)
    if any(entry.get("followed") is False for entry in each.entries):
        return "not among the best of the short trials"
    return ""


def _left_behind(story: Story, each: Tried, top: Tried, share: float) -> str:
    failed = [entry["load"] for entry in each.entries if "load" in entry and not entry["passed"]]
    if failed:  # what it holds was looked for no further
        return f"left behind: it does not hold {format_value(min(failed), story.objective.unit)}"
    return f"left behind: {share:.2g} x {top.setting.family} with automatic layouts"


def _not_timed(story: Story, count: int) -> list[TunedCandidate]:
    found: list[TunedCandidate] = []
    for name, family in story.families.items():
        refused = story.refused(name)
        why = refused or story.broken.get(name, "")
        if not why:
            continue
        ran = story.checks.get(name, {}).get("verification") or name in story.broken
        found.append(
            TunedCandidate(
                number=count + len(found) + 1,
                family=name,
                settings=dict(family.options),
                words="",
                stage="refused" if refused and ran else "failed",
                why=why,
                **_answers(story, name),
            )
        )
    return found


def _answers(story: Story, name: str) -> dict[str, Any]:
    """How far the answers of a family are from right ones."""
    verification = (story.checks.get(name) or {}).get("verification")
    if not verification:
        return {}
    outputs: Sequence[Mapping[str, Any]] = verification["outputs"]

    def worst(key: str, choose: Any) -> Any:
        values = [each[key] for each in outputs if each[key] is not None]
        return choose(values) if values else None

    return {
        "verified": not story.refused(name),
        "max_abs_error": worst("max_abs_error", max),
        "max_rel_error": worst("max_rel_error", max),
        "min_cosine": worst("min_cosine", min),
        "top_1_agreement": worst("top_1_agreement", min),
        "accuracy": verification["accuracy"],
    }


def _on_front(story: Story, each: TunedCandidate, others: Sequence[TunedCandidate]) -> bool:
    """Whether no other is at least as good in both speed and error and better in one."""
    if not _comparable(each):
        return False
    mine = (each.value or 0.0, each.max_abs_error or 0.0)
    for other in others:
        if other is each or not _comparable(other):
            continue
        theirs = (other.value or 0.0, other.max_abs_error or 0.0)
        faster = story.times(theirs[0], mine[0])
        if faster >= 1 and theirs[1] <= mine[1] and (faster > 1 or theirs[1] < mine[1]):
            return False
    return True


def _comparable(each: TunedCandidate) -> bool:
    right = each.verified is not False and each.stage not in ("refused", "failed")
    return right and bool(each.value)
