"""`chai lab bench`: each setting of the engine, measured with prompts of ten lengths at several sizes; one table.

It shows what one prompt at one size would hide: a compiler that starts again for a new length, replays that know too
few shapes, and what happens with a setting that the machine does not support.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from lab.benchmarks.engine import Request, build
from worker.models import device as devices
from worker.models import device_faults
from worker.models.opensora.optimization import optimize, options
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.sizes import VideoSize
from worker.models.registry import EngineMode

LENGTHS = (2, 5, 9, 14, 20, 27, 35, 48, 70, 110)  # words, about as in people's prompts
WORDS = ["a", "red", "fox", "walks", "slowly", "through", "fresh", "snow", "under", "a", "pale", "winter", "sun"]
SETTINGS: tuple[EngineMode, ...] = ("off", "compile", "graphs")
GPU_ONLY = {  # setting: why it is not measured elsewhere, where another would run under its name
    "graphs": "CUDA graphs need a CUDA device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting at one size. Times in seconds by the clock, `cpu` in seconds of the processor."""

    setting: str
    size: str
    ready_s: float  # loading, compiling and the warm-up, all sizes together
    step_s: float  # median over all steps of all prompts
    step_cpu_s: float
    slowest_s: float  # the slowest step of all
    compiled: int  # pieces of code that were compiled after the warm-up: should be 0
    peak_bytes: int  # on a GPU; elsewhere the peak of the whole process
    left_off: dict[str, str]  # what could not be switched on, and why


def run(request: Request, sizes: Sequence[VideoSize], settings: Sequence[EngineMode] = SETTINGS) -> dict[str, Any]:
    """Measure all, print a table and one line of JSON, and return what the line holds.

    A setting that fails, or an interrupted run, loses only what it has not measured yet.
    """
    device = devices.choose(request.device)
    is_gpu = device.type == "cuda"
    refused = {} if is_gpu else {name: f"{GPU_ONLY[name]}, this is {device}" for name in settings if name in GPU_ONLY}
    rows: list[Row] = []
    for name in settings:
        if name in refused:
            continue
        print(f"{name}: loads, and compiles if it has to, which may take minutes", file=sys.stderr, flush=True)
        try:
            for row in _rows(request, name, sizes, device):
                print(f"{row.setting}, {row.size}: {1e3 * row.step_s:.4g} ms a step", file=sys.stderr, flush=True)
                rows.append(row)
        except KeyboardInterrupt:
            refused[name] = "interrupted"
            break
        except Exception as error:  # one setting in many may ask too much of this machine
            refused[name] = device_faults.told(error)
        device_faults.free_memory()
    report = {
        "bench": "modes",
        "preset": request.preset,
        "device": str(device),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "lengths": LENGTHS,
        "steps": request.steps[0],
        "rows": [asdict(row) for row in rows],
        "refused": refused,
        **device_faults.versions(),
    }
    _print(report, rows)
    return report


def _rows(request: Request, setting: EngineMode, sizes: Sequence[VideoSize], device: torch.device) -> Iterator[Row]:
    began = time.perf_counter()
    pipeline = build(replace(request, mode=setting), device)
    outcome = optimize(pipeline, options(device, mode=setting, warm=tuple(sizes)), device)
    ready_s = time.perf_counter() - began
    for size in sizes:
        devices.reset_peak_memory(device)
        before, cpu = _num_graphs(), time.process_time()
        steps = [step for length in LENGTHS for step in _steps(pipeline, size, length, request.steps[0], device)]
        yield Row(
            setting=setting,
            size=f"{size.width}x{size.height} x {size.num_frames}",
            ready_s=ready_s,
            step_s=statistics.median(steps),
            step_cpu_s=(time.process_time() - cpu) / len(steps),
            slowest_s=max(steps),
            compiled=_num_graphs() - before,
            peak_bytes=devices.peak_memory(device),
            left_off=dict(outcome.refused),
        )


def _num_graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def _steps(
    pipeline: ChaiPipeline, size: VideoSize, num_words: int, num_steps: int, device: torch.device
) -> Iterator[float]:
    """Yield the seconds of each step for a prompt with this many words."""
    caption = pipeline.encode_prompt([" ".join(WORDS[i % len(WORDS)] for i in range(num_words))])
    schedule = pipeline.schedule(num_steps)
    steps = pipeline.steps(caption, schedule, seed=1, height=size.height, width=size.width, num_frames=size.num_frames)
    devices.finish(device)
    began = time.perf_counter()
    for _ in steps:
        devices.finish(device)
        yield time.perf_counter() - began
        began = time.perf_counter()


def _print(report: dict[str, Any], rows: Sequence[Row]) -> None:
    title = f"{report['preset']} on {report.get('gpu', report['device'])}, prompts of {len(LENGTHS)} lengths"
    figures = ("ready/s", "step/ms", "cpu/ms", "slowest/ms", "compiled late", "memory/MB")
    table = Table("setting", "size", *figures, "left off", title=title)
    for row in rows:
        times = [f"{1e3 * seconds:.4g}" for seconds in (row.step_s, row.step_cpu_s, row.slowest_s)]
        why = "; ".join(f"{name}: {reason}" for name, reason in row.left_off.items())
        memory = f"{row.peak_bytes / 1e6:.0f}"
        table.add_row(row.setting, row.size, f"{row.ready_s:.1f}", *times, str(row.compiled), memory, why)
    console = Console(width=160)
    console.print(table)
    for name, reason in report["refused"].items():
        console.print(
            f"{name} is not measured{' further' if any(row.setting == name for row in rows) else ''}: {reason}"
        )
    print(json.dumps(report))
