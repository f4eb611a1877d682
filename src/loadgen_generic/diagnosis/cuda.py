"""What CUDA, cuBLAS, cuDNN and TensorRT say of a card, in a start and in the middle of a run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from loadgen_generic.diagnosis.finding import Finding
from loadgen_generic.diagnosis.remedies import DRIVER

__all__ = ["find_by_code", "find_card_trouble"]

# "CUDA failure 2: out of memory ; GPU=0 ; hostname=..."
_CODE = re.compile(r"CUDA failure (\d+): ")
_CARD = re.compile(r"\bGPU=(\d+)")
_MOST_CARDS = 64  # where no card was chosen yet, ONNX Runtime prints a number from nowhere
_ASKED_FOR = re.compile(
    r"requested buffer of size (\d+)|allocating (\d+)-byte|GPU memory \((\d+) bytes\)"
)
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class _Rule:
    """A trouble: CUDA's codes of it, what else tells of it, the problem and the remedy.

    In the problem ``{card}`` stands for the card, with its number if it is known.
    """

    codes: tuple[int, ...]
    words: str
    problem: str
    remedy: str


_LESS = (
    "Try a smaller --batch_size, or a smaller --concurrency, since each worker has buffers of its "
    "own; nvidia-smi shows which other processes have memory of the card."
)
_AGAIN = (
    "nvidia-smi shows whether the card still answers, and the system's log (dmesg, lines with Xid) "
    "what happened to it. Run it again; if that does not help, reset the card or restart."
)
_RULES = (
    _Rule(
        (2,),
        r"out of memory|Failed to allocate memory for requested buffer|STATUS_ALLOC_FAILED"
        r"|OutOfMemory|cudaErrorMemoryAllocation|insufficient workspace"
        r"|INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "{card} is out of memory{asked}.",
        _LESS,
    ),
    _Rule(
        (35,),
        "driver version is insufficient|cudaErrorInsufficientDriver",
        "The NVIDIA driver is missing or too old for the CUDA that onnxruntime-gpu is built for.",
        f"{DRIVER} `loadgen-generic doctor` shows which CUDA the driver supports.",
    ),
    _Rule(
        (100,),
        "no CUDA-capable device is detected|cudaErrorNoDevice",
        "CUDA sees no GPU{hidden}.",
        "nvidia-smi lists the GPUs of this machine; a container must be given them "
        "(docker run --gpus all), and CUDA_VISIBLE_DEVICES must not hide them.",
    ),
    _Rule(
        (101,),
        "invalid device ordinal|cudaErrorInvalidDevice",
        "There is no GPU with the number that was asked for{hidden}.",
        "`loadgen-generic doctor` lists the GPUs; CUDA_VISIBLE_DEVICES gives those it names the "
        "numbers 0, 1 and so on.",
    ),
    _Rule(
        (46,),
        "devices? (?:are|is|\\(s\\) is/are) busy or unavailable|cudaErrorDevicesUnavailable",
        "{card} is busy or unavailable: another process has it for itself, or it is in a state "
        "in which it takes no work.",
        "nvidia-smi shows its processes and its compute mode; end the other process, or name "
        "another card with --devices.",
    ),
    _Rule(
        (802,),
        "system not yet initialized|cudaErrorSystemNotReady",
        "The GPUs are not ready: the service that joins them (nvidia-fabricmanager) does not run.",
        "Start it (systemctl start nvidia-fabricmanager); its version must be the driver's.",
    ),
    _Rule(
        (803,),
        "unsupported display driver / cuda driver combination|cudaErrorSystemDriverMismatch",
        "The NVIDIA driver in the kernel and its libraries have different versions.",
        "Restart after a driver's update; in a container, do not install a driver inside of it.",
    ),
    _Rule(
        (804,),
        "forward compatibility was attempted on non supported HW"
        "|cudaErrorCompatNotSupportedOnDevice",
        "The CUDA here is newer than the driver, and this kind of GPU does not allow that.",
        "Update the driver, or take the CUDA libraries' compat directory out of LD_LIBRARY_PATH.",
    ),
    _Rule(
        (209,),
        "no kernel image is available|cudaErrorNoKernelImageForDevice",
        "This onnxruntime-gpu has no code for {card}: the card is newer or older than those it "
        "was built for.",
        "Install a newer onnxruntime-gpu for a new card, or an older one for an old card.",
    ),
    _Rule(
        (214,),
        "uncorrectable ECC error|cudaErrorECCUncorrectable",
        "{card} has a memory error that it could not correct.",
        "Reset the card; if it comes again, the card is faulty.",
    ),
    _Rule(
        (700, 714, 715, 716, 717, 718),
        "illegal memory access|misaligned address|illegal instruction",
        "A computation on {card} reached for memory that is not its own, which is an error in "
        "ONNX Runtime, a library or the driver.",
        "Run it again; if it comes again, try another version of onnxruntime-gpu or of the driver.",
    ),
    _Rule(
        (702,),
        "launch timed out|cudaErrorLaunchTimeout",
        "{card} was stopped by the system since one computation took too long, as happens on a "
        "card that also drives a display.",
        "Try a smaller --batch_size, or a card without a display.",
    ),
    _Rule(
        (3, 4, 710, 719, 999),
        "unspecified launch failure|cudaErrorLaunchFailure|device-side assert|device is lost"
        r"|GPU has fallen off the bus|driver shutting down|\bXid\b|GPU is lost"
        "|CUDA failure \\d+: unknown error|cudaErrorUnknown",
        "{card} stopped working: it disappeared, its driver was restarted or a computation on it "
        "crashed.",
        _AGAIN,
    ),
    _Rule(
        (),
        "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH|CUDNN_STATUS_VERSION_MISMATCH",
        "Two versions of cuDNN are mixed: some of its parts come from the system and some from "
        "Python packages.",
        "Remove one of the two, or put the right directory first in LD_LIBRARY_PATH.",
    ),
    _Rule(
        (),
        "CUDNN_STATUS_(?:NOT_INITIALIZED|SUBLIBRARY_LOADING_FAILED)"
        "|CUBLAS_STATUS_NOT_INITIALIZED|Failed to initialize CUDNN Frontend",
        "cuDNN or cuBLAS could not start on {card}: its memory is full, or the library does not "
        "fit to CUDA and the driver.",
        f"{_LESS} `loadgen-generic doctor` shows which versions are here.",
    ),
    _Rule(
        (),
        r"CUDNN_STATUS_EXECUTION_FAILED|CUDNN_BACKEND_API_FAILED|CUBLAS_STATUS_EXECUTION_FAILED"
        "|CUDNN_STATUS_INTERNAL_ERROR|CUBLAS_STATUS_INTERNAL_ERROR",
        "A computation of cuDNN or cuBLAS failed on {card}.",
        f"{_AGAIN} A library that does not fit to the driver does this too: see "
        "`loadgen-generic doctor`.",
    ),
    _Rule(
        (),
        "TensorRT EP failed to (?:create engine|create context|build)",
        "TensorRT could not build an engine for the model on {card}; harness.log has its reasons.",
        "Try --ep cuda, or more memory for the build with --ep_options trt_max_workspace_size=.",
    ),
)
_PATTERNS = tuple(re.compile(rule.words, re.IGNORECASE) for rule in _RULES)


def find_card_trouble(said: str) -> Finding | None:
    """What is wrong with a card or its driver, from an error's text or what was printed.

    The first number of CUDA's counts: what fails afterwards fails because of it.
    """
    code = _CODE.search(said)
    known = find_by_code(int(code[1]), said) if code is not None else None
    if known is not None:
        return known
    for rule, pattern in zip(_RULES, _PATTERNS, strict=True):
        if pattern.search(said):
            return _filled(rule, said)
    return None


def find_by_code(code: int, said: str = "") -> Finding | None:
    """What one of CUDA's error codes means; None for one without a rule."""
    return next((_filled(rule, said) for rule in _RULES if code in rule.codes), None)


def _filled(rule: _Rule, said: str) -> Finding:
    card = _CARD.search(said)
    known = card is not None and int(card[1]) < _MOST_CARDS
    name = f"GPU {card[1]}" if card is not None and known else "the GPU"
    problem = rule.problem.format(card=name, asked=_asked(said), hidden=_hidden())
    return Finding(problem[0].upper() + problem[1:], rule.remedy)


def _asked(said: str) -> str:
    """How much memory was asked for in vain, in words; empty if that is not told."""
    match = _ASKED_FOR.search(said)
    if match is None:
        return ""
    size = int(next(filter(None, match.groups())))
    return f": {size / _GIB:.3g} GiB more were asked for" if size >= _GIB // 100 else ""


def _hidden() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f" (CUDA_VISIBLE_DEVICES is '{visible}')" if visible is not None else ""
