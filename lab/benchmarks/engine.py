"""`chai lab bench engine`: time, memory and operations of every stage of a job, beside the same model written plainly.

Random weights are enough for this: time does not depend on the values, as long as they are not zero.
"""

import ctypes
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from lab.benchmarks.operations import counted, decode_operations, text_operations, transformer_operations
from lab.benchmarks.plain import plain_decode, plain_steps
from shared import model_cards
from worker.jobs import video
from worker.models import device as devices
from worker.models import device_faults
from worker.models.opensora.caption import DEFAULT_AESTHETIC_SCORE
from worker.models.opensora.optimization import Options, optimize
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.presets import letter_tokenizer, stdit3_small_config, stdit3_xl2_config, tiny
from worker.models.opensora.sampler import Conditioning
from worker.models.opensora.sizes import VideoSize
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.text import Caption
from worker.models.opensora.vae import OpenSoraVAE, PatchVAE, to_uint8
from worker.models.registry import EngineMode, TextPlace

T = TypeVar("T")

PROMPT = "a corgi surfing a wave at sunset, cinematic"
T5_XXL: dict[str, Any] = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "d_kv": 64,
    "feed_forward_proj": "gated-gelu",
}
STAGES = ("text", "step", "denoise", "decode", "mp4", "total")
FIGURES = ("TFLOP/s", "of peak", "memory/MB", "video/kB")
PEAK_SIZE = {"cuda": 8192, "cpu": 1024, "mps": 4096}  # side of the matrices of the peak measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to measure."""

    preset: str  # opensora-1.2, small, tiny
    height: int
    width: int
    num_frames: int
    steps: tuple[int, ...]
    models_dir: Path | None = None  # None = random weights
    device: str = "auto"
    mode: EngineMode = "off"
    dtype: str | None = None  # float32 or bfloat16; None = bfloat16 on a GPU, float32 elsewhere
    text: TextPlace = "keep"
    repeats: int = 3
    has_plain: bool = True  # also run the plain model


@dataclass(slots=True, kw_only=True)
class Measured:
    """One path (ours or plain) at one number of steps. Times in seconds."""

    path: str
    num_steps: int
    text_s: float  # of a prompt that is not cached
    steps_s: list[float] = field(default_factory=list)  # of each step
    denoise_cpu_s: float = 0.0  # processor time of all steps: more reliable than the clock if others use the machine
    decode_s: float = 0.0
    mp4_s: float = 0.0
    peak_bytes: int = 0
    video_bytes: int = 0
    step_operations: int = 0
    decode_operations: int = 0
    text_operations: int = 0

    @property
    def denoise_s(self) -> float:
        """All steps."""
        return sum(self.steps_s)

    @property
    def total_s(self) -> float:
        """Prompt to MP4."""
        return self.text_s + self.denoise_s + self.decode_s + self.mp4_s

    @property
    def step_tflops(self) -> float:
        """Speed of a typical step, in 10^12 operations per second."""
        return self.step_operations / statistics.median(self.steps_s) / 1e12


def run(request: Request) -> dict[str, Any]:
    """Measure, print a table and one line of JSON, and return what the line holds."""
    device = devices.choose(request.device)
    pipeline = build(request, device)
    outcome = optimize(pipeline, _options(request, device), device)
    peak = matrix_peak(device, pipeline.transformer.dtype)
    results: list[Measured] = []
    refused = dict(outcome.refused)
    for num_steps, is_plain in itertools.product(request.steps, (False, True)[: 1 + request.has_plain]):
        name = f"{'plain' if is_plain else 'engine'}, {num_steps} steps"
        print(f"{name}: {1 + request.repeats} runs", file=sys.stderr, flush=True)
        try:
            results.append(_measure(pipeline, request, num_steps, device, is_plain=is_plain))
        except KeyboardInterrupt:
            refused[name] = "interrupted"
            break
        except Exception as error:  # earlier measurements are kept
            refused[name] = device_faults.told(error)
            device_faults.forget(error)  # frees what its frames hold
            device_faults.free_memory()
    report = _report(request, device, outcome.applied, refused, peak, results)
    _print(report, results, peak)
    return report


def build(request: Request, device: torch.device) -> ChaiPipeline:
    """The pipeline of a preset: with random weights, or from the folder of models."""
    if request.models_dir is not None:
        cards = model_cards.load(request.models_dir)
        if (card := cards.get(request.preset)) is None:
            raise ValueError(
                f"no model {request.preset!r} in {request.models_dir}; there is {', '.join(cards) or 'none'}: fetch it "
                "with `chai model pull`, or add --random-weights, which take as long"
            )
        return ChaiPipeline.from_pretrained(request.models_dir / card.name / card.source)
    if request.preset == "tiny":
        return tiny()
    return {"small": _random_small, "opensora-1.2": _random_opensora}[request.preset](request, device)


