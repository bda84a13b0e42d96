"""From a card to a loaded pipeline: weights, LoRAs, scheduler, precision, and where the weights wait."""

from __future__ import annotations

import inspect
import json
import logging
import re
import weakref
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import torch
from diffusers.quantizers.pipe_quant_config import PipelineQuantizationConfig
from safetensors import SafetensorError, safe_open
from torch import nn

from shared.generation import GenerationParams
from shared.logs import first_line
from shared.model_cards import DTYPES, OFFLOADS, ModelCard, sides
from worker.models import device as devices
from worker.models import git_lfs, prompt_text
from worker.models.device_faults import is_broken, is_out_of_memory
from worker.models.diffusers import attention, loras, parallel, quantization, schedule, source
from worker.models.diffusers.model import OF_THE_REQUEST, DiffusersModel, own_steps
from worker.models.diffusers.source import SourceError
from worker.models.fingerprint import require_numbers, revision
from worker.models.registry import EngineOptions
from worker.models.text_cache import text_cache
from worker.models.video_model import Fingerprint, RequestError, Sampling, VideoModel
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import CLEAN, Donor

logger = logging.getLogger(__name__)

_ONLY_TILED = ("AutoencoderKLAllegro",)  # decoders that work only in tiles
_WITHOUT_FIRST_FRAME = ("AutoencoderKLAllegro",)  # autoencoders that make no latent frame of the first frame alone
_STRIDES = (  # what pipelines call the number of frames per latent frame
    *("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor"),
)
_PIXELS = (  # what they call the number of pixels of a side per latent
    *("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor", "vae_scale_factor"),
)
_PROBE = 64  # pixels a side: the least that every known network accepts
_FUSED = (
    "A donor changes nothing in its networks (fused projections read the run's own tokens only); "
    "load it without fuse_qkv_projections to reuse donors."
)


def load(card: ModelCard, folder: str, options: EngineOptions) -> VideoModel:
    """Load the pipeline of a card from a folder or repository.

    Raises:
        SourceError: files are missing, broken, foreign or no text-to-video pipeline.
        ValueError: the card asks for something that does not exist; the message names the field.
    """
    device = devices.choose(options.device)
    pipeline = read(card, folder, options, device)
    pipeline.scheduler = schedule.replaced(pipeline.scheduler, card.scheduler)
    if pipeline.scheduler.order != 1:
        raise ValueError(
            f"{card.name}: scheduler {type(pipeline.scheduler).__name__} evaluates the model more than once a step; "
            "name FlowMatchEulerDiscreteScheduler or UniPCMultistepScheduler under `scheduler` in the card"
        )
    schedule.check_step(pipeline)
    require_numbers(f"{card.name}: {folder}", pipeline.components)
    left_out = loras.add(pipeline, card, options.card_folder)
    fingerprint = identify(pipeline, card)  # before off-loading moves weights to where they cannot be read
    quantization.apply(pipeline, card)
    _place(pipeline, card, device)
    pipeline.set_progress_bar_config(disable=True)
    model = DiffusersModel(pipeline, card, fingerprint)
    on_devices = _share_forwards(model, folder, options)
    _check_decoder(model)
    _check_schedule(model)
    _warn_of_promises(model)
    made_by = f"{fingerprint.revision} {fingerprint.latent_dtype}"
    model.text_cache = text_cache(options.text_cache, encoder=made_by, max_bytes=options.text_cache_bytes)
    model.ignores_donors = why_donors_are_ignored(model)
    model.engine = on_devices | compile_blocks(model, options) | _without_second_device(card, options) | left_out
    return model


def load_networks(card: ModelCard, folder: str, options: EngineOptions) -> list[Any]:
    """Return the networks that denoise as `load` makes them, for a process that computes only their forwards."""
    device = devices.choose(options.device)
    pipeline = read(card, folder, options, device, has_text=False)
    loras.add(pipeline, card, options.card_folder)
    quantization.apply(pipeline, card)
    _place(pipeline, card, device)
    return attention.transformers(pipeline)


