"""Where inferences run, and how precisely."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option
from loadgen_generic.provider_facts import facts_of

__all__ = ["DeviceOptions"]

_GROUP = "Device"


class DeviceOptions(Options):
    execution_provider: Annotated[
        str, Option(_GROUP, "CM_MLPERF_EXECUTION_PROVIDER", aliases=("ep",))
    ] = Field(
        "CPUExecutionProvider",
        description="ONNX Runtime execution provider; short names such as cpu, cuda, tensorrt and "
        "openvino are understood",
    )
    ep_options: Annotated[
        dict[str, str],
        Option(_GROUP, "CM_MLPERF_EP_OPTIONS", metavar="KEY=VALUE[,KEY=VALUE...]"),
    ] = Field(
        default_factory=dict,
        description="options of the execution provider by their names in ONNX Runtime; they win "
        "over what the other options would set",
    )
    allow_fallback: Annotated[bool, Option(_GROUP, "CM_MLPERF_ALLOW_FALLBACK")] = Field(
        False,
        description="run on the CPU where the execution provider does not start, and say so in the "
        "result, instead of failing",
    )
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16", "float16", "int8", "auto"] | None,
        Option(_GROUP, "CM_MLPERF_PRECISION"),
    ] = Field(
        None,
        description="what the execution provider computes in, where it has a switch for that; auto "
        "leaves it to the provider (default: no lower than the model itself)",
    )
    devices: Annotated[
        str | None, Option(_GROUP, "CM_MLPERF_DEVICES", metavar="NUMBER[,NUMBER...]|all")
    ] = Field(
        None,
        description="GPUs to run on, by CUDA's numbers, such as 0,1; each gets a set of workers "
        "(default: 0)",
    )
    data_location: Annotated[
        Literal["host", "pinned", "device"], Option(_GROUP, "CM_MLPERF_DATA_LOCATION")
    ] = Field(
        "host",
        description="where samples are when the clock starts, on a GPU: host, in ordinary memory, "
        "which is what a user pays; pinned, in memory that the GPU reads directly; device, in its own",
    )

    @field_validator("devices", mode="before")
    @classmethod
    def _numbers_as_text(cls, value: object) -> object:
        """From the API and JSON also a number or a list of numbers."""
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            return str(value)
        if isinstance(value, (list, tuple)):
            return ",".join(map(str, value))
        return value

    @field_validator("devices")
    @classmethod
    def _numbers(cls, value: str | None) -> str | None:
        if value is None:
            return None
        text = value.strip().lower()
        if text == "all":
            return text
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError("expected numbers of GPUs such as 0,1, or all")
        numbers = [str(int(part)) for part in parts]
        if len(set(numbers)) < len(numbers):
            raise ValueError("a GPU is named twice")
        return ",".join(numbers)

    def device_contradiction(self) -> str:
        """What these options say against others, for the user; empty if nothing."""
        facts = facts_of(self.execution_provider)
        runs_model = getattr(self, "backend", "") != "fake"
        if runs_model and not facts.cards:
            if self.devices is not None:
                return (
                    f"--devices {self.devices} names GPUs, and --ep {self.execution_provider} "
                    "runs on none; leave it out"
                )
            if self.data_location != "host":
                return (
                    f"--data_location {self.data_location} is about a GPU's memory, and --ep "
                    f"{self.execution_provider} has none; leave it out"
                )
        if self.data_location != "host" and getattr(self, "runner", "").startswith("processpool"):
            return (
                f"--data_location {self.data_location}: the workers of --runner processpool do not "
                "see where samples are loaded; choose another --runner"
            )
        if self.precision not in (None, "auto", *facts.precisions) and runs_model:
            has = ", ".join([*facts.precisions, "auto"])
            return (
                f"--precision {self.precision}: --ep {self.execution_provider} has no switch for "
                f"it (it has {has}); convert the model, or choose another --ep"
            )
        return ""
