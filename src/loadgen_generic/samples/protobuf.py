"""ONNX's own test data: tensors in protobuf files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.samples.parts import Header, bad_data, in_order
from loadgen_generic.tensors import Array

__all__ = ["TensorSet", "tensor_sets"]


@dataclass(frozen=True)
class TensorSet:
    """``input_0.pb``, ``output_0.pb`` and so on, of one run of the model.

    Attributes:
        files: path by name: the file's, without what comes before ``input_`` or ``output_``.
    """

    name: str
    files: Mapping[str, Path]
    mapped = False
    untyped = False

    def names(self) -> Sequence[str]:
        return list(self.files)

    def headers(self, names: Sequence[str]) -> Mapping[str, Header]:
        arrays = {name: self.array(name) for name in names}
        return {name: Header(array.shape, array.dtype) for name, array in arrays.items()}

    def array(self, name: str) -> Array:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper

        path = self.files[name]
        tensor = onnx.TensorProto()
        try:
            tensor.ParseFromString(path.read_bytes())
            # The tensors of a sequence stand where a tensor has its segment.
            if tensor.HasField("segment") or tensor.data_type == onnx.TensorProto.UNDEFINED:
                raise bad_data(
                    path, "does not hold a tensor; sequences, maps and optional values are not fed."
                )
            values: Array = numpy_helper.to_array(tensor, str(path.parent))
        except (DecodeError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise bad_data(path, f"is not a readable TensorProto file: {error}.") from None
        # As in the other files: a width of its own instead of Python's objects.
        return values.astype(str) if values.dtype.hasobject else values


def tensor_sets(directory: Path, model_stem: str) -> list[TensorSet]:
    """The sets in a directory: it is one, has some as ``test_data_set_*``, or has files of the
    kind ``MODEL_input_0.pb``, of which those of the model of this stem are taken."""
    inside = sorted((d for d in directory.glob("test_data_set_*") if d.is_dir()), key=in_order)
    if inside:
        for each in inside:
            if not list(each.glob("*.pb")):
                raise bad_data(each, "holds no .pb files.")
        return [TensorSet(str(each), _plain(each)) for each in inside if _plain(each)]
    plain = _plain(directory)
    if plain:
        return [TensorSet(str(directory), plain)]
    flat: dict[str, dict[str, Path]] = {}
    for path in directory.glob("*.pb"):
        for kind in ("_input_", "_output_"):
            model, separator, rest = path.stem.rpartition(kind)
            if separator:
                flat.setdefault(model, {})[kind[1:] + rest] = path
    if len(flat) > 1 and model_stem not in flat:
        raise bad_data(
            directory,
            f"holds data of several models: {', '.join(sorted(flat))}.",
            f"None of them is called {model_stem}.",
        )
    chosen = model_stem if model_stem in flat else next(iter(flat), "")
    return [TensorSet(str(directory / f"{chosen}_input_0.pb"), flat[chosen])] if flat else []


def _plain(directory: Path) -> dict[str, Path]:
    return {
        path.stem: path
        for path in sorted(directory.glob("*.pb"), key=in_order)
        if path.stem.startswith(("input_", "output_"))
    }
