"""What keeps runs from being a submission, looked for before anything is written.

The official checker looks at settings and files, and lets an INVALID log pass. So the runs are
judged here: by LoadGen's verdict and ours, by their length as it was, and against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loadgen_generic.campaigns.compliance import answers_in
from loadgen_generic.campaigns.compliance.checks import Check, check_test01, check_test04
from loadgen_generic.campaigns.submission.accuracy import headline
from loadgen_generic.campaigns.submission.benchmarks import MIN_DURATION_MS, Benchmark
from loadgen_generic.campaigns.submission.gather import OneRun, Runs
from loadgen_generic.conf import ANY, builtin_conf
from loadgen_generic.errors import LoadgenGenericError

__all__ = ["Problem", "problems", "remarks"]


# LoadGen logs when a test began and ended to a millisecond each.
_CLOCK_MS = 2
_SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: scenario and run.
        what: in plain words.
        remedy: what to do.
    """

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.remedy}"


def problems(scenarios: Mapping[str, Runs], benchmark: Benchmark) -> list[Problem]:
    """Everything that keeps the runs from being a submission."""
    return [*_of_the_model(scenarios), *_of_all(scenarios, benchmark)]


def remarks(scenarios: Mapping[str, Runs]) -> list[str]:
    """What the submitter should know, though the checker accepts it."""
    found = []
    for scenario, runs in scenarios.items():
        for test in ("TEST01", "TEST04"):
            if not runs.all(test):
                found.append(
                    f"{scenario}: no {test} run; the open division does not ask for it, the "
                    "closed one does"
                )
        for run in runs.every():
            found += [f"{scenario} {run.kind}: {doubt}" for doubt in run.result.doubts]
    return found


def _of_the_model(scenarios: Mapping[str, Runs]) -> Iterator[Problem]:
    models = {run.result.model.sha256 for runs in scenarios.values() for run in runs.every()}
    if len(models) > 1:
        names = {r.result.model.path for runs in scenarios.values() for r in runs.every()}
        yield Problem(
            "all runs",
            f"they are of {len(models)} different models ({', '.join(sorted(names))}).",
            "Give --runs of one model, and make a submission of each.",
        )


def _of_all(scenarios: Mapping[str, Runs], benchmark: Benchmark) -> Iterator[Problem]:
    for scenario, runs in scenarios.items():
        missing = False
        for kind in ("performance", "accuracy"):
            if not runs.all(kind):
                missing = True
                mode = " --mode accuracy" if kind == "accuracy" else " --official"
                yield Problem(
                    scenario,
                    f"there is no {kind} run.",
                    f"Make one: loadgen-generic run MODEL --scenario {scenario}{mode}, and name "
                    "its directory with --runs as well.",
                )
        for kind, found in runs.of_kind.items():
            if len(found) > 1:
                missing = True
                where = ", ".join(str(run.directory) for run in found)
                yield Problem(
                    scenario,
                    f"there are {len(found)} {kind} runs ({where}).",
                    "Name the one to submit with --runs.",
                )
        for run in runs.every():
            yield from _of_one(run, benchmark)
        if not missing:
            yield from _together(runs)


