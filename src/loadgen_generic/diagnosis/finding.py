"""One thing that is wrong, and what helps."""

from __future__ import annotations

from dataclasses import dataclass

from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError

__all__ = ["Finding", "ProviderError"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong and the remedy, each in whole sentences.

    Attributes:
        flag: the option to blame, without dashes; empty where the request was sound.
    """

    problem: str
    remedy: str = ""
    flag: str = ""

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".strip()

    def as_error(self, provider: str) -> LoadgenGenericError:
        """The error that ends a run over it.

        Args:
            provider: ONNX Runtime's name.
        """
        if self.flag:
            return RequestError(self.problem, flag=self.flag, remedy=self.remedy)
        return ProviderError(provider, self)


class ProviderError(RunError):
    """A provider does not start.

    Args:
        provider: ONNX Runtime's name.
        finding: why.
    """

    def __init__(self, provider: str, finding: Finding) -> None:
        self.finding = finding
        super().__init__(f"--ep {provider}: {finding}")
