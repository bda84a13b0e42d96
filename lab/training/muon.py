"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) with all matrices of a shape in one stack.

Does what `torch.optim.Muon` does with `adjust_lr_fn="match_rms_adamw"` in a tenth of the kernels, and its learning rate
may be a tensor, so that a CUDA graph can hold it.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_A, _B, _C = 3.4445, -4.7750, 2.0315  # of the iteration, as published
_NUM_STEPS = 5


class StackedMuon(Optimizer):
    """Muon with Nesterov momentum for matrices, (rows, columns) each."""

    def __init__(
        self, params: Iterable[Tensor], lr: float | Tensor, *, weight_decay: float = 0.1, momentum: float = 0.95
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        del closure
        for group in self.param_groups:
            stacks: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    stacks[param.shape].append(param)
            for shape, params in stacks.items():
                self._move(params, shape, group)

    def _move(self, params: list[Tensor], shape: torch.Size, group: dict[str, Any]) -> None:
        grads = [param.grad for param in params if param.grad is not None]
        for param in params:
            if not self.state[param]:
                self.state[param]["momentum_buffer"] = torch.zeros_like(param)
        buffers = [self.state[param]["momentum_buffer"] for param in params]
        torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
        ahead = torch.stack(torch._foreach_lerp(grads, buffers, group["momentum"]))
        rate = group["lr"] * 0.2 * max(shape) ** 0.5
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_sub_(params, (orthogonal(ahead).float() * rate).unbind(0))


def orthogonal(stack: Tensor) -> Tensor:
    """Return (N, rows, columns) with about the same singular vectors and values of .7 to 1.2, in bfloat16."""
    x = stack.bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_NUM_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if is_tall else x
