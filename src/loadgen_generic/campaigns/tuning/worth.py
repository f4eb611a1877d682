"""What each choice of the winner brings: the way from the default to it, one choice at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from loadgen_generic.campaigns.tuning.setting import Setting
from loadgen_generic.campaigns.tuning.story import Story
from loadgen_generic.campaigns.tuning.trial import Tried
from loadgen_generic.results.tuning import Worth

__all__ = ["Rung", "rungs", "worths"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One choice on the way.

    Attributes:
        choice, before, after: in words.
        setting: with this choice and all before it made as the winner has them.
    """

    choice: str
    before: str
    after: str
    setting: Setting


def rungs(story: Story, default: Setting, winner: Setting) -> list[Rung]:
    """From the default to the winner; what both have alike is passed over."""
    way = [*_families(story, default, winner)]
    now = way[-1].setting if way else default
    return [*way, *_layouts(now, winner), *_choices(story, now, winner)]


def _families(story: Story, default: Setting, winner: Setting) -> Iterator[Rung]:
    first, last = story.families[default.family], story.families[winner.family]
    if first == last:
        return
    between = next(
        (
            each
            for each in story.right
            if each.provider == last.provider
            and each.precision == first.precision
            and not each.quantized
        ),
        None,
    )
    moved = replace(default, family=last.name, choices=_default_choices(story, last.name))
    if between is None or between in (first, last):
        yield Rung(_what_differs(first.name, last.name), first.name, last.name, moved)
        return
    half = replace(default, family=between.name, choices=_default_choices(story, between.name))
    yield Rung("provider", first.provider, last.provider, half)
    yield Rung("precision", first.precision, last.precision, moved)


def _what_differs(before: str, after: str) -> str:
    provider, _, rest = before.partition(" ")
    other, _, more = after.partition(" ")
    if rest == more:
        return "provider"
    if provider != other:
        return "provider and precision"
    return "precision" if rest.split(",")[0] != more.split(",")[0] else "graph optimisation"


def _default_choices(story: Story, name: str) -> tuple[tuple[str, object], ...]:
    return tuple((each.option, each.values[0]) for each in story.families[name].choices)


def _layouts(now: Setting, winner: Setting) -> Iterator[Rung]:
    before, after = now.layout, winner.layout
    if before.batch_size != after.batch_size:
        layout = replace(before, batch_size=after.batch_size)
        now = replace(now, layout=layout)
        yield Rung("batch", str(before.batch_size), str(after.batch_size), now)
    if replace(before, batch_size=after.batch_size) != after:
        was, became = (f"{e.runner} {e.workers} x {e.intra_op_threads}" for e in (before, after))
        yield Rung("runner, workers x threads", was, became, replace(now, layout=after))


def _choices(story: Story, now: Setting, winner: Setting) -> Iterator[Rung]:
    now = replace(now, layout=winner.layout, choices=_default_choices(story, winner.family))
    for at, (option, value) in enumerate(winner.choices):
        was = now.choices[at][1]
        if was != value:
            choices = (*winner.choices[: at + 1], *now.choices[at + 1 :])
            now = replace(now, choices=choices)
            yield Rung(option.replace("_", " "), str(was), str(value), now)


def worths(story: Story, default: Tried, way: list[Rung]) -> list[Worth]:
    """What each choice made of the one before it, by the short trials."""
    before, found = _short_value(story, default), []
    known = {each.setting: each for each in story.tried}
    for rung in way:
        at = known.get(rung.setting)
        value = _short_value(story, at) if at is not None else None
        why = ""
        if value is None:
            why = at.failed or "no trial passed" if at is not None else "the budget was used up"
        elif before is None:
            why = "what was before it was not measured"
        factor = story.times(value, before) if value and before else None
        found.append(
            Worth(choice=rung.choice, before=rung.before, after=rung.after, factor=factor, why=why)
        )
        before = value
    return found


def _short_value(story: Story, each: Tried) -> float | None:
    short = each.of("screen", "search", "worth")
    return story.objective.value([e for e in short if not e["full"]], full=False)
