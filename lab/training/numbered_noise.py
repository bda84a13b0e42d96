"""Normal noise that has a number: the same for a number on every device, without a file or a generator's state."""

from collections.abc import Sequence
from math import pi, prod

import torch
from torch import Tensor

_LOW = (1 << 32) - 1
_STEPS = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1))  # shifts and factors of SplitMix64


def numbered_noise(numbers: Tensor, shape: Sequence[int], *, seed: int) -> Tensor:
    """Noise of each number, int64 (B,): float32 (B, *shape), on the device of the numbers.

    Two uniform numbers of 32 bits from SplitMix64 (Steele, Lea and Flood 2014), one normal one of Box and Muller.
    """
    size = prod(shape)
    state = torch.arange(size, device=numbers.device) + size * numbers[:, None] + (seed << 40)
    state = _mixed(state * -0x61C8864680B583EB)
    first, second = ((state >> 32) & _LOW).double(), (state & _LOW).double()
    radius = torch.sqrt(-2 * torch.log((first + 1) / (_LOW + 1)))
    return (radius * torch.cos(second * (2 * pi / (_LOW + 1)))).float().reshape(len(numbers), *shape)


def _mixed(state: Tensor) -> Tensor:
    """Every bit depends on every bit; products wrap."""
    for shift, factor in _STEPS:
        state = (state ^ ((state >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return state
