"""The space of ``tune``: what is tried for a model on a machine, and why the rest is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import graph_models
import numpy as np
import pytest
import stand_in_environments
import tiny_models
from graph_models import FLOAT, INT64, graph_model
from onnx import TensorProto, helper

from loadgen_generic import environments
from loadgen_generic.campaigns.tuning import arithmetic, choices
from loadgen_generic.campaigns.tuning.families import find_families
from loadgen_generic.campaigns.tuning.family import Family
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.environments import Environment
from loadgen_generic.errors import RunError
from loadgen_generic.graph.structure import Structure, read_structure
from loadgen_generic.provider_facts import facts_of

WORKS = {"starts": True, "problem": "", "remedy": ""}
FAILS = {"starts": False, "problem": "There is no driver.", "remedy": "Install one."}
BFLOAT16 = frozenset({"avx2", "avx512_bf16"})
make = helper.make_node


class Found:
    """What was found: the families by name, and what was left out with the reason."""

    def __init__(self, families: list[Family], left_out: Mapping[str, str]) -> None:
        self.names = [each.name for each in families]
        self.families = {each.name: each for each in families}
        self.left_out = left_out

    def choices(self, name: str) -> Mapping[str, tuple[Any, ...]]:
        return {each.option: each.values for each in self.families[name].choices}


Find = Callable[..., Found]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Find:
    """The families of a model on a machine that is made up."""

    def found(
        model: bytes,
        here: tuple[str, ...] = ("cpu", "openvino"),
        broken: Mapping[str, dict[str, Any]] | None = None,
        flags: frozenset[str] = BFLOAT16,
        cores: int = 2,
        lookup: Callable[[str], Environment] | None = None,
        **options: Any,
    ) -> Found:
        known = [
            Environment(short, Path("/python"), {"x": "1"}, frozenset({short})) for short in here
        ]

        def has(name: str) -> Environment:
            return next(each for each in known if each.has(name))

        monkeypatch.setattr(environments, "known", lambda: known)
        monkeypatch.setattr(environments, "for_provider", lookup or has)
        monkeypatch.setattr(arithmetic, "processor_flags", lambda: flags)
        monkeypatch.setattr(choices, "available_cores", lambda: cores)
        path = tmp_path / "model.onnx"
        path.write_bytes(model)
        asked = {"scenario": "Offline", "mode": "tune", **options}
        config = BenchmarkConfig.model_validate(asked)

        def answer(
            _: Environment, job: Mapping[str, Any], __: Callable[[], None]
        ) -> dict[str, Any]:
            return (broken or {}).get(facts_of(job["provider"]).short, WORKS)

        families, left_out = find_families(config, str(path), lambda _: None, answer)
        for each in families:  # whatever is proposed can be asked for
            BenchmarkConfig.model_validate({**asked, **each.options})
        why = {each.what: each.why for each in left_out}
        assert len(why) == len(left_out)
        assert all(why.values())
        return Found(families, why)

    return found


def side_by_side() -> bytes:
    """Two products of one input, added."""
    weights = {name: np.ones((4, 4), np.float32) for name in ("v", "w")}
    nodes = [
        make("MatMul", ["x", "v"], ["left"]),
        make("MatMul", ["x", "w"], ["right"]),
        make("Add", ["left", "right"], ["y"]),
    ]
    return graph_model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], **weights)


def quantized() -> bytes:
    nodes = [
        make("QuantizeLinear", ["x", "scale"], ["q"]),
        make("DequantizeLinear", ["q", "scale"], ["y"]),
    ]
    scale = np.float32(0.1)
    return graph_model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], scale=scale)


def in_float16() -> bytes:
    """Float32 outside, float16 within."""
    nodes = [
        make("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        make("MatMul", ["half", "w"], ["product"]),
        make("Cast", ["product"], ["y"], to=FLOAT),
    ]
    weight = np.ones((4, 4), np.float16)
    return graph_model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], w=weight)


def test_the_first_is_what_a_plain_run_computes(find: Find) -> None:
    found = find(tiny_models.matmul(), here=("cpu",))
    assert found.names == ["cpu float32"]
    assert dict(found.families["cpu float32"].options) == {}
    assert "`loadgen-generic doctor --ep openvino` says how" in found.left_out["openvino"]
    assert {"cuda", "tensorrt", "int8", "cpu bfloat16"} <= set(found.left_out)


def test_every_provider_that_starts_in_every_precision_that_it_has(find: Find) -> None:
    found = find(
        graph_models.conv(),
        here=("cpu", "cuda", "tensorrt", "openvino"),
        broken={"tensorrt": FAILS},
    )
    cuda, openvino = "CUDAExecutionProvider", "OpenVINOExecutionProvider"
    assert {name: dict(each.options) for name, each in found.families.items()} == {
        "cpu float32": {},
        "cpu float32, extended": {"graph_optimization": "extended"},
        "cuda float32": {"execution_provider": cuda},
        "cuda tf32": {"execution_provider": cuda, "precision": "tf32"},
        "openvino float32": {"execution_provider": openvino},
        "openvino bfloat16": {"execution_provider": openvino, "precision": "bfloat16"},
    }
    assert found.left_out["tensorrt"] == "does not start: There is no driver. Install one."
    assert "avx512_fp16" in found.left_out["openvino float16"]


def test_what_the_processor_has_decides(find: Find) -> None:
    both = find(tiny_models.matmul(), flags=frozenset({"amx_bf16", "avx512_fp16"}))
    assert both.names[1:] == ["openvino float32", "openvino bfloat16", "openvino float16"]
    arm = find(tiny_models.matmul(), flags=frozenset({"asimdhp"}))
    assert arm.names[1:] == ["openvino float32", "openvino float16"]
    unknown = find(tiny_models.matmul(), flags=frozenset())
    assert unknown.names[1:] == ["openvino float32"]
    assert "--ep openvino --precision float16" in unknown.left_out["openvino float16"]


def test_another_device_of_openvino_is_no_processor(find: Find) -> None:
    options = {"execution_provider": "openvino", "ep_options": {"device_type": "GPU"}}
    found = find(tiny_models.matmul(), flags=frozenset(), **options)
    assert found.names == ["openvino float32", "openvino bfloat16", "openvino float16"]


def test_a_provider_that_is_named_is_the_only_one(find: Find) -> None:
    found = find(tiny_models.matmul(), execution_provider="openvino")
    assert found.names == ["openvino float32", "openvino bfloat16"]
    assert dict(found.families["openvino bfloat16"].options) == {"precision": "bfloat16"}
    assert found.left_out["cpu"] == "--ep names openvino"
    alone = find(tiny_models.matmul(), execution_provider="cpu")
    assert alone.names == ["cpu float32"]


def test_a_precision_that_is_named_is_the_only_one(find: Find) -> None:
    found = find(tiny_models.matmul(), precision="float32", allow="int8")
    assert found.names == ["cpu float32", "openvino float32"]
    assert found.left_out["int8"] == "--precision names float32"
    assert find(tiny_models.matmul(), precision="auto").names == ["cpu float32", "openvino auto"]


def test_options_of_the_provider_may_say_the_precision(find: Find) -> None:
    options = {"execution_provider": "openvino", "ep_options": {"precision": "FP16"}}
    assert find(tiny_models.matmul(), **options).names == ["openvino auto"]


def test_int8_only_if_it_is_allowed(find: Find) -> None:
    everywhere = ("cpu", "cuda", "tensorrt", "openvino")
    assert "--allow int8" in find(graph_models.conv(), everywhere).left_out["int8"]
    found = find(graph_models.conv(), everywhere, allow="int8")
    quantised = {name: dict(f.options) for name, f in found.families.items() if f.quantized}
    assert quantised == {
        "cpu int8": {},
        "cpu int8, extended": {"graph_optimization": "extended"},
        "tensorrt int8": {
            "execution_provider": "TensorrtExecutionProvider",
            "precision": "int8",
        },
        "openvino int8": {"execution_provider": "OpenVINOExecutionProvider"},
    }
    assert "int8 kernels" in found.left_out["cuda int8"]
    assert "int8" not in found.left_out


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (quantized(), "quantised already"),
        (in_float16(), "weights are float16, not float32"),
        (tiny_models.typed(TensorProto.FLOAT16), "no float32 numbers"),
        (tiny_models.typed(INT64), "no float32 numbers"),
        (b"no model", "not in ONNX's own format"),
    ],
    ids=["quantised", "float16 within", "float16", "integers", "unknown"],
)
def test_a_model_of_other_numbers_stays_as_it_is(model: bytes, why: str, find: Find) -> None:
    found = find(model, allow="int8")
    assert found.names == ["cpu as the model", "openvino as the model"]
    assert why in found.left_out["openvino bfloat16"]
    assert why in found.left_out["int8"]


def test_activations_alone_make_a_model_of_float32(find: Find) -> None:
    assert "openvino bfloat16" in find(tiny_models.slow()).names


def test_the_level_of_optimisation_that_is_named(find: Find) -> None:
    found = find(graph_models.conv(), here=("cpu",), graph_optimization="basic")
    assert found.names == ["cpu float32, basic"]
    assert dict(found.families["cpu float32, basic"].options) == {}
    without = find(tiny_models.matmul(), here=("cpu",))
    assert "no convolution" in without.left_out["graph optimisation extended"]
    assert "fusions" in without.left_out["graph optimisation basic and disabled"]


def test_operators_side_by_side_may_run_at_once(find: Find) -> None:
    found = find(side_by_side())
    assert found.choices("cpu float32") == {"execution_mode": ("sequential", "parallel")}
    assert found.choices("openvino float32") == {}
    assert "one upon another" in find(tiny_models.matmul()).left_out["execution mode parallel"]
    assert "one core" in find(side_by_side(), cores=1).left_out["execution mode parallel"]
    given = find(side_by_side(), execution_mode="sequential")
    assert given.left_out["execution mode parallel"] == "--execution_mode names sequential"


def test_a_batch_may_wait_for_a_share_of_the_bound(find: Find) -> None:
    server: dict[str, Any] = {"scenario": "Server", "target_latency_ms": 20}
    waits = {"batch_timeout_us": (0.0, 2000.0, 5000.0)}
    found = find(tiny_models.matmul(), **server)
    assert found.choices("cpu float32") == found.choices("openvino float32") == waits
    assert "batch time-out" not in found.left_out
    for options, why in (
        ({"batch_size": 1}, "--batch_size 1"),
        ({"batch_timeout_us": 7}, "--batch_timeout_us names 7"),
        ({"runner": "inline"}, "--runner inline"),
        ({"target_latency_ms": None}, "no --target_latency_ms"),
    ):
        left = find(tiny_models.matmul(), **{**server, **options})
        assert why in left.left_out["batch time-out"]
        assert left.choices("cpu float32") == {}
    assert find(tiny_models.matmul(batch=1), **server).choices("cpu float32") == {}
    assert find(tiny_models.matmul()).choices("cpu float32") == {}


def test_the_fake_backend_has_one_family() -> None:
    config = BenchmarkConfig.model_validate({"backend": "fake", "mode": "tune"})
    families, left_out = find_families(config, "", lambda _: None)
    assert [(each.name, dict(each.options)) for each in families] == [("fake", {})]
    assert not left_out


def test_a_run_that_falls_back_is_no_candidate_of_its_provider(find: Find) -> None:
    found = find(
        tiny_models.matmul(),
        broken={"openvino": FAILS},
        execution_provider="openvino",
        allow_fallback=True,
    )
    assert found.names == ["cpu for openvino"]
    assert "There is no driver" in found.left_out["openvino"]


def test_each_provider_is_tried_once_where_a_run_would_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Callable[[str], Path]
) -> None:
    """The CPU's is in every environment, and was chosen already."""
    monkeypatch.setenv("LOADGEN_GENERIC_ENVIRONMENTS", str(tmp_path))
    python = stand_in_environments.make(tmp_path / "openvino", stand_in_environments.OPENVINO)
    monkeypatch.setattr(arithmetic, "processor_flags", lambda: BFLOAT16)
    asked: list[tuple[Path, str]] = []
    told: list[str] = []

    def answer(
        environment: Environment, job: Mapping[str, Any], _: Callable[[], None]
    ) -> dict[str, Any]:
        asked.append((environment.python, job["provider"]))
        return WORKS

    config = BenchmarkConfig.model_validate({"mode": "tune", "scenario": "Offline"})
    families, _ = find_families(config, str(models("matmul")), told.append, answer)
    assert [each.name for each in families if each.provider in ("cpu", "openvino")] == [
        "cpu float32",
        "openvino float32",
        "openvino bfloat16",
    ]
    assert (python, "OpenVINOExecutionProvider") in asked
    assert all("CPU" not in provider for _, provider in asked)
    assert "seeing whether openvino starts in the environment openvino" in told


