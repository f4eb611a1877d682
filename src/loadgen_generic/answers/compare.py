"""Two answers to a sample: how far apart they are, and whether that is too far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loadgen_generic.answers.split import looks_like_classes
from loadgen_generic.tensors import Array

__all__ = ["LEAST_COSINE", "Difference", "Tolerance", "compare", "tolerance_of"]

Numbers = npt.NDArray[Any]

LEAST_COSINE = 0.99
# How far below the largest value of the right answer, as a share of the spread of its values,
# the class that is named instead may be: so near, rounding to fewer bits decides.
_NEAR_TIE = 0.05
# Below this two numbers count as equal however small the output, as in onnx's own tests.
_LEAST_ERROR = 1e-7
# Element type: absolute (as a share of the largest value) and relative tolerance. About ten
# units in the last place where there are several bits, for sums in another order; float8 has
# so few that the last one is all there is.
_BY_TYPE = {
    "float64": (1e-5, 1e-4),
    "float32": (1e-4, 1e-3),
    "complex128": (1e-5, 1e-4),
    "complex64": (1e-4, 1e-3),
    "float16": (1e-2, 2e-2),
    "tf32": (1e-2, 2e-2),  # as many bits as float16 in all but the exponent
    "bfloat16": (5e-2, 5e-2),
    "float8": (0.125, 0.25),
    "float4": (0.25, 0.5),
}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Attributes:
    absolute: largest error of an element, in the output's own unit, or as a share of the
        output's largest finite value where ``scaled``.
    relative: added to it, as a share of the right value.
    by_direction: judge by cosine similarity and top-1 in place of the errors.
    """

    absolute: float
    relative: float
    scaled: bool = False
    by_direction: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an output is from the right one.

    Attributes:
        excess: the largest error over what is allowed there; more than 1 is a mismatch.
        max_abs, max_rel: largest errors; inf where only one of two is a number.
        cosine: similarity of the finite values; None for what is not a number.
        top_1: whether both name the same class; None unless it looks like a classifier's output.
        what: the mismatch in words; empty if there is none.
    """

    excess: float
    max_abs: float
    max_rel: float
    cosine: float | None
    top_1: bool | None
    what: str


def tolerance_of(
    dtype: np.dtype[np.generic],
    absolute: float | None = None,
    relative: float | None = None,
    by_direction: bool = False,
    computed: str = "",
) -> Tolerance:
    """What the user gave, and for what is left open the default of the element type.

    A given ``absolute`` or ``relative`` also turns ``by_direction`` off.

    Args:
        computed: the type that the computation used, where it is coarser than the model's own, or
            that the user judges by; an answer is held to the coarser of it and its own type.
    """
    given = absolute is not None or relative is not None
    default = next((t for name, t in _BY_TYPE.items() if dtype.name.startswith(name)), None)
    if default is None:
        return Tolerance(absolute or 0.0, relative or 0.0)
    default = max(default, _BY_TYPE.get(computed, default))
    return Tolerance(
        default[0] if absolute is None else absolute,
        default[1] if relative is None else relative,
        scaled=absolute is None,
        by_direction=by_direction and not given,
    )


def compare(measured: Array, right: Array, tolerance: Tolerance) -> Difference:
    """Compare an output of one sample with the right one.

    An element passes if ``|measured - right| <= absolute + relative * |right|``, as in
    ``numpy.isclose``; equal infinities agree, and so do two NaNs.
    """
    if measured.shape != right.shape:
        found, wanted = list(measured.shape), list(right.shape)
        return _lost(f"its shape is {found} where {wanted} is right")
    if measured.dtype.kind in "OSUT" or right.dtype.kind in "OSUT":
        return _compare_text(measured, right)
    a, b = _as_numbers(measured), _as_numbers(right)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        errors = np.where(same, 0.0, np.abs(a - b))
        errors = np.where(np.isfinite(errors), errors, np.inf)
        sizes = np.where(np.isfinite(b), np.abs(b), 0.0)
        absolute = tolerance.absolute
        if tolerance.scaled:
            absolute = absolute * float(np.max(sizes, initial=0.0)) + _LEAST_ERROR
        allowed = absolute + tolerance.relative * sizes
        excesses = np.where(errors == 0, 0.0, errors / allowed)
        relatives = np.where(errors == 0, 0.0, errors / sizes)
    excess = float(np.max(excesses, initial=0.0))
    cosine = _cosine(a, b)
    top_1 = bool(np.argmax(a) == np.argmax(b)) if looks_like_classes(right) else None
    what = ""
    if tolerance.by_direction:
        excess, what = _by_direction(a, b, errors, cosine, top_1)
    elif excess > 1:
        at = np.unravel_index(int(np.argmax(excesses)), excesses.shape)
        place = f" at {[int(i) for i in at]}" if at else ""
        by = f"{excess:.3g} times" if np.isfinite(excess) else "beyond"
        what = f"{_show(a[at])} in place of {_show(b[at])}{place}, {by} the tolerance"
    return Difference(
        excess,
        float(np.max(errors, initial=0.0)),
        float(np.max(relatives, initial=0.0)),
        cosine,
        top_1,
        what,
    )


def _by_direction(
    a: Numbers, b: Numbers, errors: Numbers, cosine: float, top_1: bool | None
) -> tuple[float, str]:
    """Excess and mismatch of an answer in another precision."""
    if not np.all(np.isfinite(errors)):
        return np.inf, "only one of the two is a finite number"
    excess = (1 - cosine) / (1 - LEAST_COSINE)
    if excess > 1:
        return excess, f"cosine similarity {cosine:.4f} where {LEAST_COSINE:g} is the least"
    if top_1 is False:
        behind = float(np.max(b) - b[np.argmax(a)])
        miss = behind / (_NEAR_TIE * float(np.max(b) - np.min(b)))
        if miss > 1:
            return miss, f"top-1 is {np.argmax(a)} in place of {np.argmax(b)}"
    return excess, ""


def _compare_text(measured: Array, right: Array) -> Difference:
    pairs = zip(measured.reshape(-1), right.reshape(-1), strict=True)
    for position, (a, b) in enumerate(pairs):
        one, other = (w.decode(errors="replace") if isinstance(w, bytes) else w for w in (a, b))
        if str(one) != str(other):
            return _lost(f"{one!r} in place of {other!r} at {position}")
    return Difference(0.0, 0.0, 0.0, None, None, "")


def _lost(what: str) -> Difference:
    return Difference(np.inf, np.inf, np.inf, None, None, what)


def _as_numbers(array: Array) -> Numbers:
    """Wide enough to hold every value of the element type exactly, and errors without overflow."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    # longdouble has 64 bits for a whole number on x86, where float64 has 53.
    wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8
    return array.astype(np.longdouble if wide else np.float64)


def _cosine(a: Numbers, b: Numbers) -> float:
    """1 for two vectors of zeros, 0 if one of them is; of the elements that are finite."""
    finite = np.isfinite(a) & np.isfinite(b)
    one, other = a[finite].reshape(-1), b[finite].reshape(-1)
    biggest = [float(np.max(np.abs(each), initial=0.0)) for each in (one, other)]
    if 0.0 in biggest:
        return 1.0 if biggest == [0.0, 0.0] else 0.0
    one, other = one / biggest[0], other / biggest[1]  # squares stay in range
    product = np.real(np.vdot(one, other))
    return float(product / (np.linalg.norm(one) * np.linalg.norm(other)))


def _show(value: object) -> str:
    return f"{complex(value):.6g}" if isinstance(value, complex) else f"{float(value):.6g}"  # type: ignore[arg-type]
