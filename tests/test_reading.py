"""What a report reads: our runs, campaigns that were moved, and logs of other programs."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from command import Command, logged
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen_generic.errors import RequestError
from loadgen_generic.report.reading import Figures, Latencies, read_figures
from loadgen_generic.report.reading.bins import Stretches, bin_of, histogram_of
from loadgen_generic.report.reading.stream import read_blocks
from loadgen_generic.results import trace
from loadgen_generic.results.telemetry import Series, Telemetry, TimedQueries, Timeline

FOREIGN = Path(__file__).with_name("data") / "foreign"
UNFINISHED = "demo_offline_unfinished"
WHOLE_TRACE = "demo_offline"
FINISHED = sorted(
    path.name.removesuffix(".tar.gz")
    for path in FOREIGN.glob("*.tar.gz")
    if not path.name.startswith(UNFINISHED)
)
DETAIL, TRACE = "mlperf_log_detail.txt", "mlperf_log_trace.json"


def foreign(name: str, into: Path) -> Path:
    with tarfile.open(FOREIGN / f"{name}.tar.gz") as archive:
        # Pythons before 3.11.4 know no filter; the archive is our own.
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(into, **safely)
    return into / name


def read_off(latencies: Latencies, share: float) -> float:
    """A percentile as a reader of the chart would find it, in ns."""
    counts, edges = latencies.histogram.counts, latencies.histogram.edges
    at = int(np.searchsorted(np.cumsum(counts), int(counts.sum() * share), side="right"))
    return float(np.sqrt(edges[at] * edges[at + 1]))


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directory of a run with a trace, for each scenario."""
    command = Command(tmp_path_factory.mktemp("traced"), os.environ)
    flags: dict[str, dict[str, object]] = {
        "SingleStream": {"samples": 600},
        "MultiStream": {"samples": 5600, "runner": "threadpool", "batch_size": 3},
        "Server": {
            "samples": 900,
            "target_qps": 3000,
            "target_latency_ms": 50,
            "batch_size": 4,
            "concurrency": 1,
        },
        "Offline": {"samples": 2000, "batch_size": 4},
    }
    found = {}
    for scenario, given_flags in flags.items():
        outcome = command.fake(
            "latency_us=300", scenario=scenario, trace=True, output_dir=scenario, **given_flags
        )
        assert outcome.code == 0, outcome.stderr
        found[scenario] = outcome.run_dir
    return found


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_latencies_of_a_trace_are_loadgens(traced: dict[str, Path], scenario: str) -> None:
    figures = read_figures(traced[scenario])
    latencies = figures.latencies
    assert latencies is not None
    assert latencies.source == "trace"
    assert latencies.counted == latencies.total == latencies.histogram.counts.sum()
    assert latencies.over_time.count.sum() == latencies.total
    values = logged(traced[scenario])
    per = "per_query_" if scenario == "MultiStream" else ""
    for percent in (50, 90, 99):
        exact = values[f"result_{percent:.2f}_percentile_{per}latency_ns"]
        assert read_off(latencies, percent / 100) == pytest.approx(exact, rel=0.01)
        assert figures.latency_ns[f"p{percent}"] == exact


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_throughput_over_time_adds_up_to_the_samples(
    traced: dict[str, Path], scenario: str
) -> None:
    figures = read_figures(traced[scenario])
    assert figures.throughput is not None
    (series,) = figures.throughput.series
    assert series.unit == "samples/s"
    widths = np.diff([0.0, *figures.throughput.at_s])
    assert (widths * np.array(series.values)).sum() == pytest.approx(figures.samples, rel=0.02)
    assert figures.throughput.at_s[-1] == pytest.approx(figures.duration_s, abs=0.005)


def test_the_queue_and_the_batches_of_a_server_run(traced: dict[str, Path]) -> None:
    """Computed again from every event of the trace."""
    figures = read_figures(traced["Server"])
    (block,) = read_blocks(traced["Server"] / TRACE, lambda done, size: None)
    _, at, sizes = np.unique(block.completed_ns, return_inverse=True, return_counts=True)
    assert figures.batches is not None
    assert figures.batches.edges[0] == 1
    assert figures.batches.counts.tolist() == np.bincount(sizes[at])[1:].tolist()
    moments = np.concatenate([block.issued_ns, block.completed_ns])
    steps = np.repeat([1, -1], len(block.query))[np.argsort(moments, kind="stable")]
    deepest = int(np.cumsum(steps).max())
    assert figures.waiting is not None
    assert deepest - 1 <= figures.waiting.most.max() <= deepest
    assert figures.waiting.most.min() >= 0


