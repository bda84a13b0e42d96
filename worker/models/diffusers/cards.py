"""A card from a pipeline's description of itself: its class, its configuration, and the defaults of its call."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.model_cards import SIDE_MULTIPLE, ModelCard
from worker.models.diffusers import schedule
from worker.models.diffusers.attention import PLACES, patch_side
from worker.models.diffusers.source import LENGTHS, Source, check_pipeline, json_file

_FPS = {  # frame rates that models were trained on, by pipeline class; no configuration has them
    "AllegroPipeline": 15,
    "AnimateDiffPipeline": 8,
    "AnimateDiffSDXLPipeline": 8,
    "CogVideoXPipeline": 8,
    "CosmosTextToWorldPipeline": 30,
    "EasyAnimatePipeline": 8,
    "HunyuanVideo15Pipeline": 24,
    "HunyuanVideoPipeline": 24,
    "Kandinsky5T2VPipeline": 24,
    "LTXPipeline": 24,
    "LattePipeline": 8,
    "MochiPipeline": 30,
    "MotifVideoPipeline": 24,
    "SanaVideoPipeline": 16,
    "SkyReelsV2Pipeline": 24,
    "WanPipeline": 16,
}
_SIDES = {  # sides must be multiples of these: for others, the pipelines raise or their networks break
    "CogVideoXPipeline": 16,
    "CosmosTextToWorldPipeline": 16,
    "EasyAnimatePipeline": 16,
    "HunyuanVideo15Pipeline": 16,
    "HunyuanVideoPipeline": 16,
    "Kandinsky5T2VPipeline": 16,
    "LTXPipeline": 32,
    "LattePipeline": 16,
    "MochiPipeline": 16,
    "MotifVideoPipeline": 16,
    "SanaVideoPipeline": 32,
    "SkyReelsV2Pipeline": 16,
    "WanPipeline": 16,
}
_STRIDES = {"LTXPipeline": 8, "MochiPipeline": 6}  # frames per latent frame; 4 for the others
_VAE_DTYPES = {"AutoencoderKLWan": "float32"}  # in which their makers decode, whatever their networks run in
_FEW_STEPS = 8  # so few leave little to skip, and donors are not used
_FAST_SHARE = 8 / 30  # of the steps of full mode, as in the paper


class Unknown(ValueError):
    """A value that no configuration has; `field` says which field of the card must be given."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a source says about its model."""

    source: Source
    takes: Mapping[str, inspect.Parameter]  # arguments of the pipeline's call
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of the parts that were asked for

    def default(self, name: str) -> Any:
        """Return the default of an argument; None if it has none."""
        found = self.takes.get(name)
        return None if found is None or found.default is inspect.Parameter.empty else found.default

    def config(self, part: str, name: str) -> Any:
        """Return a value of a part's configuration; None if there is none."""
        return self.configs.get(part, {}).get(name)


def look(source: Source, *, revision: str | None = None) -> Known:
    """Read the small files of a source: the configurations of its network, VAE and scheduler."""
    files = {"transformer": "config.json", "vae": "config.json", "scheduler": "scheduler_config.json"}
    configs = {
        part: json_file(source.name, f"{part}/{name}", revision=revision)
        for part, name in files.items()
        if part in source.parts
    }
    kind: Any = check_pipeline(source.name, source.pipeline)
    return Known(source=source, takes=inspect.signature(kind.__call__).parameters, configs=configs)


