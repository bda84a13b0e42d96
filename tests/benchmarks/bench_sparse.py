"""What a forward over a share of the tokens takes, against the whole one: the small model's width, and Open-Sora's.

On a GPU, where there is one, in bfloat16; the released model whole there too.

OMP_NUM_THREADS=1 pytest -m bench -s tests/benchmarks/bench_sparse.py
"""

import json
from collections.abc import Iterator
from time import perf_counter, process_time
from typing import Any

import pytest
import torch
from torch import nn

from worker.models import device as devices
from worker.models import device_faults
from worker.models.opensora.presets import stdit3_small_config, stdit3_xl2_config
from worker.models.opensora.stdit3 import STDiT3
from worker.models.video_model import Computed

pytestmark = pytest.mark.bench
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
SIZES = {  # config, latent frames, latent side
    "small": (stdit3_small_config(), 4, 8),
    "small, 16 times the tokens": (stdit3_small_config(), 8, 24),
    "full width, 2 of 28 pairs": ({**stdit3_xl2_config(), "depth": 2}, 5, 16),
}
if torch.cuda.is_available():
    SIZES["the released model, 320x320 x 72"] = (stdit3_xl2_config(), 22, 40)


@pytest.mark.parametrize("name", SIZES)
def test_a_sparse_forward_takes_about_its_share(name: str) -> None:
    config, frames, side = SIZES[name]
    device = devices.choose()
    network: Any = STDiT3(**config).eval()
    if device.type == "cuda":
        network = nn.Module.to(network, device=device, dtype=torch.bfloat16)
    rows = list(measured(network, frames, side))
    print(f"\n{name}: {frames} x {side // 2} x {side // 2} tokens, {rows[0]['kept_mb']:.1f} MB kept a row, {device}")
    for row in rows:
        print(f"  {row['share']:.1f} of the tokens: {row['cpu_s']:.4f} s of processor, {row['wall_s']:.4f} s")
    print(json.dumps({"size": name, "threads": torch.get_num_threads(), "rows": rows, **device_faults.versions()}))
    time = "wall_s" if device.type == "cuda" else "cpu_s"
    assert rows[1][time] < rows[0][time]  # a fifth against the whole


@torch.no_grad()
def measured(network: Any, frames: int, side: int) -> Iterator[dict[str, float]]:
    config, device = network.config, network.device
    x = torch.randn(1, config["in_channels"], frames, side, side, device=device)
    words = torch.randn(1, 1, 16, config["caption_channels"], device=device)
    caption = network.pack_caption(words, None, 1, keep_keys=True)
    given = {"fps": torch.tensor([8.0], device=device), "height": 8 * side, "width": 8 * side}
    step, half = torch.full((1,), 700.0, device=device), side // 2  # tokens of 2 x 2 cells
    computed = Computed()
    network(x, step, caption, computed=computed, **given)
    order = torch.randperm(frames * half * half, device=device)
    yield {"share": 1.0, "dense": 1.0} | timed(lambda: network(x, step, caption, **given), computed, device)
    for share in SHARES:
        active = (order < round(share * len(order))).view(frames, half, half)
        computed.active = active.repeat_interleave(2, 1).repeat_interleave(2, 2)
        yield {"share": share, "dense": 0.0} | timed(
            lambda: network(x, step, caption, computed=computed, **given), computed, device
        )


def timed(run: Any, computed: Computed, device: torch.device, times: int = 3) -> dict[str, float]:
    run()
    found = []
    for _ in range(times):
        devices.finish(device)
        began = process_time(), perf_counter()
        run()
        devices.finish(device)
        found.append((process_time() - began[0], perf_counter() - began[1]))
    cpu_s, wall_s = (sorted(each)[times // 2] for each in zip(*found, strict=True))
    return {"cpu_s": round(cpu_s, 5), "wall_s": round(wall_s, 5), "kept_mb": computed.num_bytes / 2**20}
