"""Speed and memory settings of a pipeline, each with a fall-back that says why it fell back.

Always on: both guidance halves in one batch, fused attention (SDPA), caption keys and values computed
once per run, captions kept per prompt, no host synchronisation between steps.

In bfloat16 the weights and activations are bfloat16; softmax, norms, the latents and the update of a step stay float32
inside the kernels and the loop. The timestep follows the model's `exact_timesteps` (see `stdit3`): the
released weights get it rounded, as in their training; our own models get float32.

`compile` compiles blocks, not the whole network: spatial blocks share one piece of code and temporal ones another, for
any batch, length and size; on a GPU also the blocks of the spatial decoder, with one piece for each pair of widths.
Every variation that jobs can ask for is run once at the start, so that no job waits for a compiler: guided and unguided
steps, with and without a donor, videos and images. Captions are padded to a multiple of 16 tokens. `graphs` records the
kernels of a whole small forward per shape and replays them, for cases where a GPU waits for launches: images and small
clips. Larger forwards run compiled, as do steps with reuse or a frame mask.
"""

import inspect
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from torch import Tensor, nn

from shared.logs import first_line
from worker.models.opensora import hub
from worker.models.opensora.blocks import Mlp, PackedCaption, linear_gelu
from worker.models.opensora.pipeline import ChaiPipeline
from worker.models.opensora.sizes import VideoSize
from worker.models.opensora.stdit3 import STDiT3
from worker.models.opensora.two_devices import OnTwoDevices
from worker.models.opensora.vae import OpenSoraVAE
from worker.models.registry import DtypeName, EngineMode, TextPlace
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import CLEAN, Donor

logger = logging.getLogger(__name__)

CAPTION_BUCKET = 16  # tokens: with buckets a night's prompts have ten different lengths, without them ninety
MAX_VARIANTS = 64  # of a block's code; the warm-up makes a dozen, and beyond the limit blocks run uncompiled
# Norms of 1,152 channels in one pass if that is faster; by default the compiler splits rows of that length.
GPU_COMPILER: dict[str, Any] = {"options": {"triton.multi_kernel": 1}}
NUM_GRAPHS = 16  # shapes; each holds the keys and values of its caption, up to 0.16 GB
RECORDED_TOKENS = 8192  # of all rows: beyond that, an H100 computes for longer than a host launches compiled kernels
GPU_DECODE_BATCH = 16  # most frames per call of the spatial decoder
GPU_CHUNKS = 4  # of 17 frames per call of the temporal decoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to trade for speed or memory. The defaults change no number."""

    mode: EngineMode = "off"  # auto: compile on a GPU
    dtype: torch.dtype | None = None  # of transformer and VAE; None = as loaded
    text: TextPlace = "keep"  # T5 on the device; in its files' dtype; on the CPU between prompts; in 8 bits
    warm: tuple[VideoSize, ...] = ()  # run once before the first job if blocks are compiled; none = the own size
    second_device: str | None = None  # computes half of each guided step, with a copy of the transformer