def test_an_environment_that_cannot_be_used_says_why(find: Find) -> None:
    def lookup(name: str) -> Environment:
        raise RunError(f"{name}: Python 3.9 is too old. Make it again.")

    left_out = find(tiny_models.matmul(), lookup=lookup).left_out
    assert left_out["openvino"].endswith("Python 3.9 is too old. Make it again.")


def structure_of(model: bytes, directory: Path) -> Structure:
    path = directory / "structure.onnx"
    path.write_bytes(model)
    found = read_structure(str(path))
    assert found is not None
    return found


def test_shapes_and_constants_are_no_work_beside_others(tmp_path: Path) -> None:
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Mul", ["two", "two"], ["four"]),
        make("Mul", ["x", "four"], ["scaled"]),
        make("Gather", ["shape", "zero"], ["size"]),
        make("Unsqueeze", ["size", "first"], ["sizes"]),
        make("Reshape", ["scaled", "sizes"], ["flat"]),
        make("Relu", ["flat"], ["y"]),
    ]
    model = graph_model(
        nodes,
        [("x", FLOAT, ["N", 1])],
        [("y", FLOAT, ["N"])],
        two=np.float32(2),
        zero=np.array(0),
        first=np.array([0]),
    )
    assert structure_of(model, tmp_path).side_by_side == 1
    assert structure_of(side_by_side(), tmp_path).side_by_side == 2