def _random_small(request: Request, device: torch.device) -> ChaiPipeline:
    del request
    config = stdit3_small_config()
    vae = PatchVAE(patch_time=1, patch_space=4, num_channels=config.get("in_channels", 4))
    tokenizer = letter_tokenizer()
    text = T5Config(vocab_size=len(tokenizer), d_model=config["caption_channels"], d_ff=128, d_kv=16, num_layers=2)
    transformer = _random(lambda: STDiT3(**config), device, torch.float32)
    return ChaiPipeline(transformer, vae, T5EncoderModel(text), tokenizer, time_shift="none", fps=8)


def _random_opensora(request: Request, device: torch.device) -> ChaiPipeline:
    dtype = _options(request, device).dtype or torch.float32
    tokenizer = letter_tokenizer()  # only the number of tokens costs time, not which they are
    return ChaiPipeline(
        _random(lambda: STDiT3(**stdit3_xl2_config()), device, dtype),
        _random(OpenSoraVAE, device, dtype),
        _random(lambda: T5EncoderModel(T5Config(**T5_XXL)), device, torch.float32),
        tokenizer,
        aesthetic_score=DEFAULT_AESTHETIC_SCORE,
    )


def _random(make: Callable[[], nn.Module], device: torch.device, dtype: torch.dtype) -> Any:
    """A model with random weights, created on the device: 6 G parameters would take minutes on the host."""
    with torch.device("meta"):
        model = make()
    model = model.to_empty(device=device)
    if isinstance(model, T5EncoderModel):
        model.tie_weights()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data.normal_(std=0.02 if tensor.dim() > 1 else 0.1)
    return nn.Module.to(model, dtype=dtype).eval()


def _options(request: Request, device: torch.device) -> Options:
    default = "bfloat16" if device.type == "cuda" else "float32"
    return Options(mode=request.mode, dtype=getattr(torch, request.dtype or default), text=request.text)


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, the best of several runs."""
    side = PEAK_SIZE[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = min(_timed(lambda: left @ right, device)[0] for _ in range(10))
    return 2 * side**3 / best


def _measure(
    pipeline: ChaiPipeline, request: Request, num_steps: int, device: torch.device, *, is_plain: bool
) -> Measured:
    """One warm-up run, then `repeats` runs, of which the median by total time is kept."""
    runs = [_once(pipeline, request, num_steps, device, is_plain) for _ in range(1 + request.repeats)][1:]
    middle = sorted(runs, key=lambda run: run.total_s)[len(runs) // 2]
    _count(middle, pipeline, request)
    return middle


def _once(pipeline: ChaiPipeline, request: Request, num_steps: int, device: torch.device, is_plain: bool) -> Measured:
    memory = _Memory(device)
    pipeline.captions.forget()
    text_s, caption = _timed(lambda: pipeline.encode_prompt([PROMPT]), device)
    measured = Measured(path="plain" if is_plain else "engine", num_steps=num_steps, text_s=text_s)
    run_steps, decode = (_plain_run if is_plain else _engine_run)(pipeline, request, num_steps, caption)
    started = time.process_time()
    latents = _timed_steps(measured, run_steps, device)
    measured.denoise_cpu_s = time.process_time() - started
    measured.decode_s, frames = _timed(lambda: decode(latents), device)
    fps = max(1, round(pipeline.config["fps"]))
    measured.mp4_s, content = _timed(lambda: video.encode(frames, fps=fps), device)
    measured.video_bytes, measured.peak_bytes = len(content), memory.peak()
    return measured


Run = tuple[Iterator[Tensor], Callable[[Tensor], Any]]  # the latents after each step, and their decoder


def _engine_run(pipeline: ChaiPipeline, request: Request, num_steps: int, caption: Caption) -> Run:
    steps = pipeline.steps(
        caption,
        pipeline.schedule(num_steps),
        seed=1,
        height=request.height,
        width=request.width,
        num_frames=request.num_frames,
    )
    return (step.latents for step in steps), lambda latents: pipeline.decode(latents, request.num_frames)


def _plain_run(pipeline: ChaiPipeline, request: Request, num_steps: int, caption: Caption) -> Run:
    size = {"height": request.height, "width": request.width, "num_frames": request.num_frames}
    conditioning = Conditioning(**size, fps=pipeline.config["fps"])
    steps = plain_steps(
        pipeline.transformer, pipeline.noise(1, **size), caption, pipeline.schedule(num_steps), conditioning
    )

    def decode(latents: Tensor) -> Any:
        return to_uint8(plain_decode(pipeline.vae, latents, request.num_frames))[0].cpu().numpy()

    return steps, decode


def _timed_steps(measured: Measured, steps: Iterator[Tensor], device: torch.device) -> Tensor:
    latents = None
    for _ in range(measured.num_steps):
        elapsed, latents = _timed(lambda: next(steps), device)
        measured.steps_s.append(elapsed)
    assert latents is not None
    return latents


class _Memory:
    """Peak memory from here on: of the device, or the growth of this process beyond its weights."""

    def __init__(self, device: torch.device):
        self._device = device
        devices.reset_peak_memory(device)
        if device.type != "cuda" and sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # give freed memory back, or it hides new allocations
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts at what is in use now
            self._before = _status("VmRSS")

    def peak(self) -> int:
        if self._device.type != "cuda" and sys.platform == "linux":
            return _status("VmHWM") - self._before
        return devices.peak_memory(self._device)


def _status(name: str) -> int:
    """A figure of this process in bytes, as Linux keeps it."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(name))
    return int(line.split()[1]) * 1024


