"""Muon in stacks does what torch's does matrix by matrix."""

import torch
from torch import Tensor

from lab.training.muon import StackedMuon

SHAPES = ((8, 12), (8, 12), (20, 6), (6, 6))


def _learned(optimizer: torch.optim.Optimizer, matrices: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for one in matrices:
            one.grad = torch.randn(one.shape, generator=generator)
        optimizer.step()
    return matrices


def test_stacks_move_matrices_as_torch_does() -> None:
    torch.manual_seed(0)
    ours = [torch.randn(shape) for shape in SHAPES]
    theirs = [one.clone() for one in ours]
    start = [one.clone() for one in ours]

    _learned(StackedMuon(ours, lr=torch.tensor(0.1), weight_decay=0.01), ours)
    _learned(torch.optim.Muon(theirs, lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"), theirs)

    for one, other, before in zip(ours, theirs, start, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
        assert (one - before).abs().mean() > 0.01


def test_a_matrix_without_a_gradient_rests() -> None:
    first, second = torch.ones(3, 4), torch.ones(3, 4)
    first.grad = torch.eye(3, 4)

    StackedMuon([first, second], lr=0.1).step()

    assert torch.equal(second, torch.ones(3, 4))
    assert not torch.equal(first, second)
