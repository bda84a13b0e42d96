"""One forward on several devices: sequence parallelism of diffusers, which cuts the video's tokens into parts.

Only the worker's process runs the pipeline. Followers, processes of their own on the other devices, hold the same
networks and do nothing but forwards: each gets the arguments of a forward through a pipe and the tensors by broadcast,
and within the forward the parts exchange what attention reads. So schedulers, guidance, seeds, decoding, progress and a
stop between two steps stay with the worker, and no process is left waiting in an exchange: a follower waits for the
next forward, or for its pipe to close, and then ends.

An error within a forward ends the followers. The next forward starts new ones, so nothing of a broken exchange remains.
To the job, a follower that died or does not answer is a lost device (`device_faults.DeviceLost`).
"""

from __future__ import annotations

import io
import math
import os
import pickle
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig, ParallelConfig
from diffusers.hooks.context_parallel import apply_context_parallel
from diffusers.hooks.hooks import HookRegistry, ModelHook
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from shared.child_command import child_command
from shared.model_cards import ModelCard
from worker.models import device_faults
from worker.models.diffusers.attention import PLACES, transformers
from worker.models.registry import EngineOptions
from worker.models.video_model import RequestError

FOLLOWER = "worker.models.diffusers.follower"
# A process that has not answered by then is taken for dead. NCCL counts from the launch, and no forward takes as long;
# gloo counts while one process is at an exchange and the other is not, which is short, and may miss the other's death.
EXCHANGE_S = {"cuda": 600.0, "cpu": 60.0}
_THERE = "another device of this model (context_parallel) is lost:"
_REPORT_S = 5.0  # from the end of an exchange to a follower's report of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a process needs to compute its part of a model's forwards."""

    card: ModelCard
    folder: str  # or repository
    options: EngineOptions
    rank: int = 0  # 0 is the worker
    num_threads: int = 1
    meeting: str = ""  # a file that all can write, by which they find each other
    exchange_s: float = 0.0

    @property
    def device(self) -> torch.device:
        """Where this part is computed: the GPUs after the worker's own."""
        first = torch.device(self.options.device)
        return first if first.type == "cpu" else torch.device(first.type, (first.index or 0) + self.rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The last message of a follower."""

    error: str
    is_out_of_memory: bool


def _why_not(card: ModelCard, networks: Sequence[Any], device: torch.device) -> str | None:
    """Return why the forwards cannot run on as many devices as the card says, with the way out."""
    degree = card.context_parallel
    if card.offload != "none":
        return f"weights that wait elsewhere (offload {card.offload}) cannot be split; leave one of the two out"
    for network in networks:
        kind, heads = type(network).__name__, getattr(network.config, "num_attention_heads", degree)
        if kind not in PLACES or network._cp_plan is None:
            return f"how to split {kind} is not known; leave it out, or take a model of Wan or LTX"
        if heads % degree:
            return f"the {heads} heads of {kind} cannot be shared out evenly; give a divisor of {heads}"
    if device.type not in ("cpu", "cuda"):
        return f"devices of {device.type} cannot exchange; leave it out"
    last = (device.index or 0) + degree - 1
    if device.type == "cuda" and last >= torch.cuda.device_count():
        here = torch.cuda.device_count()
        return (
            f"cuda:{last} is not here, this worker sees {here} of them (CUDA_VISIBLE_DEVICES); give fewer, or show more"
        )
    return None


def lead(pipeline: Any, card: ModelCard, folder: str, options: EngineOptions, device: torch.device) -> Team:
    """From now on, let followers compute their parts of each forward of a pipeline's networks.

    Raises:
        ValueError: the card asks for something impossible; the message names the field.
        RuntimeError: a follower could not load its part; `torch.OutOfMemoryError` where it did not fit.
    """
    networks = transformers(pipeline)
    if reason := _why_not(card, networks, device):
        raise ValueError(f"{card.name}: context_parallel {card.context_parallel}: {reason}")
    team = Team(Part(card=card, folder=folder, options=replace(options, device=str(device))))
    split(networks, team.config)
    for number, network in enumerate(networks):
        HookRegistry.check_if_exists_or_initialize(network).register_hook(_Leading(team, number), "leading")
    team.start()
    return team


def new_config(degree: int) -> Any:  # of diffusers, untyped
    """Return how sequences are cut: into equal parts, each of which attends with its share of the heads."""
    return ContextParallelConfig(ulysses_degree=degree)  # type: ignore[no-untyped-call]


def split(networks: Sequence[Any], config: Any) -> None:
    """Let networks cut the video's tokens into parts, and exchange what self-attention reads.

    This does not use `enable_parallelism` of diffusers: that makes its mesh by counting accelerators, which divides by
    zero without any, and it cannot be called twice. It also cuts the text of LTX, whose mask then no longer fits the
    heads. Here text stays whole, as in Wan: every part reads all of it, so cross-attention exchanges nothing.
    """
    for network in networks:
        network._parallel_config = ParallelConfig(context_parallel_config=config)  # type: ignore[no-untyped-call]
        for block in getattr(network, PLACES[type(network).__name__].blocks):
            block.attn1.processor._parallel_config = network._parallel_config
        apply_context_parallel(network, config, {name: _of_video(cuts) for name, cuts in network._cp_plan.items()})


def _of_video(cuts: Any) -> Any:
    """Return a module's plan for cutting inputs without those of text; a plan for joining stays as it is."""
    is_text = "encoder_"  # how the names of text inputs begin
    return {k: v for k, v in cuts.items() if not str(k).startswith(is_text)} if isinstance(cuts, dict) else cuts


def meet(part: Part, config: Any) -> None:
    """Wait for the other processes, and let the networks with this `config` exchange with theirs."""
    degree, device = part.card.context_parallel, part.device
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)  # nothing leaves this machine
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "gloo" if device.type == "cpu" else "nccl",
        store=dist.FileStore(part.meeting, degree),  # type: ignore[attr-defined]  # torch has no list of its names
        rank=part.rank,
        world_size=degree,
        timeout=timedelta(seconds=part.exchange_s),
    )
    mesh = init_device_mesh(device.type, config.mesh_shape, mesh_dim_names=config.mesh_dim_names)
    config.setup(part.rank, degree, device, mesh)


