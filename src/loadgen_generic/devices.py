"""Which cards a run uses, by their numbers: a card is a device with memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.provider_facts import facts_of

__all__ = ["blame_card", "cards_asked_for", "planned_cards", "runs_on_cards"]


def runs_on_cards(config: BenchmarkConfig) -> bool:
    """Whether inferences run on numbered cards here; the fake backend plays some where they are
    named."""
    if config.runner == "ray":
        return False
    if config.backend == "fake":
        return config.devices is not None
    return facts_of(config.execution_provider).cards


def cards_asked_for(config: BenchmarkConfig) -> int:
    """How many cards at least, as far as that is known without looking for them."""
    if not runs_on_cards(config):
        return 0
    return 1 if config.devices == "all" else len((config.devices or "0").split(","))


def planned_cards(config: BenchmarkConfig, present: Callable[[], Sequence[str]]) -> tuple[int, ...]:
    """The numbers of the cards of a run, in the order that the user gave; empty where it runs on
    none.

    Args:
        present: the names of the cards that are there, by number. It is asked only where cards
            are named; the first is taken unseen, since a session says more of what it lacks.

    Raises:
        RequestError: a card that is not there is named.
        RunError: there is no card, or nobody can say which there are, and the run may not fall
            back to the processor.
    """
    if not runs_on_cards(config):
        return ()
    if config.devices is None:
        return (0,)
    try:
        names = present()
        if not names:
            raise RunError(
                f"--devices {config.devices}: no GPU is visible to this process. "
                "CUDA_VISIBLE_DEVICES, where it is set, says which are."
            )
    except RunError:
        if config.allow_fallback:
            return (0,)
        raise
    if config.devices == "all":
        return tuple(range(len(names)))
    numbers = tuple(int(number) for number in config.devices.split(","))
    absent = [str(number) for number in numbers if number >= len(names)]
    if absent:
        there = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise RequestError(
            f"there is no GPU {', '.join(absent)}. There are: {there}.",
            flag="devices",
            value=config.devices,
            remedy="Name some of these, or all.",
        )
    return numbers


def blame_card(error: BaseException, card: int) -> BaseException:
    """The same error, for the user of several cards, with the card on which it happened."""
    text = f"on GPU {card}: {str(error).strip() or type(error).__name__}"
    if isinstance(error, RequestError):
        return error
    if isinstance(error, RunError):
        blamed: BaseException = RunError(text)
    else:
        blamed = MemoryError(text) if isinstance(error, MemoryError) else RuntimeError(text)
    blamed.__cause__ = error
    return blamed
