"""What is needed to run the same again: command line, environment, state of the checkouts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadgen_generic.config.remote import masked_headers

__all__ = ["environment_that_matters", "git_state", "manifest", "masked_arguments"]

# What engines, thread pools, allocators and CM read. Not the whole environment: it holds secrets.
_MATTERS = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|NUMEXPR|DNNL|ONEDNN|ORT|ONNXRUNTIME|CUDA|NVIDIA|TF32|"
    r"HIP|ROCR|OPENVINO|OV|TBB|MALLOC|JEMALLOC|LOADGEN_GENERIC|CM_MLPERF)_\w+"
    r"|LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES|TCMALLOC_\w+|MIMALLOC_\w+"
    r"|PYTHON(HASHSEED|MALLOC|OPTIMIZE|NOGIL|_GIL)"
)
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|API_?KEY|HEADER")
_HEADER = "--header"
_GIT_SEC = 10


def manifest(model_path: str) -> dict[str, Any]:
    """Of this process and the model; host, packages and the model's hash stand in the result."""
    from loadgen_generic import __version__

    return {
        "version": __version__,
        "command_line": masked_arguments(sys.orig_argv),
        "directory": os.getcwd(),
        "environment": environment_that_matters(os.environ),
        "git": {
            "harness": git_state(Path(__file__)),
            "model": git_state(Path(model_path)) if Path(model_path).is_file() else None,
        },
    }


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line without the values of its headers."""
    told: list[str] = []
    for word in arguments:
        flag, equals, value = word.partition("=")
        if told and told[-1] == _HEADER:
            told.append(masked_headers(word))
        elif equals and flag == _HEADER:
            told.append(f"{flag}={masked_headers(value)}")
        else:
            told.append(word)
    return told


def environment_that_matters(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that change what is measured."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if _MATTERS.fullmatch(name) and not _SECRET.search(name.upper())
    }


def git_state(file: Path) -> dict[str, Any] | None:
    """Commit of the checkout that a file lies in, whether tracked files differ from it, and
    whether the file is one of them; None where there is no git or no checkout."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                [git, "-C", str(file.parent), *words],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_GIT_SEC,
                check=False,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    changed = ask("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "changed": None if changed is None else bool(changed),
        "tracked": ask("ls-files", "--error-unmatch", file.name) is not None,
    }