def part_ways(device: torch.device) -> None:
    """Leave the others without telling them, even in the middle of an exchange."""
    if not dist.is_initialized():
        return
    if device.type == "cuda":
        dist.distributed_c10d._abort_process_group()  # this ends kernels that wait for a process that is gone
    else:
        dist.destroy_process_group()


_TEAMS: weakref.WeakSet[Team] = weakref.WeakSet()  # those of this process that have started


class Team:
    """The followers of a worker's model, which live as long as it does."""

    def __init__(self, part: Part) -> None:
        self.degree, self._part = part.card.context_parallel, part
        self.config = new_config(self.degree)
        self._followers: list[tuple[subprocess.Popen[bytes], Connection]] = []

    def start(self) -> None:
        """Start the followers if there are none, and end those of other models; raise an error that one met."""
        if self._followers:
            return
        end_all()  # torch has only one group per process
        _TEAMS.add(self)
        with tempfile.TemporaryDirectory(prefix="chai-parallel-") as folder:
            own = replace(
                self._part,
                meeting=str(Path(folder, "meeting")),
                num_threads=torch.get_num_threads(),
                exchange_s=EXCHANGE_S[self._part.device.type],
            )
            try:
                for rank in range(1, self.degree):
                    self._followers.append(_started(replace(own, rank=rank)))
                self._require_ready()  # with their weights, which may take minutes
                meet(own, self.config)
                self._require_ready()  # with the others: until then they read the file
            except BaseException:
                self.end()
                raise

    def _require_ready(self) -> None:
        """Wait until each follower reports that it is ready; raise its error if it reports one."""
        for _, pipe in self._followers:
            try:
                said = pipe.recv()
            except (EOFError, OSError) as error:
                raise RuntimeError(f"{_THERE} its process died before its first forward") from error
            if isinstance(said, Report):
                raise _out_of_memory(said) if said.is_out_of_memory else RuntimeError(f"{_THERE} {said.error}")

    def end(self) -> None:
        """End the followers, whatever they are doing."""
        followers, self._followers = self._followers, []
        for process, pipe in followers:
            process.kill()
            pipe.close()
            process.wait()
        part_ways(self._part.device)

    @contextmanager
    def forward(self, number: int, args: tuple[Any, ...], options: dict[str, Any]) -> Iterator[None]:
        """Let the followers compute their parts of a forward of network `number` beside this process's own."""
        self.start()
        try:
            outline = _Outline(self._part.device)
            outline.dump((number, args, options))
            for _, pipe in self._followers:
                pipe.send_bytes(outline.written.getvalue())
            for tensor in outline.tensors:
                dist.broadcast(tensor.contiguous(), src=0)
            yield
            self._watch()
        except BaseException as error:
            reason = self._reason(error)
            self.end()
            if reason is None:
                raise
            raise reason from error

    def _watch(self) -> None:
        """Wait for the device and watch the followers: a kernel that waits for a dead one ends only at NCCL's timeout.

        A forward launches its kernels and returns; unless it is waited for here, its errors surface in the next one.
        """
        if self._part.device.type != "cuda":
            return
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        while not event.query():
            if wait([pipe for _, pipe in self._followers], timeout=0.001):
                raise RuntimeError("a follower ended within a forward")

    def _reason(self, error: BaseException) -> Exception | None:
        """Return the error that another process met, if this one's is only its consequence."""
        if (
            not isinstance(error, RuntimeError | OSError)
            or device_faults.is_out_of_memory(error)
            or device_faults.is_broken(error)
        ):
            return None
        reports: list[Report] = []
        for _, pipe in self._followers:
            with suppress(EOFError, OSError):
                if pipe.poll(_REPORT_S):
                    reports.append(pipe.recv())
        return None if told(error) in reports else _error(reports)  # all met the same error


