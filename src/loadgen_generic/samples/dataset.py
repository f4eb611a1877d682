"""Finds out what a dataset is, and what it says of the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadgen_generic.samples.arrays import NpyFiles, NpzFile
from loadgen_generic.samples.images import SUFFIXES, ImageFile, ImageWishes, settle_recipe
from loadgen_generic.samples.jsonlines import json_lines
from loadgen_generic.samples.labels import LABEL_FILES
from loadgen_generic.samples.parts import Part, bad_data, in_order, inputs_of, match
from loadgen_generic.samples.protobuf import tensor_sets
from loadgen_generic.tensors import ModelSignature

__all__ = ["Dataset", "open_dataset", "sizes_of_dataset"]

_KINDS = (".npz", ".npy", ".jsonl", *SUFFIXES)
_UNDERSTOOD = (
    "Expected .npz, .npy or .jsonl files, images (.jpg, .png), or ONNX test_data_set_* directories."
)


@dataclass(frozen=True)
class Dataset:
    """The files of a dataset, before it is known how many samples they hold.

    Attributes:
        path: as given.
        kind: ``npz``, ``npy``, ``onnx``, ``images`` or ``jsonl``.
        parts: in order of the samples.
        files: the file of each part, where a label file can name it; empty otherwise.
        recipe: what is done to images.
    """

    path: Path
    kind: str
    parts: Sequence[Part]
    files: Sequence[Path] = ()
    recipe: Mapping[str, object] | None = None

    @property
    def directory(self) -> Path:
        """Where the labels lie."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def whole(self) -> bool:
        """A part holds what the model was run on at once."""
        return self.kind == "onnx"


def open_dataset(
    path: Path,
    signature: ModelSignature,
    model_stem: str,
    wishes: ImageWishes,
    sizes: Mapping[str, int],
) -> Dataset:
    """Find the parts of a dataset, in a directory or in one file.

    Args:
        model_stem: name of the model's file without ``.onnx``; ONNX test data may carry it.
        wishes: what the ``--image_*`` options say.
        sizes: symbolic dimension name to size, from ``--dim``.

    Raises:
        RequestError: nothing there, several kinds of data, or a kind that the model cannot use.
    """
    if not path.exists():
        raise bad_data(path, "does not exist.")
    dataset = _find(path, signature, model_stem, wishes, sizes)
    if dataset.kind != "images" and wishes != ImageWishes():
        raise bad_data(path, "holds no images, so the --image_* options have no meaning.")
    return dataset


def _find(
    path: Path,
    signature: ModelSignature,
    model_stem: str,
    wishes: ImageWishes,
    sizes: Mapping[str, int],
) -> Dataset:
    if path.is_dir():
        sets = tensor_sets(path, model_stem)
        if sets:
            return Dataset(path, "onnx", sets)
        files = [
            each
            for each in sorted(path.rglob("*"), key=in_order)
            # Only images may lie in subdirectories.
            if (each.parent == path or each.suffix.lower() in SUFFIXES)
            and each.suffix.lower() in _KINDS
            and each.name not in LABEL_FILES
            and not each.name.startswith(".")
        ]
    else:
        files = [path] if path.suffix.lower() in _KINDS else []
    kinds = {_kind(each) for each in files}
    if not kinds:
        raise bad_data(path, "holds no data that is understood here.", _UNDERSTOOD)
    if len(kinds) > 1:
        raise bad_data(path, f"holds several kinds of data: {', '.join(sorted(kinds))}.")
    (kind,) = kinds
    parts: Sequence[Part]
    if kind == "npz":
        parts = [NpzFile(each) for each in files]
    elif kind == "jsonl":
        return Dataset(path, kind, [line for each in files for line in json_lines(each)])
    elif kind == "images":
        recipe = settle_recipe(wishes, signature.inputs, path, sizes)
        images = [ImageFile(each, recipe) for each in files]
        return Dataset(path, kind, images, files, recipe.describe())
    else:
        together = _by_input(path, files, signature)
        if together is not None:
            return Dataset(path, kind, [together])
        parts = [NpyFiles.single(each) for each in files]
    return Dataset(path, kind, parts, files)


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return "images" if suffix in SUFFIXES else suffix[1:]


def _by_input(path: Path, files: Sequence[Path], signature: ModelSignature) -> NpyFiles | None:
    """The files as one part, if each is called by an input or output of the model."""
    stems = {each.stem: each for each in files}
    inputs, outputs = _names(signature)
    found = match(list(stems), inputs, "input")
    used = {*found.values(), *match(list(stems), outputs, "output").values()}
    missing = [name for name in inputs if name not in found]
    if missing and len(inputs) > 1:
        raise bad_data(path, f"holds no {missing[0]}.npy for the input {missing[0]}.")
    if found and used == stems.keys():
        return NpyFiles(str(path), stems)
    if len(inputs) > 1:
        extra = sorted(stems.keys() - used)
        raise bad_data(stems[extra[0]], "is called by no input or output of the model.")
    return None


def _names(signature: ModelSignature) -> tuple[list[str], list[str]]:
    return [spec.name for spec in signature.inputs], [spec.name for spec in signature.outputs]


def sizes_of_dataset(
    dataset: Dataset,
    signature: ModelSignature,
    shapes: Mapping[str, str],
    sizes: Mapping[str, int],
    batched: bool,
) -> dict[str, str]:
    """Shapes of the inputs as for ``--shape``, for what the model leaves open and the dataset
    has fixed: its first file decides.

    Args:
        shapes: input name to shape, from ``--shape``; these stay.
        sizes: symbolic dimension name to size, from ``--dim``; these are left out.
        batched: a leading dimension that is open on every input alike is left to the batch.

    Raises:
        RequestError: the first file lacks an input, or has one of another number of dimensions.
    """
    part = dataset.parts[0]
    stored = inputs_of(part, _names(signature)[0])
    headers = part.headers(list(stored.values()))
    leading = {spec.shape[:1] for spec in signature.inputs}
    batch = next(iter(leading)) if batched and len(leading) == 1 else ()
    open_batch = bool(batch) and not isinstance(batch[0], int) and batch[0] not in sizes
    found = dict(shapes)
    for spec in signature.inputs:
        if not spec.ranked and spec.name not in found:
            found[spec.name] = "x".join(map(str, headers[stored[spec.name]].shape))
            continue
        known = [isinstance(dim, int) or dim in sizes for dim in spec.shape]
        if spec.name in found or all(known):
            continue
        has, rank = headers[stored[spec.name]].shape, len(spec.shape)
        if len(has) == rank - 1:
            has = (1, *has)
        elif len(has) == rank + 1 and not open_batch:
            has = has[1:]
        if len(has) != rank:
            raise bad_data(
                part.name,
                f"input {spec.name} is {headers[stored[spec.name]].describe()}; the model "
                f"declares {spec.describe()}.",
            )
        settled = [
            "?" if skip else str(size)
            for skip, size in zip([open_batch or known[0], *known[1:]], has, strict=True)
        ]
        found[spec.name] = "x".join(settled)
    return found