def test_only_a_server_has_a_queue(traced: dict[str, Path]) -> None:
    for scenario in ("SingleStream", "MultiStream", "Offline"):
        figures = read_figures(traced[scenario])
        assert figures.waiting is None
        assert figures.batches is None


def test_the_stream_reads_what_the_whole_reader_reads(
    traced: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a block ends amid a line, and where a line is longer than a block."""
    monkeypatch.setattr("loadgen_generic.report.reading.stream._BYTES", 120)
    for directory in (traced["SingleStream"], traced["Server"]):
        told: list[tuple[int, int]] = []
        blocks = list(read_blocks(directory / TRACE, lambda d, s, t=told: t.append((d, s))))
        streamed = np.sort(np.concatenate([b.completed_ns - b.due_ns for b in blocks]))
        whole = trace.read_trace(directory / TRACE)
        assert np.array_equal(streamed, np.sort(whole.latency_ns))
        assert told[-1] == ((directory / TRACE).stat().st_size,) * 2


def test_a_result_and_its_report_say_the_same(traced: dict[str, Path], tmp_path: Path) -> None:
    """With ``result.json`` and without it: the logs alone give the same verdict and headline."""
    for scenario, directory in traced.items():
        ours = read_figures(directory)
        assert ours.result is not None
        assert ours.metric == ours.result.metric
        bare = tmp_path / scenario
        bare.mkdir()
        shutil.copy(directory / DETAIL, bare)
        alone = read_figures(bare)
        assert alone.result is None
        assert (alone.verdict, alone.valid, alone.metric) == (ours.verdict, True, ours.metric)
        assert alone.latency_ns == ours.latency_ns
        assert alone.settings == ours.settings
        assert alone.latencies is None
        assert any("no trace" in each or "one query" in each for each in alone.missing)


def test_a_trace_that_was_cut_is_said_to_be(traced: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(traced["SingleStream"], tmp_path / "run")
    lines = (run / TRACE).read_bytes().splitlines(keepends=True)
    (run / TRACE).write_bytes(b"".join(lines[:1000])[:-20])
    figures = read_figures(run)
    assert figures.latencies is not None
    assert 0 < figures.latencies.counted < 600
    assert f"the trace holds {figures.latencies.counted} of 600" in " ".join(figures.missing)


def test_a_damaged_trace_leaves_the_rest(traced: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(traced["SingleStream"], tmp_path / "run")
    (run / "telemetry.json").unlink(missing_ok=True)
    (run / TRACE).write_text('{"sample_seq":x}\n')
    figures = read_figures(run)
    assert figures.latencies is None
    assert figures.latency_ns["p50"] > 0
    assert any("trace: it cannot be read" in each for each in figures.missing)


def _telemetry(queries: int, every: int) -> Telemetry:
    at_s = [each / 100 for each in range(queries)]
    timeline = Timeline(
        title="Throughput",
        at_s=[1.0, 2.0],
        series=[Series(name="a", unit="samples/s", values=[5, 6])],
    )
    timed = TimedQueries(
        every=every,
        issued=queries * every,
        lost=0,
        at_s=at_s,
        latency_ns=[1_000_000 + 1000 * each for each in range(queries)],
        waiting=[1 + each % 3 for each in range(queries)],
        batch=[1 + each % 2 for each in range(queries)],
    )
    return Telemetry(
        interval_s=0.1,
        own_cpu_share=0.001,
        begin="2026-11-24T15:40:11.000",
        throughput=timeline,
        machine=[timeline.model_copy(update={"title": "CPU by core"})],
        queries=timed,
    )


def test_timed_queries_stand_in_for_a_trace(traced: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(traced["Server"], tmp_path / "run")
    (run / TRACE).unlink()
    (run / "telemetry.json").write_text(_telemetry(300, 3).model_dump_json())
    figures = read_figures(run)
    latencies, waiting, batches = figures.latencies, figures.waiting, figures.batches
    assert latencies is not None
    assert waiting is not None
    assert batches is not None
    assert (latencies.source, latencies.counted, latencies.total) == ("timed", 300, 900)
    assert read_off(latencies, 0.5) == pytest.approx(1_150_000, rel=0.01)
    assert any("300 of 900 queries were timed" in each for each in figures.missing)
    assert waiting.count.sum() == 300
    assert waiting.most.max() == 3
    assert batches.counts.tolist() == [150, 150]
    assert figures.throughput is not None
    assert figures.throughput.series[0].values == [5, 6]
    assert [each.title for each in figures.machine] == ["CPU by core"]


@pytest.mark.parametrize("content", ["{", '{"schema_version": 99}'])
def test_damaged_telemetry_is_said_to_be(
    traced: dict[str, Path], tmp_path: Path, content: str
) -> None:
    run = shutil.copytree(traced["Offline"], tmp_path / "run")
    (run / "telemetry.json").write_text(content)
    figures = read_figures(run)
    assert any("telemetry.json cannot be read" in each for each in figures.missing)


def test_an_accuracy_run_has_no_latencies(command: Command) -> None:
    outcome = command.fake(mode="accuracy", samples=50, distinct_samples=50)
    figures = read_figures(outcome.run_dir)
    assert figures.valid is None
    assert figures.verdict == outcome.result.verdict
    assert figures.latency_ns == {}
    assert figures.latencies is None
    assert any("accuracy run is not timed" in each for each in figures.missing)
    (outcome.run_dir / "result.json").unlink()
    assert read_figures(outcome.run_dir).verdict.startswith("ACCURACY")


def test_a_campaign_that_was_moved(command: Command) -> None:
    outcome = command.fake("latency_us=200", samples=100, repeat=2, scenario="SingleStream")
    moved = outcome.run_dir.rename(outcome.run_dir.with_name("elsewhere"))
    figures = read_figures(moved)
    assert figures.result is not None
    assert figures.result.repeat is not None
    assert figures.verdict == figures.result.verdict
    assert figures.metric == figures.result.metric
    assert figures.latency_ns == figures.result.latency_ns
    (moved / "runs").rename(moved / "gone")
    with pytest.raises(RequestError, match="Move the whole directory"):
        read_figures(moved)


def test_a_result_of_another_run_is_noticed(traced: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(traced["Offline"], tmp_path / "run")
    shutil.copy(traced["Server"] / DETAIL, run / DETAIL)
    assert any("result.json is of Offline" in each for each in read_figures(run).missing)


@pytest.mark.parametrize("name", FINISHED)
def test_logs_of_other_programs(tmp_path: Path, name: str) -> None:
    directory = foreign(name, tmp_path)
    figures = read_figures(directory)
    values = logged(directory)
    assert figures.scenario == values["effective_scenario"]
    assert figures.result is None
    assert figures.metric.value == values[figures.metric.name] > 0
    assert figures.latency_ns["p50"] > 0
    assert figures.verdict.startswith(("VALID: ", "INVALID: "))
    assert figures.valid in (values["result_validity"] == "VALID", False)
    assert figures.started_at
    assert (figures.latencies is not None) == name.startswith("demo")
    assert any("Processors" in each for each in figures.missing)


def test_the_whole_trace_of_another_program(tmp_path: Path) -> None:
    """Offline's demo answers in three calls, three seconds apart."""
    figures = read_figures(foreign(WHOLE_TRACE, tmp_path))
    assert figures.latencies is not None
    assert figures.latencies.counted == figures.samples
    assert figures.throughput is not None
    rates = np.array(figures.throughput.series[0].values)
    assert np.count_nonzero(rates) == 3


def test_a_loadgen_before_early_stopping(tmp_path: Path) -> None:
    """LoadGen before 2.0 logs no estimate: the percentile itself is its headline."""
    directory = foreign("demo_single_stream", tmp_path)
    lines = (directory / DETAIL).read_text("utf-8").splitlines(keepends=True)
    (directory / DETAIL).write_text("".join(each for each in lines if "early_stopping" not in each))
    figures = read_figures(directory)
    assert figures.metric.value == logged(directory)["result_90.00_percentile_latency_ns"]
    assert figures.verdict.startswith("VALID: SingleStream 1.28 ms at the 90th percentile")
    assert any("older versions" in each for each in figures.missing)


def test_a_log_without_a_headline_is_said_to_be(tmp_path: Path) -> None:
    directory = foreign("demo_offline", tmp_path)
    lines = (directory / DETAIL).read_text("utf-8").splitlines(keepends=True)
    kept = (each for each in lines if "samples_per_second" not in each and "mean_lat" not in each)
    (directory / DETAIL).write_text("".join(kept))
    missing = " ".join(read_figures(directory).missing)
    assert "no result_samples_per_second" in missing
    assert "no result_mean_latency_ns" in missing


def _refused(directory: Path) -> str:
    with pytest.raises(RequestError) as refused:
        read_figures(directory)
    assert str(directory) in str(refused.value)
    assert refused.value.remedy
    return str(refused.value)


def test_what_is_no_finished_run(traced: dict[str, Path], tmp_path: Path) -> None:
    assert "does not exist" in _refused(tmp_path / "nowhere")
    assert "holds no mlperf_log_detail.txt" in _refused(tmp_path)
    assert "ends before the result" in _refused(foreign(UNFINISHED, tmp_path))
    (tmp_path / "file").touch()
    assert "is a file" in _refused(tmp_path / "file")
    assert str(tmp_path / UNFINISHED) in _refused(tmp_path)  # the runs below are named
    run = shutil.copytree(traced["Offline"], tmp_path / "run")
    for text in (":::MLLOG {", ":::MLLOG {}", ':::MLLOG {"key": 1, "value": 2, "metadata": 3}'):
        (run / DETAIL).write_text(text)
        assert "damaged" in _refused(run)
    detail = (traced["Offline"] / DETAIL).read_text("utf-8")
    lines = detail.splitlines(keepends=True)
    (run / DETAIL).write_text("".join(ln for ln in lines if "effective_scenario" not in ln))
    assert "effective_scenario" in _refused(run)


@pytest.mark.parametrize("content", ["{", "{}", '{"schema_version": 1}'])
def test_a_damaged_result(traced: dict[str, Path], tmp_path: Path, content: str) -> None:
    run = shutil.copytree(traced["Offline"], tmp_path / "run")
    (run / "result.json").write_text(content)
    assert "from the logs alone" in _refused(run)


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    (tmp_path / "error.json").write_text(json.dumps({"message": "the model is gone"}))
    assert "the model is gone" in _refused(tmp_path)


Moments = st.lists(
    st.lists(st.integers(-(10**9), 10**13), min_size=1, max_size=30), min_size=1, max_size=6
)


@settings(max_examples=60, deadline=None)
@given(blocks=Moments)
def test_stretches_count_every_time_in_its_place(blocks: list[list[int]]) -> None:
    stretches = Stretches(1, most=8, width_ns=10)
    for block in blocks:
        stretches.add(np.array(block, np.int64))
    times = np.array([each for block in blocks for each in block], np.int64)
    assert stretches.first is not None
    rows = times // stretches.width_ns - stretches.first
    assert stretches.counts[:, 0].tolist() == np.bincount(rows, minlength=8).tolist()


@settings(max_examples=60, deadline=None)
@given(latency_ns=st.lists(st.integers(1, 10**13), min_size=1, max_size=50))
def test_a_bin_is_within_a_percent_of_its_latencies(latency_ns: list[int]) -> None:
    values = np.array(latency_ns, np.int64)
    for value, number in zip(values, bin_of(values), strict=True):
        one = np.zeros(number + 1, np.int64)
        one[number] = 1
        edges = histogram_of(one).edges
        assert np.sqrt(edges[0] * edges[1]) == pytest.approx(value, rel=0.006)


def test_figures_are_what_pages_are_made_of(traced: dict[str, Path]) -> None:
    """Ascending and of one length, with nothing that no chart could show."""
    for directory in traced.values():
        figures: Figures = read_figures(directory)
        for over_time in filter(
            None, (figures.waiting, figures.latencies and figures.latencies.over_time)
        ):
            columns = (over_time.at_s, over_time.p50, over_time.p90, over_time.p99, over_time.most)
            assert len({len(column) for column in (*columns, over_time.count)}) == 1
            assert len(over_time.at_s) <= 400
            assert all(np.isfinite(column).all() for column in columns)
            assert (np.diff(over_time.at_s) > 0).all()
            assert (over_time.p50 <= over_time.most).all()
            assert over_time.at_s[0] >= 0
