"""What a memory plan does: weights made smaller, brought to the card or streamed to it, memory measured and given back."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import nn

from . import weights
from .cards import give_back_memory
from .checkpoint import STEMS, Checkpoint
from .costs import Network, network
from .plans import MARGIN, Plan
from .transformer import DaSTransformer3DModel

CUDA_FAILS = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "can't allocate memory")


def parameters_of(checkpoint: Checkpoint, component: str) -> int:
    """How many numbers a component's files hold, from their headers."""
    files = weights.weight_files(checkpoint.place, component, STEMS[component])
    return sum(math.prod(shape) for shape in weights.read_shapes(files, checkpoint.place).values())


def network_of(checkpoint: Checkpoint) -> Network:
    """The sizes that plans are judged by. WeightsError where a component is missing."""
    vae = weights.read_config(checkpoint.place, "vae")
    return network(checkpoint.transformer_config, vae, parameters_of(checkpoint, "text_encoder"), parameters_of(checkpoint, "vae"))


def text_device(plan: Plan, size: int) -> str:
    """Where an encoder of ``size`` bytes goes: the plan's device, or main memory where it does not fit beside what is loaded."""
    if plan.text_device == "cpu":
        return "cpu"
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return plan.text_device if MARGIN * size < free else "cpu"


def load_transformer(checkpoint: Checkpoint, plan: Plan) -> DaSTransformer3DModel:
    """The checkpoint's transformer as a plan wants it; one that stays as it is goes to its device at once."""
    if plan.exact and plan.offload == "none":
        return checkpoint.transformer(plan.dtype, plan.device).eval()
    return place(checkpoint.transformer(plan.dtype).eval(), plan)


def place(transformer: DaSTransformer3DModel, plan: Plan) -> DaSTransformer3DModel:
    """Bring a transformer that lies in main memory to where a plan wants it, with the plan's weights. In place."""
    if plan.weights == "cast8":
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=plan.dtype)
    elif plan.weights != "same":
        quantise(transformer, plan)
    if plan.offload == "none":
        return transformer.to(plan.device)
    streamed = plan.device != "cpu"
    transformer.enable_group_offload(
        onload_device=torch.device(plan.device),
        offload_device=torch.device("cpu"),
        offload_type=f"{plan.offload}_level",
        num_blocks_per_group=1 if plan.offload == "block" else None,
        non_blocking=streamed,
        use_stream=streamed,
        low_cpu_mem_usage=False,
    )
    return transformer


def quantise(transformer: DaSTransformer3DModel, plan: Plan) -> None:
    """The linear layers of all blocks to 8 bits, in place, with a scale for each output; computed in the plan's dtype."""
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    config = {"int8": Int8WeightOnlyConfig, "fp8": Float8WeightOnlyConfig}[plan.weights]()

    def in_block(module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Linear) and name.startswith(("transformer_blocks.", "transformer_blocks_copy."))

    quantize_(transformer, config, filter_fn=in_block, device=plan.device)


@contextmanager
def away(transformer: DaSTransformer3DModel | None, plan: Plan) -> Iterator[None]:
    """Inside, the transformer waits in main memory where the plan says so."""
    if transformer is None or not plan.apart:
        yield
        return
    transformer.to("cpu")
    give_back_memory()
    try:
        yield
    finally:
        transformer.to(plan.device)


def is_out_of_memory(error: Exception) -> bool:
    """Of a card or of the machine; libraries below torch say so in words of their own."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CUDA_FAILS)


def begin_measuring() -> None:
    """The peak of :func:`peak_memory` counts from here; on a CPU it always is the process's."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> int:
    """Bytes: what torch has had on the card at most since :func:`begin_measuring`, or this process in main memory ever."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
