"""Real data: every kind of file becomes the right samples, within a bound of memory, and what is
wrong with a file is said with its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import psutil
import pytest
import tiny_models
from command import Command
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from loadgen_generic.assembly import Assembly
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.data import parse_image_size, parse_numbers
from loadgen_generic.errors import RequestError
from loadgen_generic.feed import Feed, settle_feed
from loadgen_generic.runners.layout import Layout
from loadgen_generic.samples import FileSource, ImageWishes, open_dataset
from loadgen_generic.tensors import Array, InputPlan, ModelSignature, SamplePlan, TensorSpec

FLOAT, INT64 = np.dtype(np.float32), np.dtype(np.int64)
X = TensorSpec("x", "tensor(float)", FLOAT, ("N", 4))
B = TensorSpec("b", "tensor(int64)", INT64, ("N", 2))
Y = TensorSpec("y", "tensor(float)", FLOAT, ("N", 3))
ONE = ModelSignature((X,), (Y,))
TWO = ModelSignature((X, B), (Y,))
ROWS = np.arange(40, dtype=np.float32).reshape(10, 4)


def source(
    path: Path, signature: ModelSignature = ONE, *, batched: bool = True, limit: int = 0
) -> FileSource:
    """A source of a signature whose leading dimension is the batch, or is 1."""
    inputs = []
    for spec in signature.inputs:
        assert spec.dtype is not None
        shape = tuple(d for d in spec.shape if isinstance(d, int))
        inputs.append(InputPlan(spec.name, spec.dtype, shape if batched else (1, *shape)))
    dataset = open_dataset(path, signature, "model", ImageWishes(), {})
    plan = SamplePlan(tuple(inputs), batched=batched, batch_name="N" if batched else "none")
    return FileSource(dataset, plan, [spec.name for spec in signature.outputs], limit)


def rows(samples: FileSource, indices: Sequence[int] | None = None) -> list[Array]:
    """These samples, or all; one array per input."""
    wanted = range(samples.count()) if indices is None else indices
    targets = [np.empty((len(wanted), *p.shape), p.dtype) for p in samples.plan.inputs]
    samples.read(wanted, targets)
    return list(targets)


def refused(path: Path, signature: ModelSignature = ONE) -> str:
    with pytest.raises(RequestError) as error:
        source(path, signature)
    return str(error.value)


ALONE = Layout("inline", 1, 1, 1)


def settled(model: Path, dataset: Path, **flags: object) -> Feed:
    config = BenchmarkConfig.model_validate(
        {"model_path": str(model), "dataset": str(dataset), "samples": 1, **flags}
    )
    return settle_feed(config, Assembly(config, str(model), 1), ALONE, 1 << 20)


def write_tensor(path: Path, values: object, name: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(numpy_helper.from_array(np.asarray(values), name).SerializeToString())


# --- .npy and .npz ---------------------------------------------------------------------------


def test_stacked_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "any.npy", ROWS)
    for where in (tmp_path, tmp_path / "any.npy"):
        found = source(where)
        assert found.count() == 10
        assert np.array_equal(rows(found, [9, 0, 3, 3])[0], ROWS[[9, 0, 3, 3]])
        assert found.expected(0) is None
        assert found.label(0) is None


def test_one_npy_per_sample_in_order_of_their_numbers(tmp_path: Path) -> None:
    for number, row in enumerate(ROWS[:3]):
        np.save(tmp_path / f"s{[2, 9, 10][number]}.npy", row)
    assert np.array_equal(rows(source(tmp_path))[0], ROWS[:3])


def test_one_npy_per_input(tmp_path: Path) -> None:
    b = np.arange(20).reshape(10, 2)
    np.save(tmp_path / "x.npy", ROWS)
    np.save(tmp_path / "b.npy", b)
    np.save(tmp_path / "y.npy", ROWS[:, :3])
    found = source(tmp_path, TWO)
    assert [a.tolist() for a in rows(found)] == [ROWS.tolist(), b.tolist()]
    expected = found.expected(4)
    assert expected is not None
    assert expected[0].tolist() == ROWS[4:5, :3].tolist()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files_of_one_and_of_several_samples(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "0.npz", x=ROWS[0], b=np.array([0, 1]), y=ROWS[0, :3])
    save(tmp_path / "1.npz", input_0=ROWS[1:4], b=np.ones((3, 2), np.int32), y=ROWS[1:4, :3])
    found = source(tmp_path, TWO)
    assert found.count() == 4
    x, b = rows(found, [3, 0, 2])
    assert np.array_equal(x, ROWS[[3, 0, 2]])
    assert b.tolist() == [[1, 1], [0, 1], [1, 1]]
    for index in range(4):
        expected = found.expected(index)
        assert expected is not None
        assert np.array_equal(expected[0], ROWS[index : index + 1, :3])


def test_samples_of_a_model_without_a_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)  # ten samples of [1, 4]
    found = source(tmp_path, batched=False)
    assert found.count() == 10
    assert np.array_equal(rows(found)[0], ROWS[:, np.newaxis])


def test_fortran_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(ROWS))
    assert np.array_equal(rows(source(tmp_path))[0], ROWS)


@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), st.integers(1, 6))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, shape: tuple[int, ...], n: int
) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(["f4", "f8", "i8", "i4", "u1", "?", "f2"])))
    values = data.draw(hnp.arrays(dtype, (n, *shape)))
    order = data.draw(st.lists(st.integers(0, n - 1), min_size=1))
    spec = TensorSpec("x", "", dtype, ("N", *shape))
    signature = ModelSignature((spec,), ())
    where = tmp_path_factory.mktemp("written")
    np.save(where / "a.npy", values)
    np.savez(where / "b.npz", x=values)
    np.savez_compressed(where / "c.npz", x=values)
    for name in ("a.npy", "b.npz", "c.npz"):
        found = source(where / name, signature)
        assert found.count() == n
        assert rows(found, order)[0].tobytes() == values[order].tobytes()


def test_samples_of_many_files_in_any_order_and_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadgen_generic.samples.files._CHUNK_BYTES", 2 * ROWS[0].nbytes)
    for number, (start, end) in enumerate(((0, 1), (1, 6), (6, 10))):
        np.savez(tmp_path / f"{number}.npz", x=ROWS[start:end])
    found = source(tmp_path)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 3)).tolist()
    assert np.array_equal(rows(found, order)[0], ROWS[order])
    assert np.array_equal(rows(found)[0], ROWS)
    first = source(tmp_path, limit=7)
    assert first.count() == 7
    assert np.array_equal(rows(first)[0], ROWS[:7])


# --- ONNX test data --------------------------------------------------------------------------


def test_several_sets_beside_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(tiny_models.matmul())
    for number, row in ((2, 0), (10, 1)):
        where = tmp_path / f"test_data_set_{number}"
        write_tensor(where / "input_0.pb", ROWS[row : row + 1])
        write_tensor(where / "output_0.pb", ROWS[row : row + 1, :3])
    found = source(tmp_path)
    assert np.array_equal(rows(found)[0], ROWS[:2])
    for index in range(2):
        expected = found.expected(index)
        assert expected is not None
        assert np.array_equal(expected[0], ROWS[index : index + 1, :3])
    assert source(tmp_path / "test_data_set_2").count() == 1


def test_a_set_with_a_batch_is_several_samples(tmp_path: Path) -> None:
    write_tensor(tmp_path / "input_x.pb", ROWS)
    write_tensor(tmp_path / "output_y.pb", ROWS[:, :3])
    found = source(tmp_path)
    assert found.count() == 10
    expected = found.expected(7)
    assert expected is not None
    assert np.array_equal(expected[0], ROWS[7:8, :3])


def test_files_that_carry_the_name_of_the_model(tmp_path: Path) -> None:
    for model in ("other", "model"):
        write_tensor(tmp_path / f"{model}_input_0.pb", ROWS[:1] + (model == "other"))
        write_tensor(tmp_path / f"{model}_output_0.pb", ROWS[:1, :3])
    assert np.array_equal(rows(source(tmp_path))[0], ROWS[:1])
    (tmp_path / "model_input_0.pb").unlink()
    assert "lacks the input x" in refused(tmp_path)  # as in the onnx package's light data


def test_a_sequence_is_refused_by_name(tmp_path: Path) -> None:
    info = helper.make_sequence("s", onnx.SequenceProto.TENSOR, [numpy_helper.from_array(ROWS)])
    (tmp_path / "input_0.pb").write_bytes(info.SerializeToString())
    message = refused(tmp_path)
    assert "input_0.pb" in message
    assert "does not hold a tensor" in message


@pytest.mark.parametrize(
    "name", ["simple/test_expand_shape_model1", "pytorch-operator/test_operator_chunk"]
)
def test_onnx_own_data_gives_the_expected_answers(name: str) -> None:
    where = Path(onnx.__file__).parent / "backend" / "test" / "data" / name
    config = BenchmarkConfig.model_validate(
        {"model_path": str(where / "model.onnx"), "dataset": str(where), "samples": 1}
    )
    assembly = Assembly(config, str(where / "model.onnx"), 1)
    feed = settle_feed(config, assembly, ALONE, 1)
    feed.samples.load([0])
    worker = assembly.backend(ALONE)[0].worker()
    worker.infer(feed.samples.reader(1).batch([0]))
    expected = feed.samples.source.expected(0)
    assert expected is not None
    for answer, right in zip(worker.outputs(), expected, strict=True):
        np.testing.assert_allclose(answer, right, rtol=1e-4)
    assembly.close()


# --- JSON lines ------------------------------------------------------------------------------


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


def test_json_lines_with_labels(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "a.jsonl",
        *({"x": row.tolist(), "b": [1, 2], "label": k} for k, row in enumerate(ROWS)),
    )
    found = source(path, TWO)
    assert np.array_equal(rows(found, [5, 2])[0], ROWS[[5, 2]])
    assert [found.label(k) for k in range(10)] == list(range(10))


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=4, max_size=4), min_size=1))
def test_what_is_written_as_json_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: list[list[float]]
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    found = source(write_lines(path, *({"x": row} for row in values)))
    assert np.array_equal(rows(found)[0], np.array(values, np.float32))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"x": [1, 2, 3, 4]', "is not JSON"),
        ("[1, 2]", "is not a JSON object"),
        ('{"x": [1, [2], 3, 4]}', "make no array"),
        ('{"x": [1, 2, 3]}', "input x is int64[3]; a sample is float32[4]"),
        ('{"x": ["a", "b", "c", "d"]}', "the model takes float32"),
        ('{"z": 1}', "lacks the input x"),
    ],
)
def test_a_bad_line_is_named(line: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": [1, 2, 3, 4]}\n\n' + line + "\n")
    message = refused(tmp_path)
    assert "a.jsonl, line 3: " in message
    assert says in message


def test_whole_numbers_in_json_must_fit(tmp_path: Path) -> None:
    signature = ModelSignature((TensorSpec("x", "", np.dtype(np.uint8), ("N", 1)),), ())
    assert rows(source(write_lines(tmp_path / "a.jsonl", {"x": [255]}), signature))[0] == 255
    assert "not uint8" in refused(write_lines(tmp_path / "b.jsonl", {"x": [256]}), signature)
    assert "takes uint8" in refused(write_lines(tmp_path / "c.jsonl", {"x": [1.5]}), signature)


TEXT = ModelSignature((TensorSpec("t", "tensor(string)", np.dtype("<U16"), ("N", 2)),), ())


def test_text_is_never_cut(tmp_path: Path) -> None:
    words = [["a", "b"], ["ä" * 40, ""]]
    np.save(tmp_path / "a.npy", np.array(words))
    write_tensor(tmp_path / "set" / "input_0.pb", np.array(words, object))
    lines = write_lines(tmp_path / "a.jsonl", *({"t": line} for line in words))
    for path in (tmp_path / "a.npy", tmp_path / "set", lines):
        found = source(path, TEXT)
        assert found.plan.inputs[0].dtype == np.dtype("<U40")
        assert rows(found)[0].tolist() == words


def test_types_that_numpy_lacks(tmp_path: Path) -> None:
    for name, value in (("bfloat16", 1.5), ("int4", -3)):
        dtype = np.dtype(getattr(ml_dtypes, name))
        signature = ModelSignature((TensorSpec("x", "", dtype, ("N", 1)),), ())
        line = write_lines(tmp_path / f"{name}.jsonl", {"x": [value]})
        assert rows(source(line, signature))[0] == value
        np.save(tmp_path / f"{name}.npy", np.array([[value]], dtype))
        assert rows(source(tmp_path / f"{name}.npy", signature))[0] == value
        write_tensor(tmp_path / name / "input_0.pb", np.array([[value]], dtype))
        assert rows(source(tmp_path / name, signature))[0] == value
    too_large = write_lines(tmp_path / "b.jsonl", {"x": [9]})
    assert "not int4" in refused(too_large, signature)


# --- images ----------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A directory with one image: 20 high, 40 wide, red on the left, blue on the right."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20, 0], pixels[:, 20:, 2] = 255, 255
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


def image(feed: Feed) -> Array:
    """The first sample."""
    feed.samples.load([0])
    found = feed.samples.reader(1).batch([0]).arrays[0]
    return found[0]


def test_an_image_is_cropped_from_its_centre(photo: Path, models: Callable[[str], Path]) -> None:
    found = image(settled(models("image"), photo, image_size="10"))
    assert found.shape == (3, 10, 10)
    # A square of the middle: half red, half blue, no green.
    assert found[0, :, :4].min() == found[2, :, 6:].min() == 1
    assert found[1].max() == 0
    whole = image(settled(models("image"), photo, image_size="10x20", image_crop="none"))
    assert whole.shape == (3, 10, 20)
    near = image(settled(models("image"), photo, image_size="10", image_resize=20))
    assert near.shape == (3, 10, 10)


def test_imagenet_preset(photo: Path, models: Callable[[str], Path]) -> None:
    feed = settled(models("image"), photo, image_preset="imagenet")
    found = image(feed)
    assert found.shape == (3, 224, 224)
    assert found[0, 0, 0] == pytest.approx((1 - 0.485) / 0.229, rel=1e-5)
    assert found[2, 0, 0] == pytest.approx((0 - 0.406) / 0.225, rel=1e-5)
    assert feed.effective["image_resize"] == 256


def test_layout_and_size_come_from_the_model(photo: Path, tmp_path: Path) -> None:
    for name, shape in (("nhwc", ["N", 8, 6, 3]), ("grey", ["N", 1, 8, 6])):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "g",
            [info("x", TensorProto.UINT8, shape)],
            [info("y", TensorProto.UINT8, shape)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / f"{name}.onnx")
        found = image(settled(tmp_path / f"{name}.onnx", photo))
        assert found.shape == tuple(shape[1:])
        assert found.dtype == np.uint8
        assert found.max() == (255 if name == "nhwc" else 76)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({}, "--image_size HEIGHTxWIDTH"),
        ({"image_size": "8", "image_resize": 4}, "--image_resize 4: is less than"),
        ({"image_size": "8", "image_layout": "nhwc"}, "the model declares"),
    ],
)
def test_image_options_that_do_not_fit(
    flags: dict[str, object], says: str, photo: Path, models: Callable[[str], Path]
) -> None:
    with pytest.raises(RequestError, match=says):
        settled(models("image"), photo, **flags)


def test_images_need_an_image_input(photo: Path, models: Callable[[str], Path]) -> None:
    with pytest.raises(RequestError, match="no single image input"):
        settled(models("matmul"), photo)


def test_without_pillow_the_error_says_what_to_install(
    photo: Path, models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RequestError, match=r"loadgen-generic\[images\]"):
        settled(models("image"), photo, image_size="8")


def test_broken_images_are_named(
    photo: Path, models: Callable[[str], Path], command: Command
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(photo / "b.jpg")
    (photo / "b.jpg").write_bytes((photo / "b.jpg").read_bytes()[:-500])
    (photo / "c.jpg").write_bytes(b"no image")
    flags = {"dataset": photo, "image_size": 8, "samples": 5}
    before = command.run(models("image"), **flags)
    assert before.code == 2
    assert "c.jpg: is not a readable image" in before.stderr
    (photo / "c.jpg").unlink()
    later = command.run(models("image"), output_dir="later", **flags)
    assert later.code == 2
    assert "b.jpg: is not a readable image" in later.stderr


# --- labels ----------------------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for name, row in zip("abc", ROWS, strict=False):
        np.save(tmp_path / f"{name}.npy", row)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "c.npy 7\na.npy 5\n\nb.npy 6\n"),
        ("val_map.txt", "a.npy 5\nb.npy 6\nc.npy 7"),
        ("labels.csv", "file,label\na.npy,5\nb.npy,6\nc.npy,7\n"),
    ],
)
def test_label_files(name: str, text: str, labelled: Path) -> None:
    (labelled / name).write_text(text)
    assert [source(labelled).label(k) for k in range(3)] == [5, 6, 7]


def test_labels_of_stacked_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    np.save(tmp_path / "labels.npy", np.arange(10) * 2)
    assert [source(tmp_path).label(k) for k in range(10)] == list(range(0, 20, 2))
    np.save(tmp_path / "labels.npy", np.arange(9))
    assert "labels.npy" in refused(tmp_path)


def test_subdirectories_are_classes_if_all_images_are_in_one(
    tmp_path: Path, models: Callable[[str], Path]
) -> None:
    for name in ("dog/1.png", "cat/2.png", "cat/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    found = settled(models("image"), tmp_path, image_size="8").samples.source
    assert [found.label(k) for k in range(3)] == [0, 0, 1]
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    assert settled(models("image"), tmp_path, image_size="8").effective["labels"] is False


def test_what_is_wrong_with_labels_is_named(labelled: Path) -> None:
    (labelled / "labels.txt").write_text("a.npy 5\nb.npy 6\n")
    assert "c.npy: has no label in" in refused(labelled)
    (labelled / "labels.txt").write_text("a.npy five\n")
    assert "labels.txt, line 1: expected a file and a whole number" in refused(labelled)
    (labelled / "labels.csv").write_text("")
    assert "holds both" in refused(labelled)


# --- what does not fit -----------------------------------------------------------------------


def test_element_types_are_never_narrowed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS.astype(np.float16))  # widens without loss
    assert np.array_equal(rows(source(tmp_path))[0], ROWS)
    np.save(tmp_path / "a.npy", ROWS.astype(np.float64))
    message = refused(tmp_path)
    assert "input x is float64; the model takes float32" in message
    assert 'astype("float32")' in message
    np.save(tmp_path / "a.npy", ROWS.astype(np.int32))
    assert "input x is int32" in refused(tmp_path)


def test_a_sample_of_another_shape_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS[0])
    np.save(tmp_path / "b.npy", ROWS[0, :3])
    message = refused(tmp_path)
    assert "b.npy: input x is float32[3]; a sample is float32[4]" in message
    assert "pad them" in message


def test_files_that_are_no_data(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    assert "does not exist" in refused(path)
    assert "holds no data that is understood here" in refused(tmp_path)
    path.write_bytes(b"")
    assert "a.npy: is not a readable .npy file" in refused(path)
    np.save(path, ROWS)
    path.write_bytes(path.read_bytes()[:-1])
    assert "a.npy: is cut short" in refused(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    assert "holds Python objects" in refused(path)
    np.save(path, ROWS[:0])
    assert "holds no samples" in refused(path)
    (tmp_path / "b.npz").write_bytes(b"PK")
    assert "holds several kinds of data: npy, npz" in refused(tmp_path)
    assert "b.npz: is not a readable .npz file" in refused(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w"):
        pass
    assert "b.npz: holds no arrays" in refused(tmp_path / "b.npz")
    (tmp_path / "input_0.pb").write_bytes(b"\xff\xff")
    assert "input_0.pb: is not a readable TensorProto" in refused(tmp_path)


def test_missing_inputs_and_unequal_numbers_of_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS)
    assert "a.npz: lacks the input b. It holds: x." in refused(tmp_path, TWO)
    np.savez(tmp_path / "a.npz", x=ROWS, b=np.ones((9, 2), np.int64))
    assert "different numbers of samples: 10 of x, 9 of b" in refused(tmp_path, TWO)
    (tmp_path / "a.npz").unlink()
    np.save(tmp_path / "x.npy", ROWS)
    assert "holds no b.npy for the input b" in refused(tmp_path, TWO)


def test_option_values() -> None:
    assert parse_image_size("224") == (224, 224)
    assert parse_image_size("224x320") == (224, 320)
    assert parse_numbers("0.5,1,2") == (0.5, 1, 2)
    for bad in ("", "0", "1x2x3", "ax2"):
        with pytest.raises(ValueError):
            parse_image_size(bad)
    for bad in ("", "1,2", "a"):
        with pytest.raises(ValueError):
            parse_numbers(bad)


# --- through the command ---------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["inline", "threadpool", "processpool"])
def test_a_run_on_a_dataset(
    runner: str, command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    flags = {"dataset": "a.npy", "runner": runner, "samples": 40, "warmup_queries": 1}
    for scenario in ("Offline", "MultiStream"):
        effective = command.run(
            models("matmul"), scenario=scenario, output_dir=scenario, **flags
        ).effective
        assert effective["dataset"] == "a.npy"
        assert effective["distinct_samples"] == effective["samples_in_memory"] == 10
        assert effective["labels"] is False
    bounded = command.run(
        models("matmul"), samples_in_memory=3, distinct_samples=7, output_dir="bounded", **flags
    ).effective
    assert (bounded["distinct_samples"], bounded["samples_in_memory"]) == (7, 3)


def test_open_dimensions_are_those_of_the_dataset(
    command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "tokens.npy", np.ones((6, 17), np.int32))
    effective = command.run(models("sequence"), dataset="tokens.npy", samples=5).effective
    assert effective["inputs"] == {"tokens": "int64[17], from the dataset"}
    clash = command.run(
        models("sequence"), dataset="tokens.npy", dim="seq=3", samples=5, output_dir="clash"
    )
    assert clash.code == 2
    assert "tokens.npy: input tokens is int32[6x17]; a sample is int64[3]" in clash.stderr


def test_a_dataset_that_lacks_what_the_model_leaves_open(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", other=ROWS)
    with pytest.raises(RequestError, match=r"a\.npz: lacks the input tokens\. It holds: other"):
        settled(models("sequence"), tmp_path)
    np.savez(tmp_path / "a.npz", tokens=np.ones((2, 3), np.int64), other=ROWS)
    notes = settled(models("sequence"), tmp_path).notes
    assert notes == ["of the dataset, other is no input or output of the model: not read"]
    np.savez(tmp_path / "a.npz", tokens=np.ones((2, 3, 1, 1), np.int64))
    with pytest.raises(RequestError, match=r"input tokens is int64\[2x3x1x1\]; the model declares"):
        settled(models("sequence"), tmp_path)


def test_a_fixed_batch_larger_than_the_dataset(command: Command, tmp_path: Path) -> None:
    (tmp_path / "three.onnx").write_bytes(tiny_models.matmul(3))
    np.save(tmp_path / "a.npy", ROWS[:2])
    effective = command.run("three.onnx", dataset="a.npy", samples=5).effective
    assert (effective["distinct_samples"], effective["batch_dim"]) == (2, "3")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"dataset": "nowhere"}, "--dataset nowhere: does not exist."),
        ({"dataset": "a.npy", "range": "x=0:1"}, "both say what x is fed with"),
        ({"dataset": "a.npy", "fill": "x=ones"}, "both say what x is fed with"),
        ({"dataset": "a.npy", "distinct_samples": 11}, "--distinct_samples 11: a.npy holds 10"),
        ({"dataset": "a.npy", "image_size": 8}, "holds no images"),
        ({"samples_in_memory": 3}, "--samples_in_memory has no meaning without --dataset"),
        ({"image_crop": "none"}, "--image_crop has no meaning without --dataset"),
        ({"dataset": "a", "image_crop": "none", "image_resize": 9}, "leave one out"),
    ],
)
def test_contradictions_are_refused(
    flags: dict[str, object],
    says: str,
    command: Command,
    models: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    outcome = command.run(models("matmul"), samples=5, **flags)
    assert outcome.code == 2
    assert says in outcome.stderr


def test_a_file_that_breaks_later_is_named_when_it_is_loaded(
    photo: Path, models: Callable[[str], Path]
) -> None:
    """Its header was whole when the dataset was opened."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(photo / "b.jpg")
    samples = settled(models("image"), photo, image_size="8", samples_in_memory=1).samples
    (photo / "b.jpg").write_bytes((photo / "b.jpg").read_bytes()[:-500])
    samples.load([0])
    with pytest.raises(RequestError, match=r"b\.jpg: is not a readable image"):
        samples.load([1])