def _timed(call: Callable[[], T], device: torch.device) -> tuple[float, T]:
    devices.finish(device)
    start = time.perf_counter()
    result = call()
    devices.finish(device)
    return time.perf_counter() - start, result


def _count(measured: Measured, pipeline: ChaiPipeline, request: Request) -> None:
    caption: Caption = pipeline.encode_prompt([PROMPT])
    kept = int(caption.mask.sum())
    frames, height, width = pipeline.vae.latent_size(request.num_frames, request.height, request.width)
    tokens = (frames, -(-height // 2) * -(-width // 2))
    measured.step_operations = 2 * transformer_operations(pipeline.transformer.config, tokens, kept)
    measured.text_operations = text_operations(pipeline.text_encoder.config, caption.mask.shape[1])
    size = VideoSize(height=request.height, width=request.width, num_frames=request.num_frames)
    if isinstance(pipeline.vae, OpenSoraVAE):
        measured.decode_operations = decode_operations(pipeline.vae, size)
    else:
        latents = torch.empty(1, pipeline.vae.latent_channels, frames, height, width)
        measured.decode_operations = counted(
            lambda: pipeline.vae.decode(latents.to(pipeline.vae.device), size.num_frames)
        )


def _report(
    request: Request,
    device: torch.device,
    applied: Sequence[str],
    refused: Mapping[str, str],
    peak: float,
    results: list[Measured],
) -> dict[str, Any]:
    rows = [
        {**asdict(row), "total_s": row.total_s, "denoise_s": row.denoise_s, "step_tflops": row.step_tflops}
        for row in results
    ]
    return {
        "bench": "engine",
        "preset": request.preset,
        "size": f"{request.width}x{request.height}",
        "frames": request.num_frames,
        "weights": "random" if request.models_dir is None else str(request.models_dir),
        "mode": request.mode,
        "applied": list(applied),
        "refused": refused,
        "device": str(device),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "peak_tflops": peak / 1e12,
        "speedup": {str(n): s for n, s in _speedups(results, device).items()},
        "results": rows,
        **device_faults.versions(),
    }


def _speedups(results: list[Measured], device: torch.device) -> dict[int, float]:
    """How many times faster than the plain model the steps are, by number of steps; on a CPU by processor time."""
    times = {(row.path, row.num_steps): row.denoise_cpu_s if device.type == "cpu" else row.denoise_s for row in results}
    return {n: times["plain", n] / s for (path, n), s in times.items() if path == "engine" and ("plain", n) in times}


def _print(report: dict[str, Any], results: list[Measured], peak: float) -> None:
    title = f"{report['preset']} {report['size']} x {report['frames']} on {report.get('gpu', report['device'])}"
    table = Table("path", "steps", *(f"{name}/s" for name in STAGES), *FIGURES, title=title)
    for row in results:
        speed = row.step_tflops
        times = [row.text_s, statistics.median(row.steps_s), row.denoise_s, row.decode_s, row.mp4_s, row.total_s]
        cells = [row.path, str(row.num_steps), *(f"{value:.4g}" for value in times), f"{speed:.3g}"]
        memory, size = f"{row.peak_bytes / 1e6:.1f}", f"{row.video_bytes / 1e3:.0f}"
        table.add_row(*cells, f"{speed * 1e12 / peak:.0%}", memory, size)
    console = Console(width=140)
    console.print(table)
    for steps, factor in report["speedup"].items():
        console.print(f"{steps} steps: {factor:.2f} times the speed of the plain model")
    for name, reason in report["refused"].items():
        console.print(f"{name}: {reason}")
    print(json.dumps(report))
