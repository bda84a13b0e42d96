"""Families of video models: how the model of a card is loaded. Imports no family before a card asks for it."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Literal

from shared.gc_pause import gc_paused
from shared.model_cards import ModelCard
from worker.models.video_model import VideoModel

EngineMode = Literal["auto", "off", "compile", "graphs"]
DtypeName = Literal["auto", "float32", "bfloat16"]
TextPlace = Literal["keep", "exact", "offload", "int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What to trade for speed or memory, in plain values; a family applies what it can."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    mode: EngineMode = "off"  # auto: compile on a GPU
    dtype: DtypeName = "auto"  # auto: bfloat16 on a GPU, as the files hold it elsewhere
    text: TextPlace = "keep"
    second_device: str | None = None  # cuda:1: computes half of each guided step
    text_cache: Path | None = None  # folder for what text encoders made of prompts
    text_cache_bytes: int = 2 << 30
    card_folder: Path | None = None  # where other files that the card names lie, such as LoRAs; set by `load`


Loader = Callable[[ModelCard, str, EngineOptions], VideoModel]

# transformers changes its own classes while it loads: of two loads at once, one may undo what the other still needs,
# and later loads of this process then leave weights out. So only one loads at a time.
LOADING = RLock()

FAMILIES: Mapping[str, str] = {  # name in a card → module whose `load` is a Loader
    "opensora": "worker.models.opensora.model",
    "diffusers": "worker.models.diffusers.loading",
}


def load(card: ModelCard, models_dir: Path, options: EngineOptions) -> VideoModel:
    """Load the model of a card: from a folder beside the card, or by a name that its family knows.

    Raises:
        ValueError: no family of that name.
        OSError: files are missing or broken; the message names them.
    """
    if card.family not in FAMILIES:
        raise ValueError(f"{card.name}: {card.family!r} is not a family of models; there are {', '.join(FAMILIES)}")
    folder = models_dir / card.name / card.source
    source = str(folder) if folder.is_dir() else card.source
    with LOADING:
        loader: Loader = _module(FAMILIES[card.family]).load
        return loader(card, source, replace(options, card_folder=models_dir / card.name))


def reader(card: ModelCard, models_dir: Path) -> Callable[[str], str] | None:
    """Return a function that gives the part of a prompt that the card's model reads; None if that needs its weights."""
    folder = models_dir / card.name / card.source
    if card.family != "opensora" or not (folder / "tokenizer").is_dir():
        return None
    reads: Callable[[str], str] = _module("worker.models.opensora.text").reader(folder)
    return reads


def limit_threads(num_threads: int) -> None:
    """Limit an operation on the CPU to this many threads."""
    _module("torch").set_num_threads(num_threads)


def _module(name: str) -> ModuleType:
    with gc_paused():
        return importlib.import_module(name)
