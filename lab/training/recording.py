"""A whole training step as one CUDA graph: loss, gradients, optimisers and moving average."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn


class _Batch(Protocol):
    def tensors(self) -> tuple[Tensor, ...]: ...


B = TypeVar("B", bound=_Batch)
_BEFORE = 3  # steps before the recorded one: one-time compilation and allocation must be over


class RecordedStep(Generic[B]):
    """The step of a run on a GPU. The first few run normally, the rest from a recording of the same calls.

    A recording reads its inputs at fixed addresses, so batches and learning rates are copied there.
    """

    def __init__(
        self,
        batch: B,
        loss: Callable[[B], Tensor],
        weights: nn.Module,
        average: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
    ):
        """Take over a batch, whose tensors become the fixed inputs, and the optimisers' learning rates."""
        self._batch, self._loss, self._optimizers = batch, loss, optimizers
        self._weights: list[Tensor] = list(weights.parameters())
        self._average: list[Tensor] = list(average.parameters())
        device = self._weights[0].device
        self._decay = torch.zeros((), device=device)
        self._groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group in self._groups:
            group["lr"] = torch.zeros((), device=device)
            if "capturable" in group:
                group["capturable"] = True
        for state in (state for optimizer in optimizers for state in optimizer.state.values()):
            if "step" in state:
                state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._result = torch.zeros((), device=device)
        self._done = 0

    def take(self, batch: B) -> None:
        """Let the next step learn from this batch."""
        for into, one in zip(self._batch.tensors(), batch.tensors(), strict=True):
            into.copy_(one)

    def run(self, rates: Sequence[float], *, decay: float) -> Tensor:
        """Learn at these rates, one per parameter group; return the loss, on the device, valid until the next run."""
        for group, rate in zip(self._groups, rates, strict=True):
            group["lr"].fill_(rate)
        self._decay.fill_(decay)
        if self._done < _BEFORE:
            here = torch.cuda.current_stream()
            self._stream.wait_stream(here)
            with torch.cuda.stream(self._stream):
                self._result = self._step()
            here.wait_stream(self._stream)
        else:
            if self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph):
                    self._result = self._step()
            self._graph.replay()
        self._done += 1
        return self._result

    def _step(self) -> Tensor:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self._batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
        with torch.no_grad():
            torch._foreach_mul_(self._average, self._decay)
            torch._foreach_add_(self._average, list(torch._foreach_mul(self._weights, 1 - self._decay)))
        return loss.detach()