def _share_forwards(model: DiffusersModel, folder: str, options: EngineOptions) -> dict[str, str]:
    """If the card asks for it, let other processes compute their parts of each forward, and try that once."""
    card = model.card
    if card.context_parallel == 1:
        return {}
    team = parallel.lead(model.pipeline, card, folder, options, model.device)
    weakref.finalize(model, team.end)
    with suppress(RequestError):  # the smallest has too few tokens for many devices
        _try(model, card.guidance_scale)
    if uneven := _uneven(model):
        logger.warning(
            "%s: %s will be refused: their tokens have no %d equal parts (context_parallel); take them out of the card",
            *(card.name, ", ".join(uneven), card.context_parallel),
        )
    return {"context parallel": f"on {card.context_parallel} devices, whose seconds count once"}


def _uneven(model: DiffusersModel) -> list[str]:
    """Return the sizes and lengths of a card that its devices cannot share evenly."""
    card, network = model.card, attention.transformers(model.pipeline)[0]
    found: list[str] = []
    for size, num_frames in product(card.sizes, card.frames):
        with suppress(RequestError):  # for a size that it cannot make at all
            if parallel.num_tokens(network, model.drawn(_request(card, size, num_frames))) % card.context_parallel:
                found.append(f"{size} x {num_frames}")
    return found


def _request(card: ModelCard, size: str, num_frames: int) -> GenerationParams:
    """Return a request for a video of this size and length, with an empty prompt."""
    return GenerationParams.of_card(card, "", size=sides(size), num_frames=num_frames)


def _warn_of_promises(model: DiffusersModel) -> None:
    """Warn of sizes and lengths of a card that its pipeline refuses, or silently makes differently."""
    card = model.card
    others = [(card.default_size, num_frames) for num_frames in card.frames[1:]]
    for size, num_frames in [*((size, card.default_frames) for size in card.sizes), *others]:
        try:
            made = _made(model, model.latent_shape(_request(card, size, num_frames)))
        except RequestError as error:
            logger.warning("%s; take it out of its card", error)
        else:
            if made not in (None, size):
                logger.warning("%s: size %s of its card comes out as %s; write that", card.name, size, made)
    stride = next((getattr(model.pipeline, name) for name in _STRIDES if hasattr(model.pipeline, name)), 1)
    if type(model.pipeline.vae).__name__ in _WITHOUT_FIRST_FRAME:
        return
    for num_frames in card.frames:
        if over := (num_frames - 1) % stride:
            near = f"{num_frames - over} or {num_frames - over + stride}"
            logger.warning(
                "%s: frames %d of its card come out as another number: one more than a multiple of %d; write %s",
                *(card.name, num_frames, stride, near),
            )


def _made(model: DiffusersModel, latents: tuple[int, int, int, int]) -> str | None:
    """Return the video size of latents, as a card writes it; None if the pipeline does not say."""
    pixels = next((getattr(model.pipeline, name) for name in _PIXELS if hasattr(model.pipeline, name)), None)
    return f"{latents[3] * pixels}x{latents[2] * pixels}" if isinstance(pixels, int) else None


def _check_decoder(model: DiffusersModel) -> None:
    """Raise ValueError if a pipeline passes latents unconverted to a decoder of another precision."""
    card = model.card
    if card.vae_dtype in (None, model.fingerprint.latent_dtype):
        return
    params, _ = _smallest(model, 1.0)
    try:
        model.decode(torch.zeros((1, *model.latent_shape(params))), params)
    except RuntimeError as error:
        if is_out_of_memory(error) or is_broken(error):
            raise
        kind = type(model.pipeline).__name__
        raise ValueError(
            f"{card.name}: vae_dtype {card.vae_dtype!r}: {kind} cannot decode in another precision than "
            f"{model.fingerprint.latent_dtype} ({first_line(error)}); leave it out"
        ) from error


def _check_schedule(model: DiffusersModel) -> None:
    """Raise ValueError if a card's steps or scheduler values make noise levels that do not fall."""
    card = model.card
    params = _request(card, card.default_size, card.default_frames)
    try:
        model.latent_shape(params)
    except RequestError:
        if card.scheduler:
            raise
        return  # with the source's own scheduler it is the size, of which `_warn_of_promises` warns
    for num_steps in (card.full_steps, card.fast_steps):
        levels = model.timesteps(params, Sampling(num_steps=num_steps, guidance_scale=card.guidance_scale))
        if not schedule.falls([*levels, 0.0]):
            said = ", ".join(f"{level:.4g}" for level in levels)
            given = f"scheduler {dict(card.scheduler)}: " if card.scheduler else ""
            way_out = "see the scheduler's page of diffusers for what its values may be" if given else "give more steps"
            raise ValueError(
                f"{card.name}: {given}the noise levels of {num_steps} steps do not fall from 1000 to 0 but are {said}; "
                f"{way_out}"
            )