def test_an_operator_of_a_longer_way_depends_on_the_shorter_one(tmp_path: Path) -> None:
    """As in a residual connection, where what is added waits for what it is added to."""
    nodes = [
        make("Relu", ["x"], ["a"]),
        make("Sigmoid", ["a"], ["b"]),
        make("Mul", ["a", "b"], ["y"]),
    ]
    chain = graph_model(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])
    assert structure_of(chain, tmp_path).side_by_side == 1


def test_a_branch_depends_on_what_its_bodies_read(tmp_path: Path) -> None:
    body = helper.make_graph(
        [make("Neg", ["a"], ["out"])],
        "body",
        [],
        [helper.make_tensor_value_info("out", FLOAT, ["N", 4])],
    )
    nodes = [
        make("Relu", ["x"], ["a"]),
        make("If", ["yes"], ["b"], then_branch=body, else_branch=body),
        make("Sigmoid", ["a"], ["c"]),
        make("Add", ["b", "c"], ["y"]),
    ]
    model = graph_model(
        nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], yes=np.array(True)
    )
    found = structure_of(model, tmp_path)
    assert found.side_by_side == 2
    assert "Neg" in found.operators


@pytest.mark.parametrize(
    ("model", "is_open"),
    [(tiny_models.matmul(), True), (tiny_models.matmul(8), False), (tiny_models.scalar(), False)],
    ids=["open", "fixed", "scalar"],
)
def test_an_open_batch(model: bytes, is_open: bool, tmp_path: Path) -> None:
    assert structure_of(model, tmp_path).open_batch is is_open