def test_a_file_that_breaks_while_loadgen_loads_is_named(
    photo: Path, command: Command, models: Callable[[str], Path]
) -> None:
    """The probe sees the first image only; an accuracy run loads the others."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name in "bcd":
        Image.fromarray(noise).save(photo / f"{name}.jpg")
    (photo / "d.jpg").write_bytes((photo / "d.jpg").read_bytes()[:-500])
    flags = {"dataset": photo, "image_size": 8, "samples_in_memory": 1}
    outcome = command.run(models("image"), mode="accuracy", **flags)
    assert outcome.code == 2
    assert "d.jpg: is not a readable image" in outcome.stderr


def test_a_bound_below_the_dataset_is_told(
    command: Command, models: Callable[[str], Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    flags = {"dataset": "a.npy", "samples": 5}
    for bound, told in ((3, True), (10, False), (99, False)):
        result = command.run(
            models("matmul"), samples_in_memory=bound, output_dir=f"of{bound}", **flags
        ).result
        assert result.config.effective["samples_in_memory"] == min(bound, 10)
        assert any("3 of the dataset's 10 samples" in note for note in result.notes) is told


def test_the_bound_is_what_fits_the_memory(
    tmp_path: Path, models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", ROWS)  # samples of 16 bytes
    for available, resident in ((4 * 16 * 3, 3), (1 << 30, 10)):
        monkeypatch.setattr(
            "loadgen_generic.feed.dataset.available_memory_bytes", lambda a=available: a
        )
        feed = settled(models("matmul"), tmp_path / "a.npy")
        assert feed.samples.resident() == resident
        assert len(feed.notes) == (resident == 3)
    monkeypatch.setattr("loadgen_generic.feed.dataset.available_memory_bytes", lambda: 60)
    with pytest.raises(RequestError, match="--samples_in_memory 1"):
        settled(models("matmul"), tmp_path / "a.npy")


# --- larger than memory ----------------------------------------------------------------------

WIDTH = 1 << 18
SAMPLE_BYTES = 4 * WIDTH
HUGE_ROWS = (20 << 30) // SAMPLE_BYTES


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A sparse file of 20 GiB: samples of 1 MiB."""
    path = tmp_path / "huge.npy"
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (HUGE_ROWS, WIDTH)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + HUGE_ROWS * SAMPLE_BYTES)
    return path


