"""How many kernels a piece of the model launches on a GPU, and how many bytes they move; counted without any GPU.

The network runs on the meta device, where tensors have shapes but no values. Each operation that is not just a view is
a kernel that reads its inputs and writes its outputs. Where a GPU has one kernel for what the meta device splits up
(attention, norms), that one is counted; and, as on a GPU, a norm copies an input that is not contiguous. The count is
for the uncompiled network: a compiler fuses what lies between two matrix products into a few kernels.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "_addmm_activation")


@dataclass(slots=True)
class Traffic:
    """Kernels and bytes by kind of operation."""

    kernels: Counter[str] = field(default_factory=Counter)
    num_bytes: Counter[str] = field(default_factory=Counter)

    @property
    def num_kernels(self) -> int:
        """All kernels."""
        return self.kernels.total()

    @property
    def product_bytes(self) -> int:
        """Bytes of matrix products and convolutions."""
        return sum(self.num_bytes[name] for name in PRODUCTS)

    @property
    def attention_bytes(self) -> int:
        """Bytes of attention."""
        return self.num_bytes["attention"]

    @property
    def pointwise_bytes(self) -> int:
        """Bytes of everything else: what better kernels could save."""
        return self.num_bytes.total() - self.product_bytes - self.attention_bytes

    def add(self, name: str, *tensors: Any) -> None:
        """Note a kernel that reads or writes these tensors."""
        self.kernels[name] += 1
        self.num_bytes[name] += sum(_size(tensor) for tensor in tensors if isinstance(tensor, Tensor))


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count what the block runs on the meta device."""
    traffic = Traffic()
    with _Kernels(traffic), _Whole(traffic):
        yield traffic


def _size(tensor: Tensor) -> int:
    """Return the bytes behind a tensor; values repeated by a stride of 0 are read once."""
    sides = (side for side, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    number = 1
    for side in sides:
        number *= side
    return number * tensor.element_size()


class _Whole(TorchFunctionMode):
    """Operations that are one kernel on a GPU and several on the meta device."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            q, _, v = args[:3]
            out = torch.empty(*q.shape[:-1], v.shape[-1], dtype=q.dtype, device=q.device)
            self._traffic.add("attention", *args[:3], kwargs.get("attn_mask"), out)
            return _laid_out_as(q, out)
        if func is F.rms_norm:
            x, weight = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
            out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
            self._copy(x)
            self._traffic.add("rms_norm", x, weight, out)
            return out
        if func is F.layer_norm or func is F.group_norm:
            self._copy(args[0])
        return func(*args, **kwargs)

    def _copy(self, x: Tensor) -> None:
        if not x.is_contiguous():
            self._traffic.add("copy before a norm", x, x)


def _laid_out_as(q: Tensor, out: Tensor) -> Tensor:
    """Return the output with its heads next to each other, as flash attention leaves it."""
    return out.view(q.shape[0], q.shape[2], q.shape[1], -1).transpose(1, 2)


class _Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types it in part
    """All other operations."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._traffic = traffic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view and not name.startswith(("empty", "new_empty", "_unsafe_view", "detach", "alias")):
            written = tree_leaves(out)
            given = {key: value for key, value in (kwargs or {}).items() if key != "out"}
            read = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor)]
            self._traffic.add(name, *(written if name == "embedding" else read), *written)  # of a table, some rows
        return out