def options(
    device: torch.device,
    *,
    mode: EngineMode = "off",
    dtype: DtypeName = "auto",
    text: TextPlace = "keep",
    warm: tuple[VideoSize, ...] = (),
    second_device: str | None = None,
) -> Options:
    """Return the options for plain settings; `auto` is compiled bfloat16 on a GPU, elsewhere the dtype of the files."""
    if mode == "auto":
        mode = "compile" if device.type == "cuda" else "off"
    if dtype == "auto":
        chosen = torch.bfloat16 if device.type == "cuda" else None
    else:
        chosen = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    return Options(mode=mode, dtype=chosen, text=text, warm=warm, second_device=second_device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was switched on, and what was not, with the reasons."""

    applied: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)  # setting -> reason

    def told(self) -> dict[str, str]:
        """Return the outcome as a metrics row keeps it: `on`, or the reason why not."""
        return dict.fromkeys(self.applied, "on") | {name: f"off: {reason}" for name, reason in self.refused.items()}


def optimize(pipeline: ChaiPipeline, options: Options, device: torch.device | str | None = None) -> Outcome:
    """Move a pipeline to the device and apply the options; what fails is left off, logged and reported."""
    device = torch.device(device) if device is not None else pipeline.transformer.device
    settings: dict[str, Callable[[], None]] = {}
    if options.text == "int8":
        settings["text int8"] = lambda: replace_linears(pipeline.text_encoder, Int8Linear)
    _place(pipeline, options, device)
    if device.type == "cuda" and pipeline.transformer.dtype != torch.float32:
        settings["gelu in product"] = lambda: _join_gelu(pipeline.transformer, device)
    if options.second_device is not None:
        settings["second device"] = lambda: _share(pipeline, options)
    if options.mode != "off":
        settings["compile"] = lambda: _compile(pipeline, options.warm)
        if device.type == "cuda" and decoder_blocks(pipeline.vae):
            settings["compile decoder"] = lambda: compile_decoder(pipeline, options.warm)
    if options.mode == "graphs":
        settings["graphs"] = lambda: _record(pipeline, device, options.warm)
    applied, refused = [], {}
    for name, apply in settings.items():
        try:
            apply()
            applied.append(name)
        except Exception as error:  # a compiler can fail in any way; the model runs without it
            reason = first_line(error)
            logger.warning("%s is left off: %s", name, reason)
            refused[name] = reason
    return Outcome(applied=tuple(applied), refused=refused)


def _place(pipeline: ChaiPipeline, options: Options, device: torch.device) -> None:
    for module in (pipeline.transformer, pipeline.vae):
        nn.Module.to(module, device=device, dtype=options.dtype)  # diffusers' own `to` warns about every dtype
    if device.type == "cuda" and options.dtype is not None and options.text != "exact":
        pipeline.text_encoder.to(options.dtype)
    if options.text == "offload":
        pipeline.captions.offload, pipeline.captions.device = True, device
        pipeline.text_encoder.to("cpu")
    else:
        pipeline.text_encoder.to(device)
    if isinstance(pipeline.vae, OpenSoraVAE) and device.type == "cuda":
        pipeline.vae.decode_batch, pipeline.vae.chunks_at_once = GPU_DECODE_BATCH, GPU_CHUNKS
        pipeline.vae.spatial_vae.to(memory_format=torch.channels_last)


def _join_gelu(transformer: STDiT3, device: torch.device) -> None:
    check_gelu(device, transformer.dtype)
    join_gelu(transformer.blocks, device.type)


def join_gelu(blocks: Iterable[nn.Module], device_type: str) -> None:
    """Let the matrix products before a GELU apply it too, on devices of this type."""
    for part in (part for block in blocks for part in block.modules() if isinstance(part, Mlp)):
        part.joined_on = device_type


@torch.no_grad()
def check_gelu(device: torch.device, dtype: torch.dtype) -> None:
    """Raise RuntimeError if `linear_gelu` does not give the tanh form, with which the network was trained.

    Both forms are within .0005 of each other, less than the rounding error of a half-precision product near 1. So the
    result must be near the tanh form, and nearer to it than to the exact form below 0, where the two can be told apart.
    """
    x = torch.linspace(-4, 4 - 1 / 32, 256, device=device).view(16, 16)  # numbers that bfloat16 holds exactly
    layer = nn.Linear(16, 16, device=device, dtype=dtype)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    found, tanh, exact = linear_gelu(layer, x.to(dtype)).float(), F.gelu(x, approximate="tanh"), F.gelu(x)
    to_tanh, to_exact = ((found - form)[x < 0].abs().sum() for form in (tanh, exact))
    if not torch.allclose(found, tanh, rtol=2**-8, atol=2**-9) or to_tanh >= to_exact:
        raise RuntimeError(f"on {device.type} the GELU of a product is not the tanh form")


def _share(pipeline: ChaiPipeline, options: Options) -> None:
    """Let a second device compute half of each guided step."""
    if options.mode == "graphs":
        raise RuntimeError("a recording has the kernels of one device; set the engine's mode to compile")
    transformer, device = pipeline.transformer, torch.empty(0, device=options.second_device).device
    if device == transformer.device:
        raise RuntimeError(f"{device} is the first device already; name another")
    hub.check_memory({"copy of the transformer": transformer.get_memory_footprint()}, device)
    pipeline.network = OnTwoDevices(transformer, device)


def _compile(pipeline: ChaiPipeline, sizes: tuple[VideoSize, ...]) -> None:
    """Compile the blocks for all shapes that jobs may ask for; the compiler's errors are not caught.

    Sizes are variable from the start (`dynamic`) and independent of each other: if a batch of two meets two latent
    frames in one job, they need not be equal in the next.
    """
    transformer, network = pipeline.transformer, pipeline.network
    blocks = [*transformer.blocks, *(network.copy.blocks if isinstance(network, OnTwoDevices) else ())]
    before, transformer.caption_bucket = transformer.caption_bucket, CAPTION_BUCKET
    try:
        _compile_parts(blocks, transformer.device, lambda: warm_up(pipeline, sizes))
    except Exception:
        transformer.caption_bucket = before
        raise


def compile_decoder(pipeline: ChaiPipeline, sizes: tuple[VideoSize, ...]) -> None:
    """Compile the blocks of the spatial decoder in the same way."""
    _compile_parts(decoder_blocks(pipeline.vae), pipeline.transformer.device, lambda: warm_up_decoder(pipeline, sizes))


def _compile_parts(parts: Sequence[nn.Module], device: torch.device, run: Callable[[], None]) -> None:
    """Compile parts when they run; if that fails, leave them as they were."""
    take_sizes_apart()
    # If einops were traced, parsing its patterns would take a third of the time.
    torch.compiler.allow_in_graph(rearrange)  # type: ignore[no-untyped-call]
    own = GPU_COMPILER if device.type == "cuda" else {}
    for part in parts:
        part.compile(dynamic=True, **limit_of_variants(), **own)
    try:
        run()
    except Exception:  # a compiler can fail in any way
        for part in parts:
            part._compiled_call_impl = None  # what `compile` set
        raise


def decoder_blocks(vae: nn.Module) -> list[nn.Module]:
    """Return the blocks of a spatial decoder; none for another VAE.

    Compiled, a group norm leaves channels last, as convolutions want them. Torch's own puts them first: 40 % of the
    decoding time on an H100 went into copying back.
    """
    if not isinstance(vae, OpenSoraVAE):
        return []
    decoder: Any = vae.spatial_vae.module
    return [part for part in decoder.decoder.modules() if isinstance(part, ResnetBlock2D)]


def limit_of_variants() -> dict[str, int]:
    """Return the option of `compile` that raises its limit; empty for an older torch, which has one limit for all."""
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        return {"recompile_limit": MAX_VARIANTS}
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_VARIANTS)
    return {}


def take_sizes_apart() -> None:
    """Keep the compiler, in this thread, from treating two sizes as one because they are equal in one job.

    Its settings are per thread, and a worker loads in another thread than it denoises in.
    """
    torch.fx.experimental._config.use_duck_shape = False


def warm_up(pipeline: ChaiPipeline, sizes: tuple[VideoSize, ...] = ()) -> None:
    """Run a step of each kind that has compiled code of its own, at each size; none = the pipeline's own size."""
    for measures in _measures(pipeline, sizes):
        latent = torch.zeros(1, *pipeline.latent_shape(**measures))
        donor = Donor(tensors={CLEAN: latent})
        ways = [CacheAttention(source="clean", steps=(1,), halves=halves) for halves in ("both", "conditional")]
        for guidance_scale in (7.0, 1.0):
            for hooks in ([], *([way.bind([donor], [0.0])] for way in ways)):
                schedule = pipeline.schedule(1, guidance_scale)
                for _ in pipeline.steps("a trial", schedule, **measures, hooks=hooks):
                    pass


def warm_up_decoder(pipeline: ChaiPipeline, sizes: tuple[VideoSize, ...] = ()) -> None:
    """Decode a latent of each size."""
    for measures in _measures(pipeline, sizes):
        latent = torch.zeros(1, *pipeline.latent_shape(**measures), device=pipeline.vae.device)
        pipeline.decode(latent, measures["num_frames"])


def _measures(pipeline: ChaiPipeline, sizes: tuple[VideoSize, ...]) -> Iterator[dict[str, Any]]:
    own: Any = pipeline.config  # diffusers declares a dict and returns one with attributes
    for size in sizes or (VideoSize(height=own.height, width=own.width, num_frames=own.num_frames),):
        yield {"height": size.height, "width": size.width, "num_frames": size.num_frames}


def _record(pipeline: ChaiPipeline, device: torch.device, sizes: tuple[VideoSize, ...]) -> None:
    if device.type != "cuda":
        raise RuntimeError(f"CUDA graphs need a CUDA device, this is {device.type}")
    pipeline.network = RecordedTransformer(pipeline.transformer)
    try:
        warm_up(pipeline, sizes)
    except Exception:
        pipeline.network = pipeline.transformer
        raise


class RecordedTransformer:
    """STDiT3 whose small plain forwards are recorded as CUDA graphs, one for each shape, and replayed.

    Behaves like the transformer in every other way. A recording is compared with the network once, when it is made.
    """

    def __init__(self, transformer: STDiT3, capacity: int = NUM_GRAPHS):
        self._transformer = transformer
        self._capacity = capacity
        self._recordings: OrderedDict[tuple[Any, ...], _Recording] = OrderedDict()
        self._pool = torch.cuda.graph_pool_handle()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transformer, name)

    def __call__(
        self, x: Tensor, timestep: Tensor, y: PackedCaption, *, fps: Tensor, height: float, width: float, **options: Any
    ) -> Tensor:
        """Predict as `STDiT3.forward` does."""
        if self._num_tokens(x) > RECORDED_TOKENS or any(value is not None for value in options.values()):
            plain: Tensor = self._transformer(x, timestep, y, fps=fps, height=height, width=width, **options)
            return plain
        key = (x.shape, x.dtype, y.tokens.shape, y.mask is None, fps.shape, height, width)
        if key not in self._recordings:
            self._recordings[key] = _Recording(self._transformer, self._pool, x, timestep, y, fps, (height, width))
        self._recordings.move_to_end(key)
        while len(self._recordings) > self._capacity:
            self._recordings.popitem(last=False)
        return self._recordings[key].replay(x, timestep, y, fps)

    def _num_tokens(self, x: Tensor) -> int:
        return x[:, 0].numel() // math.prod(self._transformer.x_embedder.patch_size)


