"""cmind.access: typed values in, the result in new_env and new_state out."""

from __future__ import annotations

from pathlib import Path

from cm_driver import Cm


def test_typed_values_and_what_comes_back(cm: Cm, model: Path) -> None:
    (answer,) = cm.access(
        {
            "modelpath": model,
            "samples": 200,
            "loadgen_expected_qps": 1000.0,
            "intraop": 1,
            "concurrency": 2,
            "runner": "threadpool",
            "dim": {"N": 2},
            "output_dir": Path("out"),
        }
    )
    assert answer["return"] == 0
    env, result = answer["new_env"], answer["new_state"]["mlperf_result"]
    path = cm.directory / "out" / "result.json"
    assert env["CM_MLPERF_RESULT_JSON"] == str(path)
    assert env["CM_MLPERF_RESULT_VALID"] in ("yes", "no")
    assert env["CM_MLPERF_RESULT_METRIC"] == result["metric"]["name"]
    assert float(env["CM_MLPERF_RESULT_VALUE"]) == result["metric"]["value"]
    assert env["CM_MLPERF_RESULT_UNIT"] == result["metric"]["unit"]
    assert env["CM_MLPERF_INTRAOP"] == 1, "the caller gets back what it gave"
    assert env["CM_MLPERF_OUTPUT_DIR"] == "out"
    assert result == cm.results()[0]
    effective = result["config"]["effective"]
    assert effective["intra_op_threads"] == 1
    assert effective["concurrency"] == 2
    assert effective["runner"] == "threadpool"


def test_text_means_the_same_as_a_number(cm: Cm, model: Path) -> None:
    common = {"modelpath": "tiny.onnx", "scenario": "SingleStream"}
    typed, text, mixed = cm.access(
        {**common, "samples": 100, "seed": 3},
        {**common, "samples": "100", "seed": "3"},
        {**common, "env": {"CM_MLPERF_LOADGEN_SAMPLES": 100}, "seed": 3.0},
    )
    asked = [
        one["new_state"]["mlperf_result"]["config"]["requested"] for one in (typed, text, mixed)
    ]
    assert asked[0] == asked[1] == asked[2]


def test_dashes_and_empty_values(cm: Cm, model: Path) -> None:
    (answer,) = cm.access(
        {"modelpath": "tiny.onnx", "samples": 100, "output-dir": "dashed", "ep": "", "seed": None}
    )
    assert answer["return"] == 0
    assert (cm.directory / "dashed" / "result.json").is_file()


def test_a_second_run_in_one_process_starts_afresh(cm: Cm, model: Path) -> None:
    first, failed, second = cm.access(
        {"modelpath": "tiny.onnx", "samples": 100, "seed": 5},
        {"modelpath": "absent.onnx", "samples": 100},
        {"modelpath": "tiny.onnx", "samples": 100},
    )
    assert [first["return"], second["return"]] == [0, 0]
    assert failed["return"] == 2
    assert "absent.onnx" in failed["error"]
    seeds = [
        one["new_state"]["mlperf_result"]["config"]["requested"].get("seed", 0)
        for one in (first, second)
    ]
    assert seeds == [5, 0]


def test_two_runs_never_share_a_directory(cm: Cm, model: Path) -> None:
    once = {"modelpath": "tiny.onnx", "samples": 100, "output_dir": "same"}
    first, second = cm.access(once, once)
    paths = {one["new_env"]["CM_MLPERF_RESULT_JSON"] for one in (first, second)}
    assert len(paths) == 2
    assert all(Path(path).is_file() for path in paths)