def propose(name: str, known: Known, given: Mapping[str, Any]) -> ModelCard:
    """Return a card with the given fields, and the others as the source says.

    Raises:
        Unknown: neither has a value for a field.
    """
    steps = given.get("full_steps") or known.default("num_inference_steps")
    if steps is None:
        raise Unknown("full_steps", f"{known.source.pipeline} has no usual number of steps; give --steps")
    guidance = given.get("guidance_scale")
    guidance = known.default("guidance_scale") if guidance is None else guidance
    if guidance is None:
        raise Unknown("guidance_scale", f"{known.source.pipeline} has no usual guidance; give --guidance (1 is none)")
    own = {
        "title": f"{known.source.pipeline} of {known.source.name}",
        "sizes": given.get("sizes") or _sizes(known),
        "fps": given.get("fps") or _fps(known),
        "frames": given.get("frames") or _frames(known),
        "side_multiple": _side_multiple(known),
        "fast_steps": steps if steps <= _FEW_STEPS else max(2, round(steps * _FAST_SHARE)),
        "vae_dtype": _VAE_DTYPES.get(known.source.parts.get("vae", ("", ""))[1]),
        "plans": _plans(known, steps, given.get("scheduler", {})),
    }
    values = own | {key: value for key, value in given.items() if value}
    values |= {"full_steps": steps, "guidance_scale": float(guidance)}
    values["max_steps"] = max(100, steps)
    return ModelCard(name=name, source=known.source.name, family="diffusers", **values)


def _side_multiple(known: Known) -> int:
    """Return what sides must be multiples of: pixels per latent times latents per token of the network.

    For other sizes, pipelines make a smaller video (Wan's 5B model, with a warning) or none (Allegro).
    """
    least = _SIDES.get(known.source.pipeline, SIDE_MULTIPLE)
    patch, pixels = patch_side(known.config("transformer", "patch_size")), _pixels_of_latent(known)
    return math.lcm(least, pixels * patch) if pixels and patch else least


def _pixels_of_latent(known: Known) -> int | None:
    """Return how many pixels of a side become one latent; None if no configuration says."""
    told = (known.config("vae", name) for name in ("scale_factor_spatial", "spatial_compression_ratio"))
    if (factor := next((one for one in told if isinstance(one, int)), None)) is not None:
        return factor
    blocks = known.config("vae", "block_out_channels")
    return 2 ** (len(blocks) - 1) if isinstance(blocks, list) and blocks else None


def _sizes(known: Known) -> tuple[str, ...]:
    width, height = known.default("width"), known.default("height")
    if width is None or height is None:  # CogVideoX has them in the network's configuration, in latents
        blocks = known.config("vae", "block_out_channels")
        grid = known.config("transformer", "sample_width"), known.config("transformer", "sample_height")
        if blocks is None or None in grid:
            raise Unknown("sizes", f"{known.source.pipeline} has no usual size; give --size WIDTHxHEIGHT")
        width, height = (side * 2 ** (len(blocks) - 1) for side in grid)
    return tuple(dict.fromkeys((f"{width}x{height}", f"{height}x{width}")))


def _frames(known: Known) -> tuple[int, ...]:
    usual = next((known.default(name) for name in LENGTHS if known.default(name) is not None), None)
    if usual is None:
        shape = known.config("transformer", "sample_frames")
        if shape is None:
            raise Unknown("frames", f"{known.source.pipeline} has no usual length; give --frames")
        usual = shape
    stride = _STRIDES.get(known.source.pipeline, 4)
    half = (usual // 2) // stride * stride + 1
    return (usual, half) if (usual - 1) % stride == 0 and half > 1 else (usual,)


def _fps(known: Known) -> int:
    name = known.source.pipeline
    if name not in _FPS:
        raise Unknown("fps", f"nothing says at how many frames a second {name} was trained; give --fps")
    return 24 if name == "WanPipeline" and known.config("vae", "z_dim") == 48 else _FPS[name]  # TI2V-5B


def _plans(known: Known, steps: int, wanted: Mapping[str, Any]) -> str:
    """Return the kind of plans to use until some are calibrated: with donors if the network or scheduler takes them."""
    if steps <= _FEW_STEPS:
        return "plain"
    if "transformer" in known.source.parts and known.source.parts["transformer"][1] in PLACES:
        return "paper"
    name = wanted.get("class") or known.source.parts.get("scheduler", ("", ""))[1]
    return "nirvana" if name in (*schedule.EXACT, *schedule.FORGETFUL) else "plain"
