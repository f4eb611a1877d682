"""What a failed call of CUDA means, in plain words with the remedy."""

from __future__ import annotations

__all__ = ["failure"]

_NO_MEMORY = "cudaErrorMemoryAllocation"
_GONE = {
    "cudaErrorDevicesUnavailable",
    "cudaErrorUnknown",
    "cudaErrorECCUncorrectable",
    "cudaErrorNvlinkUncorrectable",
    "cudaErrorContained",
    "cudaErrorStreamDetached",
    "cudaErrorLaunchTimeout",
}
_KERNEL = {
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorAssert",
    "cudaErrorIllegalInstruction",
    "cudaErrorMisalignedAddress",
    "cudaErrorHardwareStackError",
    "cudaErrorInvalidPc",
}
_DRIVER = {"cudaErrorInsufficientDriver", "cudaErrorInitializationError", "cudaErrorStubLibrary"}


def failure(
    number: int, doing: str, name: str, text: str, nbytes: int, free: int, total: int
) -> str:
    """The message for a failed call.

    Args:
        number: of the GPU.
        doing: what the call was for.
        name: CUDA's name of the error.
        text: CUDA's own words; may be empty.
        nbytes: that the call was about; 0 for none.
        free, total: the GPU's memory in bytes; 0 where it does not say.
    """
    said = f"{text} ({name})" if text else name
    about = f" of {_mebibytes(nbytes)}" if nbytes else ""
    return f"GPU {number}: {doing}{about} failed: {said}. {_remedy(name, free, total, doing)}"


def _remedy(name: str, free: int, total: int, doing: str) -> str:
    if name == _NO_MEMORY and "page-locked" in doing:
        return (
            "The host has no such memory left, or its limit for locked memory is lower; a smaller "
            "--batch_size, --concurrency or --distinct_samples needs less."
        )
    if name == _NO_MEMORY:
        left = f"{_mebibytes(free)} of {_mebibytes(total)} are free. " if total else ""
        return left + (
            "A smaller --batch_size or --concurrency needs less, and so do fewer "
            "--distinct_samples with --data_location device; another process may use the GPU as "
            "well."
        )
    if name == "cudaErrorInvalidDevice":
        return "--devices names a GPU that is not there, or CUDA_VISIBLE_DEVICES hides it."
    if name == "cudaErrorNoDevice":
        return (
            "CUDA sees no GPU, or no longer. nvidia-smi lists those of this machine; "
            "CUDA_VISIBLE_DEVICES must not hide them, and a container must be given them."
        )
    if name in _DRIVER:
        return (
            "The NVIDIA driver is missing or too old for this CUDA; loadgen-generic doctor tells."
        )
    if name in _GONE:
        return (
            "The GPU is lost to this process: it was reset, disappeared, or is kept by another "
            "one. The system's log (NVRM, Xid) and nvidia-smi say more."
        )
    if name in _KERNEL:
        return (
            "An operator failed on the GPU, after which CUDA refuses this process all work. Try "
            "--ep_options enable_cuda_graph=0, then another version of onnxruntime-gpu."
        )
    return "The system's log and loadgen-generic doctor may say more."


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count:,} bytes"
