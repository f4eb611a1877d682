"""What a run asks of its client where an inference server has the model."""

from __future__ import annotations

from pathlib import Path

from loadgen_generic.backends import RemoteSpec
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.config.remote import (
    HERE,
    REQUEST_TIMEOUT_MS,
    parse_endpoints,
    parse_headers,
)
from loadgen_generic.errors import RequestError
from loadgen_generic.settings import samples_per_query
from loadgen_generic.tensors import SamplePlan

__all__ = ["as_divided", "batching_note", "check_padding", "remote_spec"]


def remote_spec(config: BenchmarkConfig) -> RemoteSpec | None:
    """The servers of a run; None where it asks none."""
    if config.backend != "kserve":
        return None
    likely = Path(config.model_path).stem if config.model_path else config.model or ""
    ca = str(Path(config.tls_ca).expanduser()) if config.tls_ca else ""
    return RemoteSpec(
        endpoints=tuple(parse_endpoints(config.endpoint or HERE)),
        model=config.remote_model or "",
        likely_model=likely,
        timeout_sec=(config.request_timeout_ms or REQUEST_TIMEOUT_MS) / 1000,
        tls=config.tls or bool(ca),
        tls_ca=ca,
        headers=parse_headers(config.header or ""),
        network_division=config.network_division,
    )


def as_divided(config: BenchmarkConfig) -> BenchmarkConfig:
    """The same run, with samples sent one by one where the network division has it so: a query of
    several goes as it is."""
    if not config.network_division or config.scenario == "MultiStream":
        return config
    return config.model_copy(update={"batch_size": 1})


def check_padding(config: BenchmarkConfig, plan: SamplePlan) -> None:
    """Raise RequestError for a model whose batches the client would have to fill up."""
    fixed = plan.fixed_batch
    if not config.network_division or fixed <= 1:
        return
    if config.scenario == "MultiStream" and samples_per_query(config) == fixed:
        return
    raise RequestError(
        f"the model takes batches of exactly {fixed} samples, and the client may not fill them up.",
        flag="network_division",
        remedy="Serve the model with an open batch dimension"
        + (f", or take --samples_per_query {fixed}." if config.scenario == "MultiStream" else "."),
    )


def batching_note(config: BenchmarkConfig, batch_size: int) -> list[str]:
    """What the user should know of requests that the client puts together."""
    if config.backend != "kserve" or config.scenario == "MultiStream" or batch_size == 1:
        return []
    told = (
        f"the client puts up to {batch_size} samples into a request, which MLPerf's network division "
        "does not allow; --network_division leaves that to the server"
    )
    return [told]
