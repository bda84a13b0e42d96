"""What is compared: ways to run a prompt, as recipes of the service with a rule that chooses the donor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.generation import RunPath
from worker.cache.decisions.planning import Recipe


class Source(StrEnum):
    """The choice of the donor."""

    NOBODY = "nobody"
    FOUND = "found"  # the donor of the look-up; without a hit the variant does not run
    RANDOM = "random"  # any stored run but the found one: the control for the match
    NOISE = "noise"  # pure noise in place of the found donor's latents: the control for having a donor at all
    WHOLE_PROMPT = "whole_prompt"  # the nearest whole prompt, at the depth that its similarity allows (NIRVANA-VID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to run a prompt."""

    name: str
    recipe: Recipe
    source: Source = Source.NOBODY
    guidance_scale: float | None = None  # None = the model's own
    codebook: str | None = None  # of AdaCache: fast or slow

    @property
    def is_plain(self) -> bool:
        """Whether it is only a schedule: no donor, no reuse within the run."""
        return self.source is Source.NOBODY and self.codebook is None


def plain(num_steps: int, *, guidance_scale: float | None = None, **schedule: Any) -> Variant:
    """A schedule with this many steps; `schedule` are options of the engine's Schedule."""
    words = [f"{num_steps} steps", *(f"{key}={_short(value)}" for key, value in schedule.items())]
    if guidance_scale is not None:
        words.append(f"g={guidance_scale:g}")
    recipe = Recipe(path=RunPath.FAST, num_steps=num_steps, schedule=schedule, source="calibrated")
    return Variant(name=" ".join(words), recipe=recipe, guidance_scale=guidance_scale)


def reuse(label: str, base: Variant, way: str, options: dict[str, Any], source: Source = Source.FOUND) -> Variant:
    """The schedule of `base` with a way of reuse."""
    recipe = Recipe(
        path=RunPath.FAST,
        num_steps=base.recipe.num_steps,
        schedule=base.recipe.schedule,
        reuse=way,
        reuse_options=options,
        source="calibrated",
    )
    suffix = "" if source is Source.FOUND else f" ({source} donor)"
    name = f"{base.name} + {label}{suffix}"
    return Variant(name=name, recipe=recipe, source=source, guidance_scale=base.guidance_scale)


FULL = Variant(name="full", recipe=Recipe(path=RunPath.FULL, num_steps=30))

QUADRATIC: dict[str, Any] = {"spacing": "quadratic"}
PLAIN_STEPS = (1, 2, 3, 4, 6, 8, 15, 29)
TUNED_STEPS = (2, 3, 4, 5, 6, 8)
SEARCHED_STEPS = (2, 3, 4, 6, 8)


def schedules() -> list[Variant]:
    """The search for the best plain schedule at each number of steps: guidance by step, shift, spacing, scale."""
    found = []
    for n in SEARCHED_STEPS:
        found += [plain(n), plain(n, unguided_steps=1), plain(n, guidance_interval=(0.0, 0.9))]
        found += [plain(n, guidance_interval=(0.3, 1.0)), plain(n, spacing="quadratic")]
        found += [plain(n, shift=shift) for shift in (0.5, 2.0)]
        found += [plain(n, unguided_steps=1, shift=shift) for shift in (0.5, 2.0)]
        found += [plain(n, guidance_scale=scale) for scale in (1.5, 5.0)]
        found += [plain(n, guidance_scale=5.0, unguided_steps=1)]
    return found


def plain_controls(uniform: Sequence[int] = PLAIN_STEPS, tuned_steps: Sequence[int] = TUNED_STEPS) -> list[Variant]:
    """Plain schedules, by default of 1 to 29 evaluations.

    Uniform; with the first step unguided; with quadratic spacing, and that without guidance at low noise; and these two
    without the first step.
    """
    less_guided = QUADRATIC | {"guidance_interval": [0.6, 1.0]}
    skipping = {"skipped_steps": 1}
    tuned: tuple[dict[str, Any], ...] = (
        {"unguided_steps": 1},
        QUADRATIC,
        less_guided,
        QUADRATIC | skipping,
        less_guided | skipping,
    )
    return [plain(n) for n in uniform] + [plain(n, **options) for n in tuned_steps for options in tuned]


def within_controls() -> list[Variant]:
    """Reuse between the steps of one run, and of whole videos: the other methods known to help."""
    full = Recipe(path=RunPath.FAST, num_steps=30)
    return [
        Variant(name="AdaCache fast", recipe=full, codebook="fast"),
        Variant(name="AdaCache slow", recipe=full, codebook="slow"),
        Variant(name="NIRVANA-VID", recipe=full, source=Source.WHOLE_PROMPT),
    ]


def donor_controls(variants: Sequence[Variant]) -> list[Variant]:
    """Each variant with a random donor, and with noise in place of the donor."""
    return [
        Variant(
            name=f"{one.name} ({source} donor)",
            recipe=one.recipe,
            source=source,
            guidance_scale=one.guidance_scale,
        )
        for one in variants
        if one.source is Source.FOUND
        for source in (Source.RANDOM, Source.NOISE)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of reuse and its options, for any schedule."""

    label: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)

    def suits(self, base: Variant) -> bool:
        """Whether a schedule has a step left to run."""
        return bool(base.recipe.num_steps > self.options.get("skipped_steps", 0))

    def on(self, base: Variant) -> Variant:
        """This way with the schedule of `base`."""
        return reuse(self.label, base, self.method, self.options)


WAYS = {
    way.label: way
    for way in (
        Way(label="CA", method="cache_attention", options={"steps": [2, 3, 4]}),
        Way(label="CA clean", method="cache_attention", options={"steps": [2, 3, 4], "source": "clean"}),
        Way(
            label="CA extend clean",
            method="cache_attention",
            options={"steps": [2, 3, 4], "source": "clean", "keys": "extend"},
        ),
        Way(label="resume from 1", method="resume", options={"skipped_steps": 1}),
        Way(label="resume from 2", method="resume", options={"skipped_steps": 2}),
    )
}

PAPER_WAYS = (
    Way(label="CA same index", method="cache_attention", options={"steps": [2, 3, 4], "source": "same_index"}),
    Way(
        label="CA all blocks",
        method="cache_attention",
        options={"steps": [2, 3, 4], "source": "clean", "blocks": [0, 1, 2]},
    ),
    Way(
        label="CA from donor's noise",
        method="cache_attention",
        options={"steps": [2, 3, 4], "noise": "donor"},
    ),
)


def short_list() -> list[Variant]:
    """The variants that the search kept (docs/lab/reuse-small.md), each judged once more with its controls."""
    three, four, five = (plain(n, **QUADRATIC) for n in (3, 4, 5))
    return [*(WAYS["resume from 1"].on(base) for base in (three, four, five)), WAYS["CA"].on(three)]


def _short(value: object) -> str:
    return "-".join(f"{part:g}" for part in value) if isinstance(value, tuple | list) else str(value)
