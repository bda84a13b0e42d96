"""Reasons of decisions: set by the planner, counted in the database, and read by people."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Value, the sentence of a receipt and, for what uses no donor, the few words of a table."""

    sentence: str
    short: str

    def __new__(cls, value: str, sentence: str = "", short: str = "") -> Self:
        reason = str.__new__(cls, value)
        reason._value_, reason.sentence, reason.short = value, sentence, short
        return reason

    LAYOUT_HIT = (
        "layout_hit",
        "The layout comes from an earlier video of such things and motion; name a seed to get another.",
    )
    ENTITY_HIT = "entity_hit", "An earlier video shows part of this prompt."
    PROMPT_HIT = "prompt_hit", "An earlier prompt is like this one as a whole."
    HIT_TOO_WEAK = (
        "hit_too_weak",
        "An earlier video shows part of this prompt; measured, it is not alike enough.",
        "alike, but not enough",
    )
    PLAIN_IS_BETTER = (
        "plain_is_better",
        "An earlier video shows part of this prompt; measured, its use gains nothing.",
        "alike, but a donor gains nothing",
    )
    FULL_REQUESTED = "full_requested", "Full mode was asked for.", "full mode was asked for"
    FAST_REQUESTED_NO_HIT = (
        "fast_requested_no_hit",
        "Fast mode was asked for and nothing is shared: few steps without a donor.",
        "nothing shared, fast mode asked for",
    )
    EMPTY_CACHE = "empty_cache", "The cache holds nothing of this kind yet.", "nothing of the kind is stored"
    TOO_LITTLE = (
        "too_little",
        "What an earlier video shares with this prompt is too little of the picture.",
        "too little is shared",
    )
    RENEWAL = (
        "renewal",
        "The earlier videos with part of this prompt have lent often enough: this one is made afresh.",
        "the match has reached its reuse limit",
    )
    ONLY_RELATED = (
        "only_related",
        "What is stored is related to this prompt; none of it is the same thing.",
        "only related things are stored",
    )
    CONFLICT = (
        "conflict",
        "What is nearest, or what goes with it, has another colour, number, age or look, or is excluded.",
        "another colour, number, age or look",
    )
    NO_MATCH = "no_match", "Nothing stored is like a part of this prompt.", "nothing alike is stored"
    DONOR_UNUSABLE = (
        "donor_unusable",
        "The stored latents of the chosen video could not be used.",
        "the stored video could not be used",
    )
    NOT_ON_THIS_MODEL = (
        "not_on_this_model",
        "An earlier video shows what this prompt asks for, but this model cannot reuse it so.",
        "this model cannot reuse it",
    )
    NO_DONOR_PLANS = (
        "no_donor_plans",
        "An earlier video shows part of this prompt; the plans of this model use no donor.",
        "the plans of this model use no donor",
    )

    @property
    def is_hit(self) -> bool:
        """Whether the decision was to use a donor."""
        return self in (Reason.ENTITY_HIT, Reason.LAYOUT_HIT, Reason.PROMPT_HIT)

    @property
    def is_miss(self) -> bool:
        """Whether nothing stored was suitable, whatever the plans."""
        return self in (
            Reason.EMPTY_CACHE,
            Reason.NO_MATCH,
            Reason.ONLY_RELATED,
            Reason.CONFLICT,
            Reason.TOO_LITTLE,
            Reason.RENEWAL,
            Reason.HIT_TOO_WEAK,
        )


HITS = tuple(sorted(reason.value for reason in Reason if reason.is_hit))  # as rows name them
