"""What optuna proposes to try next. Its study lies in an SQLite file beside the journal.

The journal is what counts. Before each proposal the study is made to agree with it, so a trial
that was killed is marked as failed, and a study that was deleted is made anew.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from loadgen_generic.errors import RequestError

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna import Trial
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        IntDistribution,
    )
    from optuna.trial import FrozenTrial

    Choose = Callable[[str, CategoricalDistribution | IntDistribution], Any]

__all__ = ["Grammar", "Study", "require_optuna"]

_NAME = "layouts"
# Trials before what they showed is made use of; those of the rules are among them.
_STARTUP = 4
# What takes the machine down with it must not stop the search for ever.
_MOST_KILLS = 2
_SEEDS = 2**32
# A trial is followed further if it is among this share of the best of its length, in percent.
_FOLLOWED = 25.0

T = TypeVar("T", bound=Hashable)


class Grammar(Protocol[T]):
    """How what is searched for is spelled as optuna's parameters."""

    def walk(self, choose: Choose) -> T:
        """Make one by choices, each within what the ones before it leave open."""
        ...

    def values(self, each: T) -> Mapping[str, Any]:
        """All parameters by which it would be chosen."""
        ...

    def read(self, params: Mapping[str, Any]) -> T | None:
        """None where the command was killed while the parameters were being chosen."""
        ...


def require_optuna(mode: str, otherwise: str) -> None:
    """Look for it, before anything is written, and have it print errors alone.

    Args:
        otherwise: what to do without it, in words.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise RequestError(
            "a search for the best layout needs optuna, which is not installed.",
            flag="mode",
            value=mode,
            remedy=f'Install it with pip install "loadgen-generic[search]", or {otherwise}',
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


class Study(Generic[T]):
    """The study of one search.

    Args:
        path: of the SQLite file.
        seed: the same trials with the same values lead to the same proposals.
        maximize: whether large values are good ones.

    Raises:
        RequestError: the file is no study.
    """

    def __init__(self, path: Path, seed: int, maximize: bool) -> None:
        self._seed = seed
        self._study = _open(path, maximize)

    def follow(
        self,
        grammar: Grammar[T],
        measured: Mapping[T, float | None],
        pruned: Mapping[T, float] | None = None,
    ) -> None:
        """Make the study agree with the journal.

        Args:
            measured: what is finished; None for what failed.
            pruned: what was not followed further, and the value that it had reached.
        """
        from optuna.trial import TrialState

        pruned, known = pruned or {}, set()
        for trial in self._trials():
            each = grammar.read(trial.params)
            value = measured.get(each) if each else None
            if trial.state.is_finished():
                if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                    continue
            elif value is not None:
                self._report(trial, value)
                self._study.tell(trial.number, value)
            elif each is not None and each in pruned:
                self._report(trial, pruned[each])
                self._study.tell(trial.number, state=TrialState.PRUNED)
            else:
                self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            known.add(each)
        for each, value in measured.items():
            if value is not None and each not in known:
                self._add(grammar, each, value=value, intermediate_values={0: value})
        for each, reached in pruned.items():
            if each not in known:
                values = {0: reached}
                self._add(grammar, each, state=TrialState.PRUNED, intermediate_values=values)

    def _add(self, grammar: Grammar[T], each: T, **facts: Any) -> None:
        from optuna.trial import create_trial

        params, ranges = _described(grammar, each)
        self._study.add_trial(create_trial(params=params, distributions=ranges, **facts))

    def begin(self, grammar: Grammar[T], each: T) -> None:
        """Note a trial that was chosen without a proposal."""
        from optuna.trial import TrialState

        self._add(grammar, each, state=TrialState.RUNNING)

    def propose(self, grammar: Grammar[T], tried: Collection[T]) -> T:
        """What looks best; it may have been tried before."""
        from optuna.samplers import TPESampler

        # Seeded anew each time: a search that was killed proposes again what was under way.
        seed = (self._seed + len(tried)) % _SEEDS
        self._study.sampler = TPESampler(seed=seed, n_startup_trials=_STARTUP)
        return grammar.walk(_suggest(self._study.ask()))

    def promising(self, value: float) -> bool:
        """Whether a short trial with this value is worth a longer one: optuna's percentile
        pruner, over the first values of all trials so far."""
        import optuna

        self._study.pruner = optuna.pruners.PercentilePruner(_FOLLOWED, n_startup_trials=_STARTUP)
        trial = self._study.ask()
        trial.report(value, step=0)
        prune = trial.should_prune()
        self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return not prune

    def lost(self, grammar: Grammar[T]) -> set[T]:
        """What was under way whenever the command was killed, several times."""
        from optuna.trial import TrialState

        failed = Counter(
            grammar.read(trial.params) for trial in self._trials() if trial.state == TrialState.FAIL
        )
        return {each for each, kills in failed.items() if each and kills >= _MOST_KILLS}

    def _report(self, trial: FrozenTrial, value: float) -> None:
        import optuna

        optuna.trial.Trial(self._study, trial._trial_id).report(value, step=0)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)


def _described(grammar: Grammar[T], each: T) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """It as optuna's parameters, and what each was chosen from."""
    values = grammar.values(each)
    params: dict[str, Any] = {}
    ranges: dict[str, BaseDistribution] = {}

    def choose(name: str, among: CategoricalDistribution | IntDistribution) -> Any:
        params[name], ranges[name] = values[name], among
        return values[name]

    grammar.walk(choose)
    return params, ranges


def _open(path: Path, maximize: bool) -> OptunaStudy:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        storage = optuna.storages.RDBStorage(
            # The path goes past the URL, in which some characters mean something else, and no
            # connection stays open when its work is done.
            "sqlite:///search.db",
            engine_kwargs={"creator": lambda: sqlite3.connect(path), "poolclass": NullPool},
        )
        return optuna.create_study(
            storage=storage,
            study_name=_NAME,
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
    except (SQLAlchemyError, RuntimeError) as error:
        raise RequestError(
            f"{path} is not a study that optuna can read ({type(error).__name__}).",
            remedy="Delete it: the trials are in the journal, and it is made anew from them.",
        ) from None


def _suggest(trial: Trial) -> Choose:
    from optuna.distributions import CategoricalDistribution

    def choose(name: str, among: CategoricalDistribution | IntDistribution) -> Any:
        if isinstance(among, CategoricalDistribution):
            return trial.suggest_categorical(name, among.choices)
        return trial.suggest_int(name, among.low, among.high, log=among.log)

    return choose