def _of_one(run: OneRun, benchmark: Benchmark) -> Iterator[Problem]:
    where = f"{run.result.scenario} {run.kind} ({run.directory})"
    log = run.log
    if log.errors:
        yield Problem(
            where, f"LoadGen reported errors: {'; '.join(log.errors)}.", "Make the run again."
        )
    if run.result.cluster is not None and run.result.cluster.lost:
        yield Problem(
            where,
            f"{run.result.cluster.lost} of its {run.result.cluster.replicas} replicas died.",
            "Make the run again on a cluster that is whole.",
        )
    if run.kind == "accuracy":
        yield from _accuracy(run, benchmark, where)
        return
    if run.result.valid is False or not log.valid:
        reasons = run.result.invalid_reasons or log.invalid_reasons
        why = "; ".join(each.rstrip(".") for each in reasons)
        command = run.result.next_command
        yield Problem(
            where,
            f"it is INVALID: {why or 'LoadGen gave no reason'}.",
            f"Try: {command}" if command else "Make the run again.",
        )
    asked = int(log.values.get("effective_min_duration_ms", 0))
    took = 1000 * log.duration_sec
    if asked < MIN_DURATION_MS or took < MIN_DURATION_MS - _CLOCK_MS:
        yield Problem(
            where,
            f"it took {took / 1000:.1f} s and had to take {asked / 1000:g} s; the rules ask for "
            f"{MIN_DURATION_MS // 1000} s.",
            "Make the run again with --official.",
        )
    ruled = {name: builtin_conf().lookup(ANY, run.result.scenario, name) for name in _SEEDS}
    if any(
        rule is not None and log.values.get(f"effective_{name}") != int(rule.text)
        for name, rule in ruled.items()
    ):
        yield Problem(
            where, "LoadGen's seeds are not those of the rules.", "Make the run with --official."
        )
    samples = int(log.values.get("effective_performance_sample_count", 0))
    if samples < benchmark.performance_samples:
        yield Problem(
            where,
            f"{samples} different samples were issued, where {benchmark.name} has "
            f"{benchmark.performance_samples}.",
            f"Make the run with --mlperf_model {benchmark.mlperf_model} and a dataset or "
            f"--distinct_samples of as many.",
        )
    bound = benchmark.bound_ns.get(run.result.scenario)
    used = int(log.values.get("effective_target_latency_ns", 0))
    if bound is not None and used > bound:
        yield Problem(
            where,
            f"the latency bound is {used / 1e6:g} ms, where {benchmark.name} has {bound / 1e6:g}.",
            f"Make the run with --target_latency_ms {bound / 1e6:g}.",
        )


def _accuracy(run: OneRun, benchmark: Benchmark, where: str) -> Iterator[Problem]:
    asked = run.log.values.get("effective_accuracy_sample_count")
    if asked is None:
        asked = run.log.values.get("qsl_reported_total_count", 0)
    if int(asked) != benchmark.dataset_size:
        yield Problem(
            where,
            f"it is over {asked} samples, where {benchmark.name} has {benchmark.dataset_size}.",
            f"Make it over as many: a --dataset or --distinct_samples {benchmark.dataset_size}.",
        )
    try:
        logged = [index for index, _ in answers_in(run.file("accuracy"))]
    except LoadgenGenericError as error:
        yield Problem(where, f"{error}.", "Make the run again.")
        return
    if len(logged) != int(asked) or len(set(logged)) != len(logged):
        yield Problem(
            where,
            f"its log has {len(set(logged))} answers, not one for each of {asked} samples.",
            "Make the run again.",
        )
    if not headline(run.result):
        yield Problem(
            where,
            "nothing says how right the answers are: the data has no labels, and they were not "
            "compared with others or differ.",
            "Make the run with labels beside the --dataset, or with --verify reference.",
        )


def _together(runs: Runs) -> Iterator[Problem]:
    performance, accuracy = runs.only("performance"), runs.only("accuracy")
    for run in runs.every():
        for what, one, other in (
            ("processor", performance.result.host.get("cpu"), run.result.host.get("cpu")),
            ("packages", performance.result.packages, run.result.packages),
            ("execution providers", performance.result.providers, run.result.providers),
        ):
            if one != other:
                yield Problem(
                    runs.scenario,
                    f"the {run.kind} run was made with another {what} than the performance run.",
                    "Make all runs on one system: loadgen-generic compliance MODEL --official.",
                )
    tests: list[tuple[str, tuple[Check, ...]]] = []
    try:
        for audit in runs.all("TEST01"):
            at = (performance.directory, accuracy.directory, audit.directory)
            tests.append(("TEST01", check_test01(*at)))
        for audit in runs.all("TEST04"):
            tests.append(("TEST04", check_test04(performance.directory, audit.directory)))
    except LoadgenGenericError as error:
        yield Problem(runs.scenario, f"{error}.", "Make the run again.")
    for test, checks in tests:
        for check in checks:
            if not check.passed:
                yield Problem(runs.scenario, f"{test} failed: {check.sentence}", check.remedy)
