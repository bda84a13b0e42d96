"""The parameters of a video, from the API's check to the model: one immutable value."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self

from shared.model_cards import ModelCard, sides


class Mode(StrEnum):
    """What the caller asks for."""

    AUTO = "auto"  # fast if the cache has something to offer, else full
    FAST = "fast"  # the cheapest plan; without a hit, the best plain one with few steps
    FULL = "full"  # all steps, no reuse


class RunPath(StrEnum):
    """What a run does."""

    FULL = "full"  # all steps; the latents may enter the cache
    FAST = "fast"  # fewer steps, with or without a donor


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationParams:
    """A request checked against its model's card. None leaves a value to the model or the plan."""

    prompt: str
    model: str  # name of a card
    width: int  # pixels
    height: int  # pixels
    num_frames: int
    fps: int
    negative_prompt: str | None = None
    seed: int | None = None  # None: the worker's choice, maybe the donor's
    num_inference_steps: int | None = None  # None: the plan's
    guidance_scale: float | None = None  # None: the card's
    mode: Mode = Mode.AUTO

    @classmethod
    def of(cls, row: object) -> Self:
        """Read the parameters from anything that has them as attributes, such as a job's row."""
        values = {field.name: getattr(row, field.name) for field in fields(cls)}
        return cls(**values | {"mode": Mode(values["mode"] or Mode.AUTO)})

    @classmethod
    def of_card(
        cls,
        card: ModelCard,
        prompt: str,
        *,
        size: tuple[int, int] | None = None,
        num_frames: int | None = None,
        seed: int | None = None,
    ) -> Self:
        """Return a request with the card's own size (width, height; pixels) and length unless others are given."""
        width, height = size or sides(card.default_size)
        length = num_frames or card.default_frames
        return cls(
            prompt=prompt, model=card.name, width=width, height=height, num_frames=length, fps=card.fps, seed=seed
        )

    def guidance_on(self, card: ModelCard) -> float:
        """Return the guidance scale of the run."""
        return card.guidance_scale if self.guidance_scale is None else self.guidance_scale

    def is_canonical(self, card: ModelCard) -> bool:
        """Whether a full run would use the model's own settings: entries of a namespace must be of one kind."""
        has_own_steps = self.num_inference_steps in (None, card.full_steps)
        return has_own_steps and self.guidance_on(card) == card.guidance_scale and not self.negative_prompt
