"""What can go wrong, one class per exit code.

Every message is written for the person who has to act on it: it names the flag,
the value that was given and what to do instead.
"""

from __future__ import annotations

import re

__all__ = [
    "InterruptedRunError",
    "LoadgenGenericError",
    "OverloadedError",
    "RequestError",
    "RunError",
    "plain_words",
]

# "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : What happened".
_ERROR_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
# "/path/file.cc:46 void f(const T&) What happened": what comes before "What happened".
_CPP_SOURCE = re.compile(r"/onnxruntime_src/\S+:\d+ .*?\) (?=[A-Z])", re.DOTALL)


class LoadgenGenericError(Exception):
    """Base of everything this package raises on purpose.

    ``exit_code`` is what the command line returns for it.
    """

    exit_code = 1


class RunError(LoadgenGenericError):
    """The request was sound, but the run failed (exit code 1)."""

    exit_code = 1


class OverloadedError(RunError):
    """A search ended a test that could not pass any more.

    Args:
        answered_per_sec: what was completed, in queries/s.
        lasted_s: how long the test had lasted.
    """

    def __init__(self, answered_per_sec: float, lasted_s: float) -> None:
        self.answered_per_sec, self.lasted_s = answered_per_sec, lasted_s
        super().__init__(
            f"the queue grew: {answered_per_sec:,.4g} queries/s were completed when it was stopped "
            f"after {lasted_s:.1f} s"
        )


class RequestError(LoadgenGenericError):
    """The request cannot be carried out as it stands (exit code 2).

    Args:
        message: what is wrong, in one sentence.
        flag: the option to blame, without dashes; shown as ``--flag``.
        value: what was given for it.
        remedy: what to do instead.
    """

    exit_code = 2

    def __init__(
        self, message: str, *, flag: str = "", value: object = None, remedy: str = ""
    ) -> None:
        self.flag = flag
        self.value = value
        self.remedy = remedy
        where = f"--{flag}" + (f" {value}" if value is not None else "") + ": " if flag else ""
        super().__init__(where + message + (f" {remedy}" if remedy else ""))


class InterruptedRunError(LoadgenGenericError):
    """The user stopped the run with Ctrl-C or SIGTERM (exit code 130)."""

    exit_code = 130


def plain_words(text: str) -> str:
    """ONNX Runtime's words without its error code and the place in its source, which say nothing
    to a user."""
    return _CPP_SOURCE.sub("", _ERROR_CODE.sub("", text.strip())).strip()