def end_all() -> None:
    """End the followers of all models of this process; a model that is used again starts new ones."""
    for team in list(_TEAMS):
        team.end()


class _Leading(ModelHook):
    """The outermost hook of a network's forward, around those that split it."""

    def __init__(self, team: Team, number: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._team, self._number = team, number

    def new_forward(self, module: nn.Module, *args: Any, **options: Any) -> Any:
        """Compute the forward together with the followers; raise RequestError for a length without equal parts."""
        degree, count = self._team.degree, num_tokens(module, args[0] if args else options["hidden_states"])
        if count % degree:
            raise RequestError(f"its {count} tokens have no {degree} equal parts; ask for another size or length")
        with self._team.forward(self._number, args, options):
            forward: Any = self.fn_ref.original_forward
            return forward(*args, **options)


def num_tokens(network: Any, latents: Tensor) -> int:
    """Return how many video tokens a network makes of latents (B, C, T, H, W), or N of tokens (B, N, D)."""
    return latents.shape[1] if latents.ndim == 3 else latents[0, 0].numel() // math.prod(network.config.patch_size)


class _Outline(pickle.Pickler):
    """Pickles the arguments of a forward; of tensors on the device, only their form."""

    def __init__(self, device: torch.device) -> None:
        self.written, self.tensors, self._device = io.BytesIO(), list[Tensor](), device
        super().__init__(self.written)

    def persistent_id(self, value: Any) -> tuple[torch.Size, torch.dtype] | None:
        """Return the form of a tensor that goes by broadcast; None for anything else."""
        if not isinstance(value, Tensor) or value.device.type != self._device.type:
            return None
        self.tensors.append(value)
        return value.shape, value.dtype


class Call(pickle.Unpickler):
    """Unpickles the arguments of a forward; tensors come by broadcast, in the order of their mention."""

    def __init__(self, written: bytes, device: torch.device) -> None:
        super().__init__(io.BytesIO(written))
        self._device = device

    def persistent_load(self, form: tuple[torch.Size, torch.dtype]) -> Tensor:
        """Return the next tensor."""
        tensor = torch.empty(form[0], dtype=form[1], device=self._device)
        dist.broadcast(tensor, src=0)
        return tensor


def _started(part: Part) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start the process of a part; return it with the pipe for its calls and reports."""
    here, there = Pipe()
    with there:
        command = [*child_command(FOLLOWER), str(there.fileno())]
        process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[there.fileno()],
            start_new_session=True,  # Ctrl-C must reach only the worker, which first gives its jobs back
        )
    here.send(part)
    return process, here


def _out_of_memory(report: Report) -> Exception:
    return torch.OutOfMemoryError(f"{_THERE} {report.error}")


def _error(reports: Sequence[Report]) -> Exception:
    for report in reports:
        if report.is_out_of_memory:
            return _out_of_memory(report)
    said = "; ".join(report.error for report in reports) or "its process died, or did not answer in time"
    return device_faults.DeviceLost(f"{_THERE} {said}")


def told(error: BaseException) -> Report:
    """Return the report of an error."""
    return Report(error=f"{type(error).__name__}: {error}", is_out_of_memory=device_faults.is_out_of_memory(error))
