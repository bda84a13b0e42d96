"""The decision: what a job runs, from which donors, and why.

A *recipe* says how to run (steps, schedule, reuse); a table of recipes says which one answers which *case*. Calibration
measures a table for a namespace; without one the paper's holds: 30 steps on a miss, 8 steps with Cache Attention at
steps 2, 3 and 4 on a hit.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

from shared.generation import Mode, RunPath
from shared.model_cards import PLANS
from shared.reasons import Reason
from worker.cache.decisions.comparison import Verdict
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import Hit, MatchedEntity, look_up
from worker.cache.decisions.types import HitKind, Neighbour
from worker.prompts.types import Extraction, Json

NEVER = 1.01  # a similarity that no hit reaches


class Case(StrEnum):
    """What a recipe answers: the kinds of hit, two cases that no look-up gives, and one that comes before the kind."""

    FULL = "full"  # full mode was asked for
    NONE = "none"  # nothing is shared, and no mode was asked for
    PLAIN_FAST = "plain_fast"  # fast mode was asked for and nothing is shared
    SCENE = "scene"
    OBJECT = "object"
    BOTH = "both"
    PROMPT = "prompt"
    LAYOUT = "layout"  # as many such things with the same motion: the donor's own trajectory may be entered


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to run: what the engine needs to know, in plain values."""

    path: RunPath
    num_steps: int
    schedule: Json = field(default_factory=dict)  # options of the engine's Schedule: unguided_steps, shift ...
    reuse: str | None = None  # name of the way of reuse
    reuse_options: Json = field(default_factory=dict)
    min_similarity: float = 0.0  # of the hit; a weaker hit looks for the next recipe of its case
    source: str = "paper"  # what chose it: paper, calibrated, nirvana, plain; or monitor, which raised min_similarity

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps is {self.num_steps}; it must be at least 1")
        if not 0 <= self.min_similarity <= 1 and self.min_similarity != NEVER:
            raise ValueError(f"min_similarity is {self.min_similarity}; it must lie between 0 and 1")

    @property
    def num_skipped_steps(self) -> int:
        """Steps skipped at the start: by a resumed run, else by the schedule."""
        skipped: int = self.schedule.get("skipped_steps", 0)
        return int(self.reuse_options.get("skipped_steps", skipped))

    @property
    def num_evaluated_steps(self) -> int:
        """Steps that the model runs."""
        return self.num_steps - self.num_skipped_steps

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The recipe that `to_dict` wrote; what is missing takes its default."""
        return cls(**{**row, "path": RunPath(row["path"])})

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {**{name: getattr(self, name) for name in _FIELDS}, "path": self.path.value}  # eight in every decision


_FIELDS = tuple(one.name for one in fields(Recipe))
Table = Mapping[Case, Sequence[Recipe]]

_CACHE_ATTENTION = Recipe(path=RunPath.FAST, num_steps=8, reuse="cache_attention", reuse_options={"steps": [2, 3, 4]})

PAPER: Table = {
    Case.FULL: (Recipe(path=RunPath.FULL, num_steps=30),),
    Case.NONE: (Recipe(path=RunPath.FULL, num_steps=30),),
    # Guidance in the first step spoils short runs, see docs/lab/reuse-small.md.
    Case.PLAIN_FAST: (Recipe(path=RunPath.FAST, num_steps=8, schedule={"unguided_steps": 1}),),
    Case.SCENE: (_CACHE_ATTENTION,),
    Case.OBJECT: (_CACHE_ATTENTION,),
    Case.BOTH: (_CACHE_ATTENTION,),
    Case.PROMPT: (_CACHE_ATTENTION,),
}


def _resume(min_similarity: float, skipped_steps: int) -> Recipe:
    return Recipe(
        path=RunPath.FAST,
        num_steps=30,
        reuse="resume",
        reuse_options={"skipped_steps": skipped_steps},
        min_similarity=min_similarity,
        source="nirvana",
    )


# NIRVANA skips 25, 20, 15, 10 or 5 of 50 steps by the similarity of whole prompts (arXiv 2312.04429), scaled to 30.
NIRVANA: Table = {
    **PAPER,
    Case.PROMPT: (_resume(0.95, 15), _resume(0.90, 12), _resume(0.85, 9), _resume(0.75, 6), _resume(0.65, 3)),
}
NIRVANA_MATCH = MatchSettings(same_threshold=0.65, head_threshold=0.65, related_threshold=0.55, min_coverage=0)

# No donor, whatever is found: for models with few steps, of which few can be saved.
PLAIN: Table = {
    case: (
        Recipe(
            path=RunPath.FAST if case is Case.PLAIN_FAST else RunPath.FULL,
            num_steps=8 if case is Case.PLAIN_FAST else 30,
            source="plain",
        ),
    )
    for case in Case
    if case is not Case.LAYOUT
}

TABLES: dict[str, Table] = {"paper": PAPER, "nirvana": NIRVANA, "plain": PLAIN}
MEASURED = "measured"  # the table that came with the model's card
NOT_OF_A_MODEL = ("paper", "plain")  # sources of recipes whose steps a card replaces


def named(plans: str) -> Table:
    """Return the table of a name; `measured` overrides cases of the paper's. Raises ValueError for an unknown name."""
    if plans not in PLANS:
        raise ValueError(f"there are no plans {plans!r}, but {', '.join(PLANS)}")
    return TABLES.get(plans, PAPER)


