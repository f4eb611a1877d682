"""What ONNX Runtime and the libraries below it really print, by what is wrong: short excerpts, with
the version that printed them. Host names are replaced."""

from __future__ import annotations

__all__ = ["RUNNING", "STARTING"]

CUDA, TENSORRT, OPENVINO = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "OpenVINO"))

_LOAD = (
    "[E:onnxruntime:Default, provider_bridge_ort.cc:2195 TryGetProviderInfo_CUDA] "
    "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1778 onnxruntime::Provider& "
    "onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library "
    "libonnxruntime_providers_cuda.so with error: "
)
_LOAD_TENSORRT = _LOAD.replace("_cuda.so", "_tensorrt.so").replace("_CUDA", "_TensorRT")
_ABSENT = ": cannot open shared object file: No such file or directory\n"
_CREATE = (
    "[W:onnxruntime:Default, onnxruntime_pybind_state.cc:1055 CreateExecutionProviderInstance] "
    "Failed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA {}.*. Please install all "
    "dependencies as mentioned in the GPU requirements page, make sure they're in the PATH, and "
    "that your GPU is supported."
)
_CALL = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:123 std::conditional_t<THRW, "
    "void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, "
    "ERRTYPE, const char*, const char*, int) [with ERRTYPE = cudaError; bool THRW = true; "
    "std::conditional_t<THRW, void, onnxruntime::common::Status> = void] "
)
_SET_DEVICE = (
    " ; hostname=HOST ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/"
    "cuda_execution_provider.cc ; line=245 ; expr=cudaSetDevice(info_.device_id);"
)
_OV = (
    "[E:onnxruntime:Default, provider_bridge_ort.cc:2310 Create] /onnxruntime/onnxruntime/core/"
    "providers/openvino/openvino_provider_factory.cc:141 std::string onnxruntime::openvino_ep::"
    "ParseDeviceType(std::shared_ptr<OVCore>, const onnxruntime::ProviderOptions&) "
)