def _without_second_device(card: ModelCard, options: EngineOptions) -> dict[str, str]:
    if options.second_device is None:
        return {}
    reason = "the pipelines of diffusers make the halves of guidance themselves"
    logger.warning("%s: second device is left off: %s", card.name, reason)
    return {"second device": f"off: {reason}"}


def compile_blocks(model: DiffusersModel, options: EngineOptions) -> dict[str, str]:
    """Compile the repeated blocks of the networks if the engine is asked to; return what became of it.

    A short run, guided and unguided, makes the code before the first job; what cannot be compiled runs uncompiled.
    """
    wanted = options.mode in ("compile", "graphs") or (options.mode == "auto" and model.device.type == "cuda")
    if not wanted:
        return {}
    card = model.card
    if card.context_parallel > 1:
        return {"compile": "off: blocks that exchange with other devices stay as they are"}
    if card.offload != "none" or card.quantization is not None:
        return {
            "compile": f"off: blocks with offload {card.offload} and quantization {card.quantization} stay as they are"
        }
    networks = attention.transformers(model.pipeline)
    try:
        for network in networks:
            network.compile_repeated_blocks(dynamic=True)
        for guidance_scale in {card.guidance_scale, 1.0}:
            _try(model, guidance_scale)
    except Exception as error:  # a compiler can fail in any way; the model runs without it
        reason = first_line(error)
        logger.warning("%s: compile is left off: %s", card.name, reason)
        for module in (part for network in networks for part in network.modules()):
            module._compiled_call_impl = None  # what `compile` set
        return {"compile": f"off: {reason}"}
    return {"compile": "on"}


def _try(model: DiffusersModel, guidance_scale: float) -> None:
    """Make the smallest video."""
    params, sampling = _smallest(model, guidance_scale)
    for _ in model.sample(model.encode(params), params, sampling, seed=0):
        pass


def _smallest(model: DiffusersModel, guidance_scale: float) -> tuple[GenerationParams, Sampling]:
    """Return the smallest request that runs every network."""
    params = _request(model.card, f"{_PROBE}x{_PROBE}", num_frames=1)
    num_steps = 8 if len(attention.transformers(model.pipeline)) > 1 else 2  # the second network has the late steps
    return params, Sampling(num_steps=num_steps, guidance_scale=guidance_scale)


def read(
    card: ModelCard, folder: str, options: EngineOptions, device: torch.device, *, has_text: bool = True
) -> Any:  # of diffusers
    """Return the pipeline as it was saved, in the precision of the card, with or without the parts that read text."""
    found = source.read(folder, pipeline=card.pipeline, revision=card.revision)
    kind: Any = source.check_pipeline(folder, found.pipeline)
    _check_call(card, kind)
    dtype = dtype_of(card, options, device)
    of_vae = dtype if card.vae_dtype is None else _dtype(card, "vae_dtype", card.vae_dtype)
    given = {"dtype": dtype, "revision": card.revision, "variant": card.variant, "use_safetensors": True}
    quantised = quantization.of_parts(card, found)
    extra = {"quantization_config": PipelineQuantizationConfig(quant_mapping=quantised)} if quantised else {}
    files = source.fetched(folder, kind, revision=card.revision, variant=card.variant)
    try:
        if has_text:
            whole = _text_encoders(files, found, given, others=quantised)
        else:
            whole = {name: None for name, (library, _) in found.parts.items() if library == "transformers"}
        of_parts = {"default": dtype, "vae": of_vae}
        pipeline = kind.from_pretrained(files, **given | {"dtype": of_parts}, **extra, **whole)
    except Exception as error:  # files that do not fit the libraries can fail in any way
        if isinstance(error, SourceError) or is_out_of_memory(error) or is_broken(error):
            raise
        way_out = "install what it lacks" if isinstance(error, ImportError) else _way_out(Path(files), card)
        raise SourceError(
            f"{folder} could not be loaded as {found.pipeline} ({first_line(error)}); {way_out}"
        ) from error
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            _refuse_gaps(folder, name, [key for key, tensor in part.state_dict().items() if tensor.is_meta])
    return pipeline


