"""What is known of ONNX Runtime's execution providers without loading any: one line for each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

__all__ = ["PROVIDERS", "ProviderFacts", "facts_of"]

_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """One execution provider.

    Attributes:
        name: ONNX Runtime's.
        package: the Python package of ONNX Runtime that has it; empty where nobody ships one.
        extra: the extra of this package that brings it, also the name of its environment in
            ``make venv EP=``; empty without a package.
        cards: it answers on numbered devices with memory of their own, see ``--devices``.
        streams: a session is made for a number of workers, which it serves at once.
        precisions: values of ``--precision`` that it has a switch for, ``auto`` apart.
        options: keys of its own options that are known, to find the one that was meant; a newer
            version may take more.
    """

    name: str
    package: str = ""
    extra: str = ""
    cards: bool = False
    streams: bool = False
    precisions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The name as people type it: cpu, cuda, tensorrt, openvino."""
        return self.name.removesuffix(_SUFFIX).lower()

    def suggestion(self, option: str) -> str:
        """What to write in place of an option that it does not take, in words."""
        if not self.options:
            return "It takes none; leave them out." if self.package else ""
        near = difflib.get_close_matches(option.lower(), self.options, n=1)
        return f"Did you mean {near[0]}?" if near else f"It has {', '.join(self.options)}."


_CUDA_OPTIONS = (
    "arena_extend_strategy",
    "cudnn_conv1d_pad_to_nc1d",
    "cudnn_conv_algo_search",
    "cudnn_conv_use_max_workspace",
    "device_id",
    "do_copy_in_default_stream",
    "enable_cuda_graph",
    "enable_skip_layer_norm_strict_mode",
    "fuse_conv_bias",
    "gpu_external_alloc",
    "gpu_external_empty_cache",
    "gpu_external_free",
    "gpu_mem_limit",
    "has_user_compute_stream",
    "prefer_nhwc",
    "sdpa_kernel",
    "tunable_op_enable",
    "tunable_op_max_tuning_duration_ms",
    "tunable_op_tuning_enable",
    "use_ep_level_unified_stream",
    "use_tf32",
    "user_compute_stream",
)
_TENSORRT_OPTIONS = (
    "device_id",
    "has_user_compute_stream",
    "trt_auxiliary_streams",
    "trt_bf16_enable",
    "trt_build_heuristics_enable",
    "trt_builder_optimization_level",
    "trt_context_memory_sharing_enable",
    "trt_cuda_graph_enable",
    "trt_detailed_build_log",
    "trt_dla_core",
    "trt_dla_enable",
    "trt_dump_ep_context_model",
    "trt_dump_subgraphs",
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_engine_cache_prefix",
    "trt_engine_decryption_enable",
    "trt_engine_decryption_lib_path",
    "trt_engine_hw_compatible",
    "trt_ep_context_embed_mode",
    "trt_ep_context_file_path",
    "trt_extra_plugin_lib_paths",
    "trt_force_sequential_engine_build",
    "trt_force_timing_cache",
    "trt_fp16_enable",
    "trt_int8_calibration_table_name",
    "trt_int8_enable",
    "trt_int8_use_native_calibration_table",
    "trt_layer_norm_fp32_fallback",
    "trt_load_user_initializer",
    "trt_max_partition_iterations",
    "trt_max_workspace_size",
    "trt_min_subgraph_size",
    "trt_onnx_model_folder_path",
    "trt_op_types_to_exclude",
    "trt_preview_features",
    "trt_profile_max_shapes",
    "trt_profile_min_shapes",
    "trt_profile_opt_shapes",
    "trt_sparsity_enable",
    "trt_tactic_sources",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
    "trt_weight_stripped_engine_enable",
    "user_compute_stream",
)
_OPENVINO_OPTIONS = (
    "cache_dir",
    "device_id",
    "device_type",
    "disable_dynamic_shapes",
    "enable_causallm",
    "enable_opencl_throttling",
    "enable_qdq_optimizer",
    "layout",
    "load_config",
    "model_priority",
    "num_of_threads",
    "num_streams",
    "precision",
    "reshape_input",
)

PROVIDERS = (
    ProviderFacts("CPUExecutionProvider", "onnxruntime", "cpu", precisions=("float32",)),
    ProviderFacts(
        "CUDAExecutionProvider",
        "onnxruntime-gpu",
        "cuda",
        cards=True,
        precisions=("float32", "tf32"),
        options=_CUDA_OPTIONS,
    ),
    ProviderFacts(
        "TensorrtExecutionProvider",
        "onnxruntime-gpu",
        "tensorrt",
        cards=True,
        precisions=("float32", "tf32", "float16", "bfloat16", "int8"),
        options=_TENSORRT_OPTIONS,
    ),
    ProviderFacts(
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        "openvino",
        streams=True,
        precisions=("float32", "bfloat16", "float16"),
        options=_OPENVINO_OPTIONS,
    ),
)


def facts_of(provider: str) -> ProviderFacts:
    """The facts of a provider, by ONNX Runtime's name or the short one in any case.

    Of a provider that is not in ``PROVIDERS`` only the name is known, as it was given.
    """
    short = provider.strip().lower().removesuffix(_SUFFIX.lower())
    for facts in PROVIDERS:
        if facts.short == short:
            return facts
    return ProviderFacts(provider)
