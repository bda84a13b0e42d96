import random
from pathlib import Path

import pytest

from shared.generation import Mode
from shared.reasons import Reason
from worker.cache.decisions.comparison import Verdict, compare
from worker.cache.decisions.conflicts import has_conflict
from worker.cache.decisions.match_settings import MatchSettings, Veto
from worker.cache.decisions.matching import Hit, look_up
from worker.cache.decisions.planning import decide
from worker.cache.decisions.types import HitKind, Neighbour
from worker.prompts.entities import extract
from worker.prompts.types import Entity, EntityKind, Extraction

PAIRS = [
    line.split("\t")
    for line in (Path(__file__).parents[2] / "data/phrase_pairs.tsv").read_text().splitlines()
    if not line.startswith("#")
]

DOG = Entity(text="brown dog", head="dog", attributes=("brown",))
BEACH = Entity(text="sandy beach", head="beach", attributes=("sandy",), kind=EntityKind.SCENE)
PROMPT = Extraction(entities=(DOG, BEACH))


def near(
    entry_id: str, query: int, similarity: float, *, created: float = 0.0, entity: Entity | None = None, uses: int = 0
) -> Neighbour:
    stored = entity or PROMPT.entities[query]
    return Neighbour(
        query=query,
        entry_id=entry_id,
        text=stored.text,
        head=stored.head,
        attributes=stored.attributes,
        kind=stored.kind,
        similarity=similarity,
        created=created,
        uses=uses,
    )


PUPPY = Entity(text="puppy", head="puppy")
SMALL_DOG = Entity(text="small dog", head="dog", attributes=("small",))
BLACK_DOG = Entity(text="black dog", head="dog", attributes=("black",))
PLAIN_DOG = Entity(text="dog", head="dog")
DOGS = Entity(text="brown dog", head="dog", attributes=("three", "brown"))


@pytest.mark.parametrize(
    ("stored", "similarity", "veto", "verdict"),
    [
        # similar enough, whatever the noun
        (PUPPY, 0.80, Veto.ALWAYS, Verdict.SAME),
        # just below, a noun that is known to name the same thing
        (PUPPY, 0.799, Veto.ALWAYS, Verdict.SAME_HEAD),
        # between the thresholds with the same noun
        (PLAIN_DOG, 0.70, Veto.ALWAYS, Verdict.SAME_HEAD),
        (PLAIN_DOG, 0.699, Veto.ALWAYS, Verdict.RELATED),
        # the same noun, described by something else
        (SMALL_DOG, 0.75, Veto.ALWAYS, Verdict.RELATED),
        # another colour
        (BLACK_DOG, 0.90, Veto.ALWAYS, Verdict.CONFLICT),
        (BLACK_DOG, 0.90, Veto.BETWEEN, Verdict.SAME),
        (BLACK_DOG, 0.75, Veto.BETWEEN, Verdict.CONFLICT),
        (BLACK_DOG, 0.85, Veto.NEVER, Verdict.SAME),
        # a count alone does not make another thing
        (DOGS, 1.0, Veto.ALWAYS, Verdict.SAME),
        # shown, not used
        (PUPPY, 0.55, Veto.ALWAYS, Verdict.RELATED),
        (PUPPY, 0.549, Veto.ALWAYS, Verdict.DIFFERENT),
    ],
)
def test_the_matching_rule(stored: Entity, similarity: float, veto: Veto, verdict: Verdict) -> None:
    assert compare(PROMPT, near("a", 0, similarity, entity=stored), MatchSettings(veto=veto)) is verdict


@pytest.mark.parametrize(
    ("ours", "theirs", "conflict"),
    [
        (("red",), ("blue",), True),
        (("red",), ("crimson",), False),  # synonyms
        (("red",), (), False),  # nothing said
        (("red", "white"), ("white",), False),  # one in common
        (("old",), ("young",), True),
        (("tiny",), ("huge",), True),
        (("striped",), ("checkered",), True),
        (("two",), ("five",), True),
        (("747",), ("380",), True),  # numbers of a kind
        (("15",), ("two",), True),
        (("1",), ("15",), True),
        (("15",), ("many",), False),
        (("red",), ("large",), False),  # different questions
    ],
)
def test_words_of_one_group_conflict_when_they_mean_different_things(
    ours: tuple[str, ...], theirs: tuple[str, ...], conflict: bool
) -> None:
    assert has_conflict(ours, theirs) is conflict
    assert has_conflict(theirs, ours) is conflict