def test_twenty_gigabytes_within_the_bound(huge: Path, command: Command, tmp_path: Path) -> None:
    model = tmp_path / "wide.onnx"
    model.write_bytes(tiny_models.negation("N", WIDTH))
    flags = {"scenario": "SingleStream", "samples": 20, "runner": "inline", "warmup_queries": 0}
    peaks = {}
    for resident in (1, 64):
        running = command.start(
            "run",
            model,
            dataset=huge,
            samples_in_memory=resident,
            output_dir=f"of{resident}",
            **flags,
        )
        with peak_rss(running.process.pid) as peak:
            outcome = running.finish()
        assert outcome.effective["distinct_samples"] == HUGE_ROWS
        assert outcome.effective["samples_in_memory"] == resident
        peaks[resident] = peak[0]
    # The samples themselves, and the pages of the file that are mapped while they are copied.
    assert peaks[64] - peaks[1] < 64 * SAMPLE_BYTES + (48 << 20)
    assert peaks[64] < 1 << 30


class peak_rss:  # noqa: N801 - reads as a statement
    """Watches the largest sum of resident memory over a process and its children, in bytes."""

    def __init__(self, pid: int) -> None:
        self._pid, self._over = pid, threading.Event()
        self.peak = [0]
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> list[int]:
        self._thread.start()
        return self.peak

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.peak[0] = max(self.peak[0], sum(self._sizes()))

    def _sizes(self) -> Iterator[int]:
        try:
            process = psutil.Process(self._pid)
            for each in (process, *process.children(recursive=True)):
                yield each.memory_info().rss
        except psutil.NoSuchProcess:
            return


CHURN = """
import resource, sys
from pathlib import Path
import numpy as np
from loadgen_generic.samples import FileSource, ImageWishes, Samples, open_dataset
from loadgen_generic.tensors import InputPlan, ModelSignature, SamplePlan, TensorSpec
width, path = int(sys.argv[1]), Path(sys.argv[2])
dtype = np.dtype(np.float32)
signature = ModelSignature((TensorSpec("x", "", dtype, ("N", width)),), ())
plan = SamplePlan((InputPlan("x", dtype, (width,)),), batched=True)
samples = Samples(plan, FileSource(open_dataset(path, signature, "", ImageWishes(), {}), plan, []),
                  resident=16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, 1600, 16):
    samples.load(range(start, start + 16))
    samples.unload(range(start, start + 16))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="reads the peak by getrusage")
def test_loading_again_and_again_stays_within_the_bound(huge: Path) -> None:
    """As in an accuracy run, which loads every sample of the dataset once."""
    grown = subprocess.run(
        [sys.executable, "-c", CHURN, str(WIDTH), str(huge)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(grown.stdout) << 10 < 2 * 16 * SAMPLE_BYTES + (16 << 20)