def table_from_rows(rows: Mapping[str, Sequence[Mapping[str, Any]]], *, default: Table = PAPER) -> Table:
    """A table from JSON: case → recipes. A case that is not named keeps its recipes from `default`.

    Raises ValueError if a name is not a case, or if a case that needs no hit has no recipe.
    """
    table = dict(default)
    for name, recipes in rows.items():
        if name not in list(Case):
            raise ValueError(f"{name} is not a case of a plan; there are {', '.join(Case)}")
        if not recipes and Case(name) in (Case.FULL, Case.NONE, Case.PLAIN_FAST):
            raise ValueError(f"the case {name} has no recipe; it needs one, since no look-up has to succeed for it")
        table[Case(name)] = tuple(Recipe.from_dict(row) for row in recipes)
    return table


def table_to_rows(table: Table) -> dict[str, list[Json]]:
    """Plain JSON of a table."""
    return {case.value: [recipe.to_dict() for recipe in recipes] for case, recipes in table.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job runs, and why."""

    recipe: Recipe
    full_num_steps: int  # steps of full mode, against which savings are counted
    reason: Reason
    hit: HitKind = HitKind.NONE
    matched: tuple[MatchedEntity, ...] = ()  # also set when the recipe uses no donor
    candidates: tuple[str, ...] = ()  # every entry that could have served, best first
    nearest: float | None = None  # highest similarity seen
    note: str = ""  # a sentence that explains the reason further

    @property
    def path(self) -> RunPath:
        """Full or fast."""
        return self.recipe.path

    @property
    def donors(self) -> tuple[str, ...]:
        """Entries to pin and read; none when the recipe reuses nothing."""
        if self.recipe.reuse is None:
            return ()
        return tuple(dict.fromkeys(match.entry_id for match in self.matched))

    @property
    def case(self) -> Case:
        """What the recipe of a hit answers."""
        return Case.LAYOUT if self.reason is Reason.LAYOUT_HIT else Case(self.hit.value)

    @property
    def similarity(self) -> float | None:
        """The weakest match that the plan rests on."""
        return min((match.similarity for match in self.matched), default=None)

    @property
    def steps_saved(self) -> int:
        """Denoising steps that full mode would have run in addition."""
        return self.full_num_steps - self.recipe.num_evaluated_steps

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The plan that `to_dict` wrote."""
        return cls(
            recipe=Recipe.from_dict(row["recipe"]),
            full_num_steps=row["full_num_steps"],
            reason=Reason(row["reason"]),
            hit=HitKind(row["hit"]),
            matched=tuple(MatchedEntity.from_dict(match) for match in row["matched"]),
            candidates=tuple(row["candidates"]),
            nearest=row["nearest"],
            note=row.get("note", ""),
        )

    def to_dict(self) -> Json:
        """Plain JSON."""
        return {
            "recipe": self.recipe.to_dict(),
            "full_num_steps": self.full_num_steps,
            "reason": self.reason.value,
            "hit": self.hit.value,
            "matched": [match.to_dict() for match in self.matched],
            "candidates": list(self.candidates),
            "nearest": self.nearest,
            **({"note": self.note} if self.note else {}),
        }


def decide(
    mode: Mode,
    extraction: Extraction,
    neighbours: Sequence[Neighbour],
    table: Table = PAPER,
    settings: MatchSettings | None = None,
    *,
    overlent: Collection[str] = (),
) -> Plan:
    """What a job of this mode runs, given the stored entities near those of its prompt.

    Depends on nothing but its arguments; the order of `neighbours` does not matter. `overlent` are entries whose layout
    has been lent often enough (`overlent_layouts`).
    """
    settings = settings or MatchSettings()
    hit = look_up(extraction, neighbours, settings)
    loose = replace(settings, look_conflicts=False)
    hit = with_layout(hit, table, lambda: look_up(extraction, neighbours, loose), overlent=overlent)
    return answer(mode, hit, table, overlent=overlent)


def with_layout(hit: Hit, table: Table, of_any_look: Callable[[], Hit], *, overlent: Collection[str] = ()) -> Hit:
    """The hit or, if it shares no layout, one on a donor that does and whose things may look different.

    A blue ball may go where a red one went, but only by a plan that was measured for layouts, on such pairs.
    """
    if hit.shares_layout or not table.get(Case.LAYOUT):
        return hit
    other = of_any_look()
    return hit if _for_layout(table, other, overlent) is None else other


def answer(mode: Mode, hit: Hit, table: Table = PAPER, *, overlent: Collection[str] = ()) -> Plan:
    """What a job of this mode runs on a hit or a miss, and why."""
    if mode is Mode.FULL:
        return _plan(table, Case.FULL, Reason.FULL_REQUESTED, hit)
    recipe = _for_layout(table, hit, overlent)
    if recipe is not None:
        return _build(table, recipe, Reason.LAYOUT_HIT, hit)
    recipe = _recipe_for(table, hit)
    if recipe is None:
        return _plan_without(mode, table, hit, _reason_for_miss(hit))
    if recipe.reuse is None:
        reason = Reason.NO_DONOR_PLANS if recipe.source == "plain" else Reason.PLAIN_IS_BETTER
    else:
        reason = Reason.PROMPT_HIT if hit.kind is HitKind.PROMPT else Reason.ENTITY_HIT
    if mode is Mode.FAST and recipe.path is RunPath.FULL:  # calibration may answer a hit with full mode; fast is fast
        return _plan(table, Case.PLAIN_FAST, reason, hit)
    return _build(table, recipe, reason, hit)


def without_donors(
    plan: Plan, mode: Mode, table: Table = PAPER, *, reason: Reason = Reason.DONOR_UNUSABLE, note: str = ""
) -> Plan:
    """The plan that takes over when no donor of `plan` can be used: never a failure, only a slower run."""
    hit = Hit(kind=HitKind.NONE, candidates=plan.candidates, nearest=plan.nearest)
    case = Case.PLAIN_FAST if mode is Mode.FAST else Case.NONE
    return replace(_plan(table, case, reason, hit), note=note)


def receipt(
    plan: Plan,
    *,
    own_donors: Mapping[str, str] | None = None,
    gpu_seconds_saved: float | None = None,
    unread: Sequence[str] = (),
) -> Json:
    """The `cache` block of a job in the API.

    `own_donors` maps entries of the job's own tenant to the videos that made them: only their words and ids are shown.
    Seconds saved are measured by the worker; null unless a donor shortened the run. `unread` are the words of the
    prompt that the model's text encoder does not receive: what they name is not in the video.
    """
    own = own_donors or {}
    used = plan.donors
    return {
        "path": plan.path.value,
        "reason": plan.reason.value,
        "explanation": f"{plan.reason.sentence} {plan.note}".strip(),
        "hit": plan.hit.value,
        "matched": [
            {
                "entity": match.text,
                "kind": match.kind.value,
                "similarity": round(match.similarity, 4),
                "donor_entity": match.donor_text if match.entry_id in own else None,
            }
            for match in plan.matched
        ],
        "similarity": None if plan.similarity is None else round(plan.similarity, 4),
        "donors": [own[entry_id] for entry_id in used if entry_id in own],
        "reuse": plan.recipe.reuse,
        "steps": plan.recipe.num_evaluated_steps,
        "layout": "donor" if plan.reason is Reason.LAYOUT_HIT else "own",
        "steps_saved": plan.steps_saved,
        "gpu_seconds_saved": gpu_seconds_saved,
        "unread": list(unread),
    }


def _for_layout(table: Table, hit: Hit, overlent: Collection[str]) -> Recipe | None:
    if not hit.shares_layout or hit.donors[0] in overlent:
        return None
    return _strongest(table.get(Case.LAYOUT, ()), hit)


def _recipe_for(table: Table, hit: Hit) -> Recipe | None:
    """The recipe with the highest threshold that the hit reaches; None if it reaches none."""
    if hit.similarity is None:
        return None
    return _strongest(table[Case(hit.kind.value)], hit)


def _strongest(recipes: Sequence[Recipe], hit: Hit) -> Recipe | None:
    met = [recipe for recipe in recipes if (hit.similarity or 0.0) >= recipe.min_similarity]
    return max(met, key=lambda recipe: recipe.min_similarity, default=None)


def overlent_layouts(
    entries: Collection[str], num_jobs: int, loans: Mapping[str, int], *, share: float
) -> frozenset[str]:
    """Return those of `entries` whose layout would be in more than `share` of the jobs if one more job took it.

    `loans` counts, among the latest `num_jobs` jobs of a namespace, those that took each entry's layout.
    """
    return frozenset(entry for entry in entries if loans.get(entry, 0) + 1 > share * (num_jobs + 1))


def _reason_for_miss(hit: Hit) -> Reason:
    if hit.matched:
        return Reason.HIT_TOO_WEAK
    if hit.is_worn:
        return Reason.RENEWAL
    if hit.is_too_little:
        return Reason.TOO_LITTLE
    if hit.nearest is None:
        return Reason.EMPTY_CACHE
    if hit.nearest_verdict is Verdict.CONFLICT:
        return Reason.CONFLICT
    return Reason.ONLY_RELATED if hit.nearest_verdict is Verdict.RELATED else Reason.NO_MATCH


def _plan_without(mode: Mode, table: Table, hit: Hit, reason: Reason) -> Plan:
    missed = Hit(kind=HitKind.NONE, candidates=hit.candidates, nearest=hit.nearest)
    if mode is Mode.FAST:
        return _plan(table, Case.PLAIN_FAST, Reason.FAST_REQUESTED_NO_HIT, missed)
    return _plan(table, Case.NONE, reason, missed)


def _plan(table: Table, case: Case, reason: Reason, hit: Hit) -> Plan:
    return _build(table, table[case][0], reason, hit)


def _build(table: Table, recipe: Recipe, reason: Reason, hit: Hit) -> Plan:
    return Plan(
        recipe=recipe,
        full_num_steps=table[Case.FULL][0].num_steps,
        reason=reason,
        hit=hit.kind,
        matched=hit.matched,
        candidates=hit.candidates,
        nearest=hit.nearest,
    )