def test_a_whole_prompt_matches_no_single_entity() -> None:
    prompt = Entity(text="dog", head="dog", kind=EntityKind.PROMPT)

    assert compare(PROMPT, near("a", 0, 1.0, entity=prompt), MatchSettings()) is Verdict.DIFFERENT


@pytest.mark.parametrize(("similarity", "verdict"), [(0.95, Verdict.SAME), (0.94, Verdict.DIFFERENT)])
def test_prompts_that_the_embedder_cannot_read_match_only_when_nearly_equal(
    similarity: float, verdict: Verdict
) -> None:
    prompt = extract("แมวเล่นเปียโน")

    assert compare(prompt, near("a", 0, similarity, entity=prompt.entities[0]), MatchSettings()) is verdict


def matches_in_pairs(settings: MatchSettings) -> dict[str, int]:
    """How many labelled pairs of phrases the rule calls the same, by what they are."""
    found = {"same": 0, "other": 0}
    for relation, ours, theirs, similarity in PAIRS:
        entities = [(extract(phrase).entities or (Entity(text=phrase, head=phrase),))[0] for phrase in (ours, theirs)]
        neighbour = near("a", 0, float(similarity), entity=entities[1])
        found[relation] += compare(Extraction(entities=(entities[0],)), neighbour, settings).is_match
    return found


def test_the_default_rule_joins_most_of_the_same_and_few_of_the_other_pairs() -> None:
    found = matches_in_pairs(MatchSettings())

    assert found["same"] >= 40  # of 60
    assert found["other"] <= 1  # of 82


def test_without_the_veto_many_wrong_pairs_match() -> None:
    assert matches_in_pairs(MatchSettings(veto=Veto.NEVER))["other"] >= 10


@pytest.mark.parametrize(
    ("neighbours", "kind", "donors"),
    [
        ([], HitKind.NONE, ()),
        ([near("a", 0, 0.5)], HitKind.NONE, ()),
        ([near("a", 0, 0.9)], HitKind.OBJECT, ("a",)),
        ([near("a", 1, 0.9)], HitKind.SCENE, ("a",)),
        ([near("a", 0, 0.9), near("a", 1, 0.9)], HitKind.BOTH, ("a",)),
        # one entry that covers both beats one that covers either better
        ([near("a", 0, 0.81), near("a", 1, 0.81), near("b", 0, 1.0)], HitKind.BOTH, ("a",)),
        # the more alike wins
        ([near("a", 0, 0.85), near("b", 0, 0.95)], HitKind.OBJECT, ("b",)),
        # equally alike: the younger
        ([near("a", 0, 0.9, created=1), near("b", 0, 0.9, created=2)], HitKind.OBJECT, ("b",)),
        # equally alike and old: the smaller id
        ([near("b", 0, 0.9), near("a", 0, 0.9)], HitKind.OBJECT, ("a",)),
    ],
)
def test_the_donor_that_covers_the_prompt_best_is_chosen(
    neighbours: list[Neighbour], kind: HitKind, donors: tuple[str, ...]
) -> None:
    hit = look_up(PROMPT, neighbours, MatchSettings())

    assert (hit.kind, hit.donors) == (kind, donors)


def test_weights_decide_between_scene_and_object() -> None:
    neighbours = [near("dog", 0, 0.9), near("beach", 1, 0.85)]

    assert look_up(PROMPT, neighbours, MatchSettings()).donors == ("dog",)
    assert look_up(PROMPT, neighbours, MatchSettings(scene_weight=2)).donors == ("beach",)


def test_a_second_donor_covers_what_the_first_does_not() -> None:
    neighbours = [near("dog", 0, 0.95), near("beach", 1, 0.9), near("other beach", 1, 0.85)]

    hit = look_up(PROMPT, neighbours, MatchSettings(max_donors=2, by_rarity=False))

    assert hit.donors == ("dog", "beach")
    assert hit.kind is HitKind.BOTH
    assert hit.coverage == pytest.approx((0.95 + 0.9) / 2)
    assert hit.candidates == ("dog", "beach", "other beach")