class _Recording:
    """The kernels of one forward with the buffers they read and write."""

    def __init__(
        self,
        transformer: STDiT3,
        pool: Any,
        x: Tensor,
        timestep: Tensor,
        caption: PackedCaption,
        fps: Tensor,
        size: tuple[float, float],
    ):
        self._inputs = [x.clone(), timestep.clone(), fps.clone()]
        self._caption = caption.map(torch.clone)
        self._shown: PackedCaption | None = None
        self._position = transformer._position(x, *size, transformer.dtype)  # cached elsewhere: must outlive the graph
        height, width = size

        def forward() -> Tensor:
            x, timestep, fps = self._inputs
            out: Tensor = transformer(x, timestep, self._caption, fps=fps, height=height, width=width)
            return out

        expected = self._warm_up(forward)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._output = forward()
        self._graph.replay()
        if not torch.allclose(self._output, expected, atol=1e-2, rtol=1e-2):
            raise RuntimeError("the recorded forward differs from the network")

    @staticmethod
    def _warm_up(forward: Callable[[], Tensor]) -> Tensor:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                out = forward()
        torch.cuda.current_stream().wait_stream(stream)
        return out.clone()

    def replay(self, x: Tensor, timestep: Tensor, caption: PackedCaption, fps: Tensor) -> Tensor:
        for buffer, value in zip(self._inputs, (x, timestep, fps), strict=True):
            buffer.copy_(value)
        if not _is_same(self._shown, caption):
            for buffer, value in zip(_tensors(self._caption), _tensors(caption), strict=True):
                buffer.copy_(value)
            self._shown = caption  # held, so that its memory is not given to another caption
        self._graph.replay()
        return self._output.clone()


def _tensors(caption: PackedCaption) -> list[Tensor]:
    mask = [] if caption.mask is None else [caption.mask]
    return [caption.tokens, *mask, *(tensor for pair in caption.keys_values for tensor in pair)]


def _is_same(left: PackedCaption | None, right: PackedCaption) -> bool:
    """Whether two captions are views of the same memory, as in the steps of one run."""
    if left is None:
        return False
    pairs = zip(_tensors(left), _tensors(right), strict=True)
    return all(a.data_ptr() == b.data_ptr() and a.shape == b.shape for a, b in pairs)


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights and one scale per output: a quarter of float32's memory, multiplied in the
    input's dtype."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        scale = linear.weight.detach().abs().amax(1, keepdim=True).clamp_min(1e-12) / 127  # (out, 1)
        self.register_buffer("weight", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale[:, 0].float())
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        out = nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return out if self.bias is None else out + self.bias


def replace_linears(module: nn.Module, kind: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace every linear layer below `module` whose sides are multiples of 16 with `kind(linear)`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            if child.in_features % 16 == 0 and child.out_features % 16 == 0:
                setattr(module, name, kind(child))
        else:
            replace_linears(child, kind)