# What is wrong: provider, text, words that the user must read.
STARTING: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # onnxruntime-gpu 1.22.0 beside CUDA 13
    "CUDA 12 wanted": (
        CUDA,
        f"{_LOAD}libcublasLt.so.12{_ABSENT}{_CREATE.format(12)}",
        ("built for CUDA 12", "CUDA 13 is here", "onnxruntime-gpu[cuda,cudnn]"),
    ),
    # onnxruntime-gpu 1.31.1
    "CUDA 13 wanted": (
        CUDA,
        f"{_LOAD}libcublasLt.so.13{_ABSENT}{_CREATE.format(13)}",
        ("built for CUDA 13", "CUDA 12 is here", "onnxruntime-gpu[cuda,cudnn]"),
    ),
    "cuRAND, whose number is not CUDA's": (
        CUDA,
        f"{_LOAD}libcurand.so.10{_ABSENT}{_CREATE.format(12)}",
        ("built for CUDA 12", "libcurand.so.10"),
    ),
    "cuFFT, whose number is not CUDA's": (
        CUDA,
        f"{_LOAD}libcufft.so.11{_ABSENT}",
        ("built for CUDA 12", "libcufft.so.11"),
    ),
    # onnxruntime-gpu 1.22.0
    "no cuDNN": (
        CUDA,
        f"{_LOAD}libcudnn.so.9{_ABSENT}{_CREATE.format(12)}",
        ("built for cuDNN 9", "libcudnn.so.9 is missing", "onnxruntime-gpu[cuda,cudnn]"),
    ),
    # onnxruntime-gpu 1.20.1
    "a part of cuDNN": (
        CUDA,
        f"{_LOAD}libcudnn_adv.so.9{_ABSENT}",
        ("cuDNN 9", "libcudnn_adv.so.9 is missing"),
    ),
    # onnxruntime-gpu 1.23 on Windows, in the words of a Chinese one
    "no cuDNN on Windows": (
        CUDA,
        (
            'FAIL : Error loading "C:\\venv\\Lib\\site-packages\\onnxruntime\\capi\\'
            'onnxruntime_providers_cuda.dll" N0Rc "cudnn64_9.dll" which is missing. (Error 126: "~b'
        ),
        ("cuDNN 9", "cudnn64_9.dll is missing"),
    ),
    # onnxruntime-gpu 1.19.2 on Windows
    "Windows does not say what": (
        CUDA,
        'FAIL : LoadLibrary failed with error 126 "" when trying to load "C:\\venv\\Lib\\'
        'site-packages\\onnxruntime\\capi\\onnxruntime_providers_cuda.dll"\n' + _CREATE.format(12),
        ("CUDA 12, cuDNN 9", "Visual C++"),
    ),
    # onnxruntime-gpu 1.31.1, with the rest there
    "no driver": (
        CUDA,
        f"{_LOAD}libcuda.so.1{_ABSENT}",
        ("no NVIDIA driver", "libcuda.so.1", "Install NVIDIA's driver"),
    ),
    # onnxruntime-gpu 1.31.1, with a driver's library that lacks it
    "a driver without a function": (
        CUDA,
        (
            f"{_LOAD}/venv/onnxruntime/capi/libonnxruntime_providers_cuda.so: undefined symbol: "
            "cuTensorMapEncodeTiled"
        ),
        ("driver is too old", "cuTensorMapEncodeTiled"),
    ),
    # onnxruntime-gpu 1.22.0, with another cuDNN
    "a cuDNN without a function": (
        CUDA,
        (
            f"{_LOAD}/venv/onnxruntime/capi/libonnxruntime_providers_cuda.so: undefined symbol: "
            "cudnnSetConvolutionGroupCount, version libcudnn.so.9"
        ),
        ("libcudnn.so.9", "another version"),
    ),
    # onnxruntime-gpu 1.31.1
    "no TensorRT": (
        TENSORRT,
        (
            f"{_LOAD_TENSORRT}libnvinfer.so.10{_ABSENT}"
            "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void onnxruntime::"
            "python::RegisterTensorRTPluginsAsCustomOps(PySessionOptions&, const onnxruntime::"
            "ProviderOptions&) Please install TensorRT libraries as mentioned in the GPU requirements "
            "page, make sure they're in the PATH or LD_LIBRARY_PATH, and that your GPU is supported."
        ),
        ("TensorRT 10", "libnvinfer.so.10 is missing", "EP=tensorrt"),
    ),
    # onnxruntime-gpu 1.16.3
    "an old TensorRT is wanted": (
        TENSORRT,
        f"{_LOAD_TENSORRT}libnvinfer.so.8{_ABSENT}",
        ("TensorRT 8", "TensorRT 10 is here"),
    ),
    # onnxruntime-gpu 1.17; before a card is chosen it prints any number
    "an old driver": (
        CUDA,
        (
            f"{_CALL}CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; "
            f"GPU=-1594703432{_SET_DEVICE}"
        ),
        ("too old", "Install NVIDIA's driver"),
    ),
    "no card": (
        CUDA,
        f"{_CALL}CUDA failure 100: no CUDA-capable device is detected ; GPU=32712{_SET_DEVICE}",
        ("CUDA sees no GPU", "CUDA_VISIBLE_DEVICES"),
    ),
    "no such card": (
        CUDA,
        f"{_CALL}CUDA failure 101: invalid device ordinal ; GPU=0{_SET_DEVICE}",
        ("no GPU with the number",),
    ),
    "no such card, as the options say": (
        CUDA,
        (
            'Failed to parse provider option "device_id": /onnxruntime_src/onnxruntime/core/providers/'
            "cuda/cuda_execution_provider_info.cc:61 Invalid device ID: 5, must be between 0 "
            "(inclusive) and 2 (exclusive)."
        ),
        ("no GPU with the number 5", "There are 2, numbers 0 to 1"),
    ),
    "a card that others have": (
        CUDA,
        (
            f"{_CALL}CUDA failure 46: all CUDA-capable devices are busy or unavailable ; GPU=0"
            f"{_SET_DEVICE}"
        ),
        ("GPU 0 is busy or unavailable", "--devices"),
    ),
    # onnxruntime-gpu 1.13, before it knew of a card
    "a card nobody knows": (
        CUDA,
        f"{_CALL}CUDA failure 999: unknown error ; GPU=192915439{_SET_DEVICE}",
        ("The GPU stopped working",),
    ),
    "a driver in two versions": (
        CUDA,
        (
            f"{_CALL}CUDA failure 803: system has unsupported display driver / cuda driver combination "
            f"; GPU=0{_SET_DEVICE}"
        ),
        ("different versions", "Restart"),
    ),
    "a CUDA newer than the driver": (
        CUDA,
        (
            f"{_CALL}CUDA failure 804: forward compatibility was attempted on non supported HW ; "
            f"GPU=-1684613632{_SET_DEVICE}"
        ),
        ("newer than the driver", "Update the driver"),
    ),
    "cuBLAS finds no memory": (
        CUDA,
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: "
            f"{_CALL}CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=HOST ; "
            "expr=cublasCreate(&cublas_handle_);"
        ),
        ("GPU 0 is out of memory", "--batch_size"),
    ),
    # onnxruntime-gpu 1.22
    "an option that is none": (
        CUDA,
        'Unknown provider option: "use_tf23".',
        ("cuda provider has no option use_tf23", "use_tf32"),
    ),
    "a value that is none": (
        CUDA,
        'Failed to parse provider option "gpu_mem_limit": Failed to parse value: "much"',
        ("gpu_mem_limit", "does not take the value much"),
    ),
    # onnxruntime-openvino 1.24.1
    "no Intel GPU": (
        OPENVINO,
        f"{_OV}[ERROR] [OpenVINO] Device GPU is not available\n",
        ("OpenVINO sees no device GPU",),
    ),
    "a precision that the CPU has not": (
        OPENVINO,
        (
            f"{_OV}[ERROR] [OpenVINO] Unsupported inference precision is selected. CPU only supports "
            "FP32, ACCURACY.\n"
        ),
        ("OpenVINO says: Unsupported inference precision", "CPU only supports FP32, ACCURACY."),
    ),
    "an option of OpenVINO that is none": (
        OPENVINO,
        (
            "/onnxruntime/onnxruntime/python/onnxruntime_pybind_state.cc:1053 std::shared_ptr<"
            "onnxruntime::IExecutionProviderFactory> onnxruntime::python::"
            "CreateExecutionProviderFactoryInstance(const onnxruntime::SessionOptions&) Invalid "
            "OpenVINO EP option: num_stream\n"
        ),
        ("openvino provider has no option num_stream", "num_streams"),
    ),
    "no number": (
        OPENVINO,
        "[E:onnxruntime:Default, provider_bridge_ort.cc:2310 Create] stoi\n",
        ("number", "num_streams"),
    ),
    "no JSON": (
        OPENVINO,
        (
            "openvino_provider_factory.cc:306 <lambda(const std::string&)> JSON parsing error: "
            "[json.exception.parse_error.101] parse error at line 1, column 1: syntax error while "
            "parsing value - invalid literal; last read: 'z'\n"
        ),
        ("load_config is not JSON at line 1, column 1",),
    ),
    "a property that is none": (
        OPENVINO,
        (
            "[OpenVINO-EP] Exception while Loading Network for graph OpenVINOExecutionProvider_"
            "OpenVINO-EP-subgraph_2_0: Exception from src/inference/src/cpp/core.cpp:114:\n"
            "Exception from src/plugins/intel_cpu/src/config.cpp:475:\nNotFound: Unsupported property "
            "NONSENSE by CPU plugin.\n"
        ),
        ("OpenVINO's CPU has no property NONSENSE",),
    ),
}

