"""How many kernels a compiled piece of the model launches and how many bytes they move; counted without computing.

torch's compiler gets the piece with tensors that have shapes but no values, decides what to fuse into kernels, and
reports what each reads and writes; no code is generated. It decides as for a CPU, so no GPU is needed: products and
attention stay separate kernels, and the rest is fused by much the same rules; if sizes are variable, the statistics of
a norm are a separate kernel, which a GPU's rules might fuse. A result that only its own kernel reads is never written;
an input that a kernel reads twice counts once.
"""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import detect_fake_mode
from torch._inductor import compile_fx
from torch._inductor.debug import DebugContext
from torch._inductor.fx_passes.post_grad import view_to_reshape
from torch._inductor.graph import GraphLowering
from torch._inductor.scheduler import ExternKernelSchedulerNode, NopKernelSchedulerNode
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental import _config as shapes
from torch.utils._pytree import tree_map_only

from lab.benchmarks.traffic import PRODUCTS, Traffic

FUSED = "fused"  # name under which all kernels that the compiler writes itself are counted


@torch.no_grad()
def compiled(module: nn.Module, *inputs: Any, dynamic: bool = True) -> Traffic:
    """Count one compiled run of a module on the meta device, with inputs on that device.

    `dynamic` leaves all sizes variable, as when the worker compiles blocks; False compiles for this size only.
    """
    traffic = Traffic()

    def lower(graph: Any, examples: list[Any], **_: Any) -> Any:
        _note(traffic, graph, examples)
        return graph.forward

    def count(graph: Any, examples: list[Any]) -> Callable[..., Any]:
        compile_fx.compile_fx(graph, examples, inner_compile=lower)
        return graph.forward  # type: ignore[no-any-return]

    own = copy.deepcopy(module)
    torch._dynamo.reset()
    with FakeTensorMode(), shapes.patch(use_duck_shape=False):  # type: ignore[attr-defined]  # exists at run time
        run = torch.compile(_on_cpu(own), backend=count, dynamic=dynamic, fullgraph=True)
        run(*tree_map_only(Tensor, _like, inputs))
    return traffic


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


def _on_cpu(module: nn.Module) -> nn.Module:
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(_like(parameter), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = _like(buffer)
    return module


def _note(traffic: Traffic, graph: Any, examples: list[Any]) -> None:
    """Count the kernels that the compiler makes of a graph."""
    fake: Any = detect_fake_mode(examples)
    view_to_reshape(graph)  # type: ignore[no-untyped-call]
    compile_fx.record_original_output_strides(graph)
    with V.set_fake_mode(fake), DebugContext():
        compile_fx._recursive_post_grad_passes(graph, is_inference=True)
        lowering = GraphLowering(graph, example_inputs=examples, is_inference=True, shape_env=fake.shape_env)
        with V.set_graph_handler(lowering), V.set_extern_kernel_nodes([]):
            lowering.run(*examples)
            lowering._update_scheduler()
            for node in lowering.scheduler.nodes:
                if not isinstance(node, NopKernelSchedulerNode):
                    _add(traffic, node)


def _add(traffic: Traffic, node: Any) -> None:
    if isinstance(node, ExternKernelSchedulerNode):
        num_bytes, name = node.get_read_write_buffers_sizes(), _kind(node.node)
        if num_bytes == 0:  # part of another kernel's output
            return
    else:
        num_bytes, name = sum(_moved(node)), FUSED
    traffic.kernels[name] += 1
    traffic.num_bytes[name] += num_bytes


def _kind(kernel: Any) -> str:
    called = str(getattr(kernel, "op_overload", None) or getattr(kernel, "python_kernel_name", kernel))
    if "scaled_dot_product" in called:
        return "attention"
    return next((name for name in sorted(PRODUCTS, key=len, reverse=True) if name in called), called)


def _moved(node: Any) -> Iterable[int]:
    """Yield the bytes of each tensor that a kernel reads or writes, once."""
    parts = set(node.get_nodes())
    own = {made.get_name(): made for part in parts for made in part.get_outputs()}
    accesses: dict[str, set[Any]] = {}
    for access in node.read_writes.reads | node.read_writes.writes:
        is_inner = access.name in own and all(user.node in parts for user in own[access.name].users)
        if not is_inner:
            accesses.setdefault(access.name, set()).add(access)
    for name, each in accesses.items():
        sides = (V.graph.sizevars.optimization_hint(side) for side in V.graph.get_buffer(name).get_size())
        whole = math.prod(sides) * V.graph.get_dtype(name).itemsize
        yield min(whole, sum(access.numbytes_hint() for access in each))