def _check_call(card: ModelCard, kind: Any) -> None:
    """Raise ValueError for arguments under `call` that would be dropped, would break, or are set elsewhere."""
    takes = inspect.signature(kind.__call__).parameters
    for name, value in card.call.items():
        if name in OF_THE_REQUEST:
            raise ValueError(f"{card.name}: call: {name!r} is for each request to say, or for its card's other fields")
        if name not in takes:
            free = ", ".join(known for known in takes if known not in (*OF_THE_REQUEST, "self"))
            raise ValueError(f"{card.name}: call: {name!r} is no argument of {kind.__name__}; there are {free}")
        wanted = inspect.formatannotation(takes[name].annotation)
        if isinstance(value, str) and not {"str", "inspect._empty"} & {*re.findall(r"[\w.]+", wanted)}:
            raise ValueError(f"{card.name}: call: {name} {value!r} is a text, and {kind.__name__} takes {wanted}")
    _check_own_steps(card)


def _check_own_steps(card: ModelCard) -> None:
    """Raise ValueError if a card lists its steps one by one and their number is not the one it states."""
    for name, count in own_steps(card).items():
        for field in ("full_steps", "fast_steps"):
            if (said := getattr(card, field)) != count:
                raise ValueError(f"{card.name}: call: {name} has {count} steps, and {field} is {said}; give the same")


def _text_encoders(
    folder: str, found: source.Source, given: Mapping[str, Any], *, others: Collection[str]
) -> dict[str, Any]:
    """Return the parts that transformers loads; it makes up missing weights at random and merely reports them.

    `others` are loaded elsewhere.
    """
    import transformers

    loaded: dict[str, Any] = {}
    for name, (library, kind) in found.parts.items():
        known = getattr(transformers, kind, None) if library == "transformers" else None
        if words := prompt_text.lacking(Path(folder) / name, known):
            raise SourceError(f"{folder}: {name} holds no words ({' or '.join(words)}); fetch or save it again")
        if name in others or not (isinstance(known, type) and issubclass(known, transformers.PreTrainedModel)):
            continue
        try:
            loaded[name], missing = _loaded(known, folder, name, given)
        except (OSError, RuntimeError, SafetensorError) as error:
            if is_out_of_memory(error) or is_broken(error):
                raise
            raise OSError(f"{name}: {error}") from error
        _refuse_gaps(folder, name, missing)
    return loaded


def _loaded(kind: Any, folder: str, name: str, given: Mapping[str, Any]) -> tuple[nn.Module, list[str]]:
    """Return a part and the names of its weights that no file has, not even under the name of a shared one."""
    try:
        part, info = kind.from_pretrained(folder, subfolder=name, output_loading_info=True, **given)
    except OSError:
        if given["variant"] is None:
            raise
        plain = {**given, "variant": None}  # not every part of a pipeline has files of the variant
        part, info = kind.from_pretrained(folder, subfolder=name, output_loading_info=True, **plain)
    tensors, missing = part.state_dict(), set(info["missing_keys"])
    there = {tensor.data_ptr() for key, tensor in tensors.items() if key not in missing}
    return part, [key for key in sorted(missing) if key in tensors and tensors[key].data_ptr() not in there]


def _refuse_gaps(folder: str, part: str, missing: Sequence[str]) -> None:
    if missing:
        raise SourceError(
            f"{folder}: the weights of {part} are not whole: {missing[0]} is missing, with {len(missing) - 1} others; "
            "fetch or save it again"
        )


def _way_out(folder: Path, card: ModelCard) -> str:
    """Return advice for weights that cannot be read: a file may be broken, or they may exist in another form."""
    found = sorted(folder.glob("*/*"))
    if (broken := next(filter(None, map(_refusal, found)), None)) is not None:
        return broken
    files = [path for path in found if path.suffix in (".safetensors", ".bin")]
    if files and card.variant and not any(f".{card.variant}" in path.name for path in files):
        return f'no file of weights has {card.variant!r} in its name: leave --variant out ("variant" in the card)'
    plain = {path.parent for path in files if path.name.count(".") == 1 and path.suffix == ".safetensors"}
    others = [path for path in files if path.parent not in plain]
    if variants := sorted({path.name.split(".")[1].split("-")[0] for path in others if path.name.count(".") == 2}):
        return f'there are files of {" and ".join(variants)}: give --variant {variants[0]} ("variant" in the card)'
    if others:
        return "pickled weights (.bin) are not read: rewrite the folder of each part with `chai model convert`"
    return "fetch or save it again"