_NODE = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running "

# In the middle of a run, on CUDA: text, words that the user must read.
RUNNING: dict[str, tuple[str, tuple[str, ...]]] = {
    "ONNX Runtime's arena": (
        (
            f"{_NODE}FusedMatMul node. Name:'MatMul_92' Status Message: /onnxruntime_src/onnxruntime/"
            "core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, "
            "bool, onnxruntime::Stream*, bool, onnxruntime::WaitNotificationFn) Failed to allocate "
            "memory for requested buffer of size 8388608000"
        ),
        ("The GPU is out of memory: 7.81 GiB more", "--batch_size", "--concurrency"),
    ),
    "CUDA's memory": (
        (
            "[ONNXRuntimeError] : 1 : FAIL : D:\\a\\_work\\1\\s\\onnxruntime\\core\\providers\\cuda\\"
            "cuda_call.cc:114 onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=1 ; "
            "hostname=HOST ; line=175 ; expr=cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);"
        ),
        ("GPU 1 is out of memory", "--batch_size", "CUDA failure 2: out of memory"),
    ),
    "cuBLAS's memory": (
        (
            f"{_NODE}Gemm node. Name:'fc1' Status Message: {_CALL}CUBLAS failure 3: "
            "CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=HOST ; expr=cublasCreate(&cublas_handle_);"
        ),
        ("GPU 0 is out of memory", "in Gemm 'fc1'"),
    ),
    "TensorRT's memory": (
        (
            "Requested amount of GPU memory (15485030400 bytes) could not be allocated. There may not "
            "be enough free memory for allocation to succeed. Error Code 1: Cuda Runtime (out of "
            "memory)"
        ),
        ("The GPU is out of memory: 14.4 GiB more",),
    ),
    "a card that disappears": (
        (
            "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 719: unspecified launch failure ; GPU=0 ; "
            "hostname=HOST ; line=73 ; expr=cudaMemcpyAsync(dst_data, src_data, bytes, "
            "cudaMemcpyDeviceToHost, static_cast<cudaStream_t>(stream.GetHandle()));"
        ),
        ("GPU 0 stopped working", "Xid", "reset"),
    ),
    "an unknown error": (
        (
            f"{_CALL}CUDA failure 999: unknown error ; GPU=0 ; hostname=HOST ; "
            "expr=cudaStreamSynchronize(static_cast<cudaStream_t>(stream_));"
        ),
        ("GPU 0 stopped working",),
    ),
    "memory that is not its own": (
        (
            "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=HOST ; "
            "expr=cudaStreamSynchronize(static_cast<cudaStream_t>(stream_));"
        ),
        ("GPU 0", "memory that is not its own"),
    ),
    "a display's watchdog": (
        "CUDA failure 702: the launch timed out and was terminated ; GPU=0 ; hostname=HOST ;",
        ("GPU 0 was stopped", "--batch_size"),
    ),
    "a memory error": (
        "CUDA failure 214: uncorrectable ECC error encountered ; GPU=3 ; hostname=HOST ;",
        ("GPU 3 has a memory error",),
    ),
    "a card that is too new": (
        (
            f"{_NODE}Relu node. Name:'Relu_2' Status Message: CUDA error "
            "cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device"
        ),
        ("no code for the GPU", "newer onnxruntime-gpu"),
    ),
    "cuDNN does not compute": (
        (
            f"{_NODE}Conv node. Name:'Conv_0' Status Message: CUDNN_FE failure 11: "
            "CUDNN_BACKEND_API_FAILED ; GPU=0 ; hostname=HOST ; line=483"
        ),
        ("cuDNN or cuBLAS failed on GPU 0", "in Conv 'Conv_0'"),
    ),
    "cuDNN does not start": (
        (
            f"{_NODE}Conv node. Name:'root' Status Message: CUDNN failure 1001: "
            "CUDNN_STATUS_NOT_INITIALIZED ; GPU=0 ; hostname=HOST ; line=467"
        ),
        ("could not start on GPU 0",),
    ),
    "two versions of cuDNN": (
        "cuDNN error: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH",
        ("Two versions of cuDNN are mixed",),
    ),
    # onnxruntime-gpu 1.30, which loads cuDNN late
    "no cuDNN": (
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : ReduceL2: cuDNN is unavailable for CUDA "
            "Execution Provider: dlopen failed for libcudnn.so"
        ),
        ("built for cuDNN 9", "libcudnn.so is missing"),
    ),
    "TensorRT builds no engine": (
        (
            f"{_NODE}TRTKernel_graph_torch_jit_16_0 node. Name:'TRTKernel_0' Status Message: TensorRT "
            "EP failed to create engine from network."
        ),
        ("TensorRT could not build an engine", "--ep cuda"),
    ),
}
