"""The only importer of LoadGen: its settings, its QSL and SUT or QDL, one test, completion."""

from __future__ import annotations

import collections
import gc
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mlperf_loadgen as lg

from loadgen_generic.callbacks import Callbacks
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RunError
from loadgen_generic.progress import Progress
from loadgen_generic.pulse import Pulse
from loadgen_generic.seams import Complete, Runner, SampleLibrary, Witness
from loadgen_generic.settings import ConfValues, TestSettings, model_of, user_settings
from loadgen_generic.tensors import Array

__all__ = ["Take", "conf_values", "run_test"]

Take = Callable[[Sequence[int], Sequence[Array]], Sequence[Array]]
_Issue = Callable[[Sequence[int], Sequence[int]], None]


def run_test(
    settings: TestSettings,
    runner: Runner,
    samples: SampleLibrary,
    output_dir: Path,
    progress: Progress,
    take: Take | None = None,
    trace: bool = False,
    witness: Witness | None = None,
    pulse: Pulse | None = None,
    network_name: Callable[[], str] | None = None,
) -> None:
    """Run one LoadGen test and return when it is over; the runner stays up.

    LoadGen is global to a process and cannot be stopped: after an error this raises at once
    and leaves LoadGen running, so the process must end without returning to it.

    Args:
        output_dir: an existing directory; LoadGen ignores a missing one and then aborts.
        take: where LoadGen is to log answers, given the sample indices and the outputs of an
            inference, as :class:`Complete` gives them, and returns the bytes of each sample's
            answer for LoadGen's accuracy log, each contiguous.
        trace: have LoadGen log each sample's times; 300 to 700 bytes a sample.
        witness: in performance mode, sees what is issued and answered.
        pulse: times some of the queries.
        network_name: makes LoadGen's system one behind a network (a QDL), and is asked for its name.

    Raises:
        RunError or whatever the runner raised first.
    """
    if not output_dir.is_dir():
        raise RunError(f"LoadGen's output directory {output_dir} does not exist")
    test = Callbacks()
    indices_by_id: dict[int, int] = {}

    def make_complete() -> Complete:
        if take is None:
            complete = _completer(progress, pulse)
        else:
            complete = _answering_completer(progress, pulse, take, indices_by_id)
        return complete if witness is None else witness.complete(complete)

    runner.start(make_complete, test.fail)
    # Asked for now: a runner may have another way in for each start.
    issue = runner.issue if take is None else _remembering(runner, indices_by_id)
    if witness is not None:
        issue = witness.issue(issue)
    if pulse is not None:
        issue = pulse.issue(issue, several_at_once=settings.scenario == "Server")
    name = None if network_name is None else test.guard(network_name, "")
    sut = _construct(issue, runner.flush, name)
    callbacks = test.guard(samples.load, None), test.guard(samples.unload, None)
    qsl = lg.ConstructQSL(samples.count(), samples.resident(), *callbacks)
    log = lg.LogSettings()
    log.enable_trace = trace
    log.log_output.outdir = str(output_dir)
    log.log_output.copy_summary_to_stdout = False

    # Made here: an error in the other thread would leave this one waiting for ever.
    told = _settings(settings)
    if settings.accuracy:
        told.mode = lg.TestMode.AccuracyOnly

    def start() -> None:
        try:
            runner.enter()
        except BaseException as error:  # noqa: BLE001 - this thread has nobody to catch it
            test.fail(error)
            return
        # Explicit even if empty, or an audit.config in the current directory would be used.
        lg.StartTestWithLogSettings(sut, qsl, told, log, settings.audit)
        test.over.set()

    # Offline's ids are one list of millions: each time the collector walks it, the test stands
    # still. Nothing in a query's way makes cycles.
    gc.disable()
    # StartTest cannot be interrupted; in a thread of its own it leaves this one free to end the
    # process when a worker fails.
    threading.Thread(target=start, name="loadgen", daemon=True).start()
    test.over.wait()
    if test.error is not None:
        raise test.error
    gc.enable()
    (lg.DestroyFastSUT if name is None else lg.DestroyQDL)(sut)
    lg.DestroyQSL(qsl)


def _construct(issue: _Issue, flush: Callable[[], None], name: Callable[[], str] | None) -> int:
    if name is None:
        return int(lg.ConstructFastSUT(issue, flush))

    def issue_samples(samples: Sequence[lg.QuerySample]) -> None:
        issue([each.id for each in samples], [each.index for each in samples])

    return int(lg.ConstructQDL(issue_samples, flush, name))


def _watched(pulse: Pulse | None) -> tuple[Mapping[int, object], Callable[[Sequence[int]], None]]:
    """Timed queries under way, and whom to tell of completions while there are any.

    A look at the mapping costs a query less than the call of a function that looks.
    """
    return ({}, lambda ids: None) if pulse is None else (pulse.due, pulse.saw)


def _in_turn(pulse: Pulse | None) -> tuple[int, Callable[[int, int], int]]:
    """When to look at the clock first, by the samples answered, and whom to call then."""
    if pulse is None:
        return sys.maxsize, lambda answered, batch: sys.maxsize
    return pulse.first_look, pulse.look


