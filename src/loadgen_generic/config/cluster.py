"""A cluster of machines that Ray runs, over which work or whole tests are spread."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option

__all__ = ["BATCHES_IN_FLIGHT", "ClusterOptions"]

_GROUP = "Cluster"
BATCHES_IN_FLIGHT = 2
_ADDRESS = re.compile(r"auto|local|(\[[0-9A-Fa-f:.%]+\]|[^\s:/,\[\]]+):\d{1,5}", re.ASCII)


class ClusterOptions(Options):
    ray_address: Annotated[
        str | None, Option(_GROUP, "CM_MLPERF_RAY_ADDRESS", metavar="HOST:PORT")
    ] = Field(
        None,
        description="the cluster of --runner ray and --trials_on ray, by its head node (default: what "
        "RAY_ADDRESS says, else the one that runs on this machine, else this machine alone)",
    )
    batches_in_flight: Annotated[int | None, Option(_GROUP, "CM_MLPERF_BATCHES_IN_FLIGHT")] = Field(
        None,
        ge=1,
        le=4096,
        description="how many batches each replica of --runner ray has at once: one that it computes, "
        f"and those that wait there for their turn ({BATCHES_IN_FLIGHT})",
    )
    trials_on: Annotated[Literal["here", "ray"], Option(_GROUP, "CM_MLPERF_TRIALS_ON")] = Field(
        "here",
        description="where the tests of --repeat and of --mode find_peak run: here, one after the "
        "other, or one at a time on each node of a cluster of like machines",
    )

    @field_validator("ray_address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not _ADDRESS.fullmatch(value):
            raise ValueError("expected HOST:PORT of the head node, auto, or local")
        return value

    def cluster_contradiction(self) -> str:
        """What these options say against others, for the user; empty if nothing."""
        on_ray = getattr(self, "runner", "") == "ray"
        if self.batches_in_flight is not None and not on_ray:
            return "--batches_in_flight has no meaning without --runner ray"
        if self.trials_on == "ray":
            return self._trials_contradiction(on_ray)
        if not on_ray:
            return (
                ""
                if self.ray_address is None
                else "--ray_address has no meaning without --runner ray or --trials_on ray"
            )
        if getattr(self, "backend", "") == "kserve":
            return (
                "--runner ray brings replicas of the model, and with --backend kserve servers have "
                "it; leave one out"
            )
        if getattr(self, "mode", "") == "tune":
            return "--mode tune looks for what is fastest on this machine, without --runner ray"
        for flag, given in self._not_with_replicas():
            if given:
                return f"--{flag} is about this machine, and --runner ray uses others; leave it out"
        return ""

    def _not_with_replicas(self) -> list[tuple[str, bool]]:
        return [
            ("devices", getattr(self, "devices", None) is not None),
            ("pin", bool(getattr(self, "pin", False))),
            ("profile", bool(getattr(self, "profile", False))),
            ("data_location", getattr(self, "data_location", "host") != "host"),
        ]

    def _trials_contradiction(self, on_ray: bool) -> str:
        if on_ray:
            return (
                "--trials_on ray has each test on one node, and --runner ray one test on all; leave "
                "one out"
            )
        if getattr(self, "backend", "") == "kserve":
            return (
                "--trials_on ray would have all nodes load the servers of --backend kserve at once; "
                "leave one out"
            )
        if getattr(self, "mode", "") != "find_peak" and getattr(self, "repeat", 1) < 2:
            return "--trials_on ray needs several tests: --repeat N or --mode find_peak"
        return ""