def test_a_scene_with_one_object_of_two_is_a_scene_hit() -> None:
    prompt = Extraction(entities=(DOG, Entity(text="kite", head="kite"), BEACH))

    hit = look_up(prompt, [near("a", 0, 0.9), near("a", 2, 0.9, entity=BEACH)], MatchSettings())

    assert hit.kind is HitKind.SCENE
    assert [match.text for match in hit.matched] == ["brown dog", "sandy beach"]


def test_a_hit_is_as_similar_as_its_weakest_match() -> None:
    hit = look_up(PROMPT, [near("a", 0, 0.82), near("a", 1, 0.95)], MatchSettings())

    assert hit.similarity == 0.82


def test_the_order_of_the_neighbours_does_not_matter() -> None:
    rng = random.Random(7)
    neighbours = [
        near(rng.choice("abcdef"), rng.randrange(2), rng.choice([0.6, 0.75, 0.8, 0.8, 0.9]), created=rng.randrange(3))
        for _ in range(40)
    ]
    created = {n.entry_id: n.created for n in neighbours}
    neighbours = [near(n.entry_id, n.query, n.similarity, created=created[n.entry_id]) for n in neighbours]
    settings = MatchSettings(max_donors=3)
    expected = look_up(PROMPT, neighbours, settings)

    for _ in range(50):
        rng.shuffle(neighbours)
        assert look_up(PROMPT, neighbours, settings) == expected


def test_an_empty_prompt_has_no_hit() -> None:
    assert look_up(Extraction(entities=()), [], MatchSettings()) == Hit(kind=HitKind.NONE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"same_threshold": 0.6},
            "thresholds must rise from 0 to 1 in the order related, head, same; got 0.55, 0.7, 0.6",
        ),
        ({"scene_weight": 0.0}, "scene_weight is 0.0; it must be a positive number"),
        ({"object_weight": float("nan")}, "object_weight is nan; it must be a positive number"),
        ({"foreign_threshold": 1.5}, "foreign_threshold is 1.5; it must lie between 0 and 1"),
        ({"max_donors": 0}, "max_donors is 0; it must be at least 1"),
        (
            {"neighbours_per_entity": 10**20},
            "neighbours_per_entity is 100000000000000000000; it must be at most 2147483647",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError) as error:
        MatchSettings(**values)  # type: ignore[arg-type]

    assert str(error.value) == message


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"^threshold is not a match setting; there are same_threshold, head_threshold, "
    ):
        MatchSettings.from_dict({"threshold": 0.8})


@pytest.mark.parametrize(
    ("others", "donors", "reason"),
    [
        pytest.param([near("fresh", 0, 0.9, uses=4)], ("fresh",), Reason.ENTITY_HIT, id="for another, if less alike"),
        pytest.param([], (), Reason.RENEWAL, id="for a full run, that leaves a fresh one"),
        pytest.param([near("worn too", 1, 1.0, uses=9)], (), Reason.RENEWAL, id="all are worn"),
    ],
)
def test_a_donor_that_lent_often_enough_is_passed_over(
    others: list[Neighbour], donors: tuple[str, ...], reason: Reason
) -> None:
    plan = decide(Mode.AUTO, PROMPT, [near("worn", 0, 1.0, uses=5), *others], settings=MatchSettings(max_uses=5))

    assert (plan.donors, plan.reason) == (donors, reason)


def test_without_a_bound_a_donor_lends_for_ever() -> None:
    plan = decide(Mode.AUTO, PROMPT, [near("old", 0, 1.0, uses=10_000)], settings=MatchSettings(max_uses=0))

    assert plan.donors == ("old",)


def test_a_worn_donor_that_would_be_no_hit_asks_for_no_fresh_one() -> None:
    near_by = [near("worn", 0, 0.75, entity=BLACK_DOG, uses=5)]

    assert decide(Mode.AUTO, PROMPT, near_by, settings=MatchSettings(max_uses=5)).reason is Reason.CONFLICT