def _refusal(path: Path) -> str | None:
    """Return what is wrong with a file of a pipeline, as far as its beginning and length show."""
    if not path.is_file():
        return None
    if (pointer := git_lfs.refusal(path)) is not None:
        return pointer
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                pass
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        return f"{path} is not whole ({error}); {source.again(path)}"
    return None


def dtype_of(card: ModelCard, options: EngineOptions, device: torch.device) -> torch.dtype:
    """Return the precision to run in: the card's, else the engine's, else bfloat16 on a GPU; raise ValueError."""
    named = card.dtype or (None if options.dtype == "auto" else options.dtype)
    if named is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return _dtype(card, "dtype", named)


def _dtype(card: ModelCard, field: str, named: str) -> torch.dtype:
    if named not in DTYPES:
        raise ValueError(f"{card.name}: {field} {named!r} is unknown; there are {', '.join(DTYPES)}")
    chosen: torch.dtype = getattr(torch, named)
    return chosen


def identify(pipeline: Any, card: ModelCard) -> Fingerprint:
    """Return all that shapes the latents: class, parts with LoRAs, scheduler, guider, precision, and card settings."""
    networks = attention.transformers(pipeline)
    chosen = {
        **pipeline.config,
        "pipeline": type(pipeline).__name__,
        "call": dict(card.call),
        "loras": [asdict(lora) for lora in card.loras],
        "quantization": card.quantization,
        "attention_backend": card.attention_backend,  # some multiply in 8 bits
    }
    dtype = networks[0].dtype if networks else pipeline.dtype
    return Fingerprint(revision=revision(pipeline.components, chosen), latent_dtype=str(dtype).split(".")[-1])


def _place(pipeline: Any, card: ModelCard, device: torch.device) -> None:
    if card.offload not in OFFLOADS:
        raise ValueError(f"{card.name}: offload {card.offload!r} is unknown; there are {', '.join(OFFLOADS)}")
    if card.offload == "none" or device.type == "cpu":
        pipeline.to(device)
    elif card.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif card.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")
    kind = type(pipeline.vae).__name__
    if card.vae_tiling or kind in _ONLY_TILED:
        if not hasattr(pipeline.vae, "enable_tiling"):
            raise ValueError(f"{card.name}: vae_tiling: {kind} cannot decode in pieces; leave it out")
        pipeline.vae.enable_tiling()
    if card.attention_backend is not None:
        _set_attention(pipeline, card, card.attention_backend)


def _set_attention(pipeline: Any, card: ModelCard, backend: str) -> None:
    for network in attention.transformers(pipeline):
        try:
            network.set_attention_backend(backend)
        except (ValueError, RuntimeError) as error:  # there is none of that name, or its package is not installed
            raise ValueError(f"{card.name}: attention_backend {backend!r}: {error}") from error


def why_donors_are_ignored(model: DiffusersModel) -> str | None:
    """Return a message if a donor does not change what the networks make; None if it does, or donors are not used.

    Runs the smallest video twice, with and without a donor: some ways to speed up a network silently read the run's own
    tokens, whatever they are given.
    """
    if attention.why_not(model.pipeline) is not None:
        return None
    if model.card.offload in ("group", "sequential"):
        return f"With offload: {model.card.offload} its blocks are in pieces, and none can be run on a donor first."
    params, sampling = _smallest(model, 1.0)
    try:
        encoding = model.encode(params)
        shape = model.latent_shape(params)
        donor = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1)).to(model.device)
        for step in (1, sampling.num_steps):
            way = CacheAttention(steps=(step,), source="clean", donors=(Donor(tensors={CLEAN: donor}),))
            runs = (list(model.sample(encoding, params, sampling, seed=0, hooks=hooks)) for hooks in ((), (way,)))
            alone, lent = (steps[-1].latents for steps in runs)
            if torch.equal(alone, lent):
                return _FUSED
    except ValueError as error:
        return f"Whether it reads donors could not be seen at {_PROBE}x{_PROBE} ({error})."
    return None