def _completer(progress: Progress, pulse: Pulse | None) -> Complete:
    """One worker's way to tell LoadGen, with response objects that are reused.

    Setting the id of a pooled response costs a quarter of making a new one, and by the
    property's own setter, driven from C, a sixth less than by an assignment. No data goes with
    it: in a performance run LoadGen drops it.
    """
    responses: dict[int, list[lg.QuerySampleResponse]] = {}
    set_id = lg.QuerySampleResponse.id.fset
    consume = collections.deque[None](maxlen=0).extend
    alone = lg.QuerySampleResponse(0, 0, 0)
    alone_pooled = [alone]
    words, position = progress.counter()
    answered = 0
    done = lg.QuerySamplesComplete
    due, saw = _watched(pulse)
    next_look, look = _in_turn(pulse)

    def complete(ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None:
        nonlocal answered, next_look
        if due:
            saw(ids)
        count = len(ids)
        if count == 1:
            alone.id = ids[0]
            done(alone_pooled)
        else:
            pooled = responses.get(count)
            if pooled is None:
                pooled = responses[count] = [lg.QuerySampleResponse(0, 0, 0) for _ in ids]
            consume(map(set_id, pooled, ids))
            done(pooled)
        answered += count
        words[position] = answered
        if answered >= next_look:
            next_look = look(answered, count)

    return complete


def _remembering(runner: Runner, indices_by_id: dict[int, int]) -> _Issue:
    """The runner's ``issue``, which first notes what each id stands for."""

    def issue(ids: Sequence[int], indices: Sequence[int]) -> None:
        indices_by_id.update(zip(ids, indices, strict=True))
        runner.issue(ids, indices)

    return issue


def _answering_completer(
    progress: Progress, pulse: Pulse | None, take: Take, indices_by_id: dict[int, int]
) -> Complete:
    """One worker's way to tell LoadGen, with the bytes of the answers."""
    words, position = progress.counter()
    answered = 0
    due, saw = _watched(pulse)
    next_look, look = _in_turn(pulse)

    def complete(ids: Sequence[int], outputs: Callable[[], Sequence[Array]]) -> None:
        nonlocal answered, next_look
        # LoadGen reuses ids once they are completed, so each is forgotten before.
        indices = [indices_by_id.pop(identity) for identity in ids]
        data = take(indices, outputs())
        if due:
            saw(ids)
        # LoadGen copies the data before it returns; until then ``data`` keeps it alive.
        lg.QuerySamplesComplete(
            [
                lg.QuerySampleResponse(identity, each.ctypes.data, each.nbytes)
                for identity, each in zip(ids, data, strict=True)
            ]
        )
        answered += len(ids)
        words[position] = answered
        if answered >= next_look:
            next_look = look(answered, len(ids))

    return complete


def conf_values(config: BenchmarkConfig) -> ConfValues | None:
    """LoadGen's settings by its own reading of its files; None if the request names none.

    Raises:
        RequestError: a line of ``--user_conf`` that LoadGen would misread or pass by.
        RunError: LoadGen does not take a file.
    """
    built_in = config.mlperf_model is not None or config.official
    if not built_in and config.user_conf is None:
        return None
    given = user_settings(config)
    told = lg.TestSettings()
    if built_in:
        _read_conf(told, config, "", _BUILT_IN)
    rules = _numbers(told)
    if config.user_conf is not None:
        _read_conf(told, config, str(Path(config.user_conf).expanduser()), _ON_TOP)
    return ConfValues(values=_numbers(told), rules=rules, built_in=built_in, given=given)


# LoadGen's kinds of file: its built-in one; and a file of which nothing but its own lines is
# applied. The kind between, 1, applies the built-in one as well, once in a process.
_BUILT_IN, _ON_TOP = 0, 2


def _read_conf(told: lg.TestSettings, config: BenchmarkConfig, path: str, kind: int) -> None:
    code = told.FromConfig(path, model_of(config), config.scenario, kind)
    if code:
        raise RunError(f"LoadGen does not take {path or 'its mlperf.conf'} (error {-code})")


def _numbers(told: lg.TestSettings) -> dict[str, float]:
    names = [name for name in dir(told) if not name.startswith("_")]
    found = {name: getattr(told, name) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, (int, float))}


def _settings(plan: TestSettings) -> lg.TestSettings:
    settings = lg.TestSettings()
    for name, value in plan.conf.items():
        setattr(settings, name, value)
    settings.scenario = getattr(lg.TestScenario, plan.scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = plan.min_duration_ms
    settings.min_query_count = plan.min_query_count
    settings.max_query_count = plan.max_query_count
    (
        settings.qsl_rng_seed,
        settings.sample_index_rng_seed,
        settings.schedule_rng_seed,
    ) = plan.loadgen_seeds
    share = plan.percentile / 100
    if plan.scenario == "Offline":
        settings.offline_expected_qps = plan.expected_qps
    elif plan.scenario == "Server":
        settings.server_target_qps = plan.target_qps
        settings.server_target_latency_ns = round(plan.target_latency_ms * 1e6)
        settings.server_target_latency_percentile = share
        settings.server_coalesce_queries = plan.coalesce
    elif plan.scenario == "SingleStream":
        settings.single_stream_expected_latency_ns = round(1e9 / plan.expected_qps)
        settings.single_stream_target_latency_percentile = share
    else:
        settings.multi_stream_samples_per_query = plan.samples_per_query
        settings.multi_stream_expected_latency_ns = round(
            1e9 * plan.samples_per_query / plan.expected_qps
        )
        settings.multi_stream_target_latency_percentile = share
    return settings
