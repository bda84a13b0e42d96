"""A hit means something: enough of the picture, nothing that contradicts, nothing that the embedder does not know."""

from dataclasses import replace

import pytest

from shared.generation import Mode
from shared.reasons import Reason
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import Hit, look_up
from worker.cache.decisions.planning import decide
from worker.cache.decisions.types import HitKind, Neighbour
from worker.prompts.entities import extract
from worker.prompts.types import Entity, Extraction

USE = MatchSettings.of_embedder("use-multilingual-v3", {})
NEWER = (
    *("min_coverage", "min_weight", "by_rarity", "style_conflicts", "heads_need_synonyms"),
    *("min_person_coverage", "other_noun_margin", "max_uses", "shared_description", "closer_donors"),
    "min_donor_share",
)


def stored(prompt: str, similarity: float = 1.0, name: str = "donor", created: float = 0.0) -> list[Neighbour]:
    """Every entity of a stored prompt, as near to every entity of any other as `similarity`, equal ones at 1."""
    return [
        Neighbour(
            query=query,
            entry_id=name,
            text=entity.text,
            head=entity.head,
            attributes=entity.stored_attributes,
            kind=entity.kind,
            similarity=similarity,
            created=created,
        )
        for query in range(24)
        for entity in extract(prompt).entities
    ]


def hit(prompt: str, donor: str, similarity: float = 0.9, settings: MatchSettings = USE) -> Hit:
    """What `prompt` takes of a donor whose entities of the same noun are this similar."""
    found = extract(prompt)
    near = [
        neighbour
        for neighbour in stored(donor, similarity)
        if neighbour.query < len(found.entities) and found.entities[neighbour.query].head == neighbour.head
    ]
    return look_up(found, near, settings)


@pytest.mark.parametrize(
    ("prompt", "donor"),
    [
        # what one shows the other excludes
        ("a parrot on a pier", "a pier without a parrot"),
        ("an empty pier, no people", "a woman on a pier"),
        # another colour, light, age, material, nature
        ("the zeppelin is blue", "the zeppelin is red"),
        ("a dark room with a piano", "a bright room with a lamp"),
        ("a wooden bridge", "a stone bridge"),
        ("a toy car", "a car"),
        ("a burning tower", "a tower"),
        ("a white-painted jeep", "a black-painted jeep"),
        ("a parrot with blue feathers", "a parrot with red feathers"),
        ("a van in yellow paint", "a van in black paint"),
        ("a brightly lit corridor", "a dimly lit corridor"),
        # a drawing for a photograph
        ("photograph of a fox", "anime, a fox"),
        ("a colorful tram", "black and white photo of a tram"),
        # another hour or season, people where none are to be
        ("a castle at night", "a castle at noon"),
        ("a blizzard over a village", "a village in summer"),
        ("夜晚的城堡", "白天的城堡"),
        ("un castillo de noche", "un castillo de día"),
        ("замок ночью", "замок днём"),
        ("ein Schloss bei Nacht", "ein Schloss am Tag"),
        ("밤의 성", "낮의 성"),
        ("a street without people", "a crowded street"),
        # another shade, number, age, state
        ("a burgundy coat", "a khaki coat"),
        ("a sky-blue kettle", "a dark-red kettle"),
        ("a man wearing black", "a man wearing yellow"),
        ("a pair of boots", "five boots"),
        ("a leather dress", "a velvet dress"),
        ("a wilted rose", "a blooming rose"),
        ("a statue of a horse", "a brown horse"),
        ("statues of two lions", "a lion"),
        ("a shadow of a wolf on a wall", "a wolf"),
        ("footprints of a bear in snow", "a bear"),
        ("the ghost of a pirate", "a pirate"),
        ("a costume of a bee", "a bee"),
        ("a poster of a wolf on a wall", "a wolf"),
        ("a doll of a witch", "a witch"),
        ("a wooden horse", "a horse"),  # an image of it
        ("a lion made of ice", "a lion"),
        ("a computer mouse", "a mouse"),
        ("a saddle", "a horse that has lost its saddle"),
        ("a bee on a rose", "a girl dressed as a bee"),
        ("一座大房子", "一座小房子"),
        ("拥挤的体育场", "空荡的体育场"),
        ("로봇 강아지", "큰 강아지"),
    ],
)
def test_prompts_that_exclude_each_other_do_not_lend(prompt: str, donor: str) -> None:
    assert hit(prompt, donor).kind is HitKind.NONE


@pytest.mark.parametrize("noun", ["hand", "expression", "person", "face", "smile", "friend", "corner", "panic"])
def test_what_carries_no_picture_is_no_hit_alone(noun: str) -> None:
    found = Extraction(entities=extract(f"a {noun} and a zeppelin").entities[:1])

    answer = look_up(found, stored(f"a {noun} and a walrus")[:1], USE)

    assert answer.donors == ()


@pytest.mark.parametrize(
    ("shared", "is_hit"),
    [pytest.param(1, False, id="a scene alone"), pytest.param(0, True, id="an object covers as much")],
)
def test_a_scene_alone_may_have_to_cover_more(shared: int, is_hit: bool) -> None:
    prompt = extract("a red fox in a forest")
    near = [Neighbour.of(prompt.entities[shared], query=shared, entry_id="e", similarity=1.0, created=0.0)]

    assert [entity.kind.value for entity in prompt.entities] == ["object", "scene"]
    assert bool(look_up(prompt, near, replace(USE, min_scene_coverage=0.6)).donors) is is_hit


def test_too_little_of_the_picture_is_no_hit_and_says_so() -> None:
    prompt = extract(
        "a fox, a tram, a kettle, a yak, a heron, a barge, a sundial, a tractor, a walrus, a piano, a globe"
    )
    near = [neighbour for neighbour in stored("a fox") if neighbour.query == 0]

    assert look_up(prompt, near, USE).is_too_little
    assert decide(Mode.AUTO, prompt, near, settings=USE).reason is Reason.TOO_LITTLE


def test_a_noun_described_more_closely_matches_and_one_that_names_another_thing_does_not() -> None:
    assert hit("a snowy jungle", "a jungle", 0.7).kind is HitKind.SCENE
    assert hit("a bonsai tree", "a tree", 0.7).kind is HitKind.NONE


@pytest.mark.parametrize(
    ("prompt", "donor", "is_hit"),
    [
        ("a dancer on a stage", "a theatre stage", True),
        ("a dancer on a theatre stage", "a stage", False),  # what a noun adds may be another thing: a bonsai tree
        ("a pine tree", "a hemlock tree", False),
        ("a blue stage", "a red theatre stage", False),
    ],
)
def test_a_donor_may_show_what_is_wanted_more_closely_than_the_prompt_says(
    prompt: str, donor: str, is_hit: bool
) -> None:
    assert bool(hit(prompt, donor, 0.72).donors) is is_hit
    assert not hit(prompt, donor, 0.69).donors  # below, a screen would take an led screen
    assert not hit(prompt, donor, 0.72, replace(USE, closer_donors=False)).donors


def test_of_equal_donors_the_one_with_more_of_the_same_prompt_wins() -> None:
    prompt = extract("a fox in a meadow with a tram")
    near = [n for n in stored("a fox on a tram", name="near", created=1) if n.query == 0 and n.text == "fox"]
    far = [n for n in stored("a fox with a walrus", name="far", created=2) if n.query == 0 and n.text == "fox"]

    assert look_up(prompt, [*far, *near], USE).donors == ("near",)


def test_unknown_words_match_equal_text_only() -> None:
    panda, car = (Entity(text=text, head=text) for text in ("熊猫", "汽车"))
    prompt = Extraction(entities=(panda,)).knowing([False])
    stored_car, stored_panda = (
        Neighbour(
            query=0,
            entry_id=entity.text,
            text=entity.text,
            head=entity.head,
            attributes=Extraction(entities=(entity,)).knowing([False]).entities[0].stored_attributes,
            kind=entity.kind,
            similarity=1.0,
            created=0.0,
        )
        for entity in (car, panda)
    )

    assert look_up(prompt, [stored_car], USE).donors == ()
    assert look_up(prompt, [stored_panda], USE).donors == ("熊猫",)


def test_an_embedder_without_measured_thresholds_matches_equal_texts_only() -> None:
    unmeasured = MatchSettings.of_embedder("somebody/else", {})

    assert hit("a fox", "a fox", 0.99, unmeasured).donors == ()
    assert hit("a fox", "a fox", 1.0, unmeasured).donors == ("donor",)


def test_own_thresholds_stand_above_those_of_the_embedder() -> None:
    assert MatchSettings.of_embedder("somebody/else", {"same_threshold": 0.7}).head_threshold == 0.7


def test_recorded_settings_without_the_newer_rules_mean_what_they_meant() -> None:
    old = {name: value for name, value in MatchSettings().to_dict().items() if name not in NEWER}

    settings = MatchSettings.recorded(old)

    assert (settings.min_coverage, settings.min_weight, settings.by_rarity) == (0.0, 0.0, False)
    assert MatchSettings.recorded(MatchSettings().to_dict()) == MatchSettings()


@pytest.mark.parametrize(
    ("prompt", "donor", "similarity", "is_hit"),
    [
        # another noun: far above "same", or a known synonym
        ("a harbour", "a lagoon", 0.82, False),
        ("a harbour", "a lagoon", 0.9, True),
        ("a sofa", "a couch", 0.81, True),
        ("a puppy", "a dog", 0.65, True),
        # words that contain each other, names that hardly anybody writes, short words
        ("a handshake and a yak", "a hand", 0.89, False),
        ("a willowbrook", "a brook", 0.9, False),
        ("an ufo", "an emu", 0.9, False),
        # the same noun made another kind by a noun before it
        ("a barbie doll", "a ken doll", 0.83, False),
        ("a black hole", "a hole", 0.62, False),
        ("a steering wheel", "a wheel", 0.77, False),
        ("a cross bag", "a bag", 0.75, False),
        # and merely described
        ("a dark forest", "an enchanted forest", 0.75, True),
        ("a dark forest", "an enchanted forest", 0.65, False),
    ],
)
def test_what_is_near_is_the_same_thing_only_by_its_noun(
    prompt: str, donor: str, similarity: float, is_hit: bool
) -> None:
    found = extract(prompt)
    near = [neighbour for neighbour in stored(donor, similarity) if neighbour.query == 0]

    assert bool(look_up(found, near, USE).donors) is is_hit


@pytest.mark.parametrize(
    ("donor", "is_hit"),
    [("a man on a tram", False), ("a young man on a tram", True), ("a youthful man on a tram", True)],
)
def test_a_description_that_only_one_prompt_gives_makes_nobody_more_alike(donor: str, is_hit: bool) -> None:
    prompt = extract("a young man in a harbour with a kettle, a yak and a sundial")
    near = [neighbour for neighbour in stored(donor, 0.9) if neighbour.query == 0 and neighbour.head == "man"]

    answer = look_up(prompt, near, replace(USE, min_person_coverage=0.5))

    assert (bool(answer.donors), answer.is_too_little) == (is_hit, not is_hit)
    assert look_up(prompt, near, replace(USE, min_person_coverage=0.5, shared_description=False)).donors


def test_somebody_alone_is_a_hit_only_where_nothing_else_is_asked_for() -> None:
    near = [
        neighbour for neighbour in stored("a woman on a tram") if neighbour.query == 0 and neighbour.text == "woman"
    ]

    assert look_up(extract("a woman"), near, USE).donors == ("donor",)
    assert look_up(extract("a woman with a kettle"), near, USE).is_too_little
    assert look_up(extract("a woman with a kettle"), near, replace(USE, min_person_coverage=0.11)).donors


@pytest.mark.parametrize(
    ("donor", "is_hit"),
    [
        ("a book on a desk", True),
        ("a book on a desk in a study with a lamp and a globe", True),  # a fifth of what it shows
        ("a book on a desk in a study with a lamp, a globe and a clock", False),
        ("a book, a man, a woman and a boy with hands and faces", True),  # persons and hands are little of a picture
    ],
)
def test_what_is_a_side_matter_of_the_donor_is_no_hit(donor: str, is_hit: bool) -> None:
    answer = hit("a cat reads a book", donor)

    assert (bool(answer.donors), answer.is_too_little) == (is_hit, not is_hit)
    assert hit("a cat reads a book", donor, settings=replace(USE, min_donor_share=0.0)).donors


@pytest.mark.parametrize(
    ("skin", "dress", "other"),
    [
        ("a black man", "a man in black", "a man wearing white"),
        ("white women", "women dressed in white", "women who are in red"),
        ("a black businessman", "a businessman clad in black", "a businessman in blue"),
        ("un hombre negro", "un hombre de negro", "un hombre de blanco"),
        ("un homme noir", "un homme en noir", "un homme en rouge"),
        ("um homem preto", "um homem de preto", "um homem de branco"),
        ("eine schwarze Frau", "eine Frau in Schwarz", "eine Frau in Rot"),
        ("чёрный человек", "человек в чёрном", "человек в белом"),
    ],
)
def test_the_colour_that_somebody_wears_is_not_that_of_the_skin(skin: str, dress: str, other: str) -> None:
    assert hit(dress, dress).donors
    for prompt, donor in ((dress, skin), (skin, dress), (dress, other)):
        assert hit(prompt, donor).donors == (), (prompt, donor)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a man in black walks", ["black-clad man"]),
        ("a man, dressed entirely in black, runs", ["black-clad man"]),
        ("a man wearing all black", ["black-clad man"]),
        ("a man in black armor", ["man", "black armor"]),
        ("a man in red and black clothes", ["man", "red and black clothes"]),
        ("a woman dressed in black leather", ["woman", "black leather"]),
        ("a woman painted red", ["red woman"]),
        ("a nun in white", ["white nun"]),
    ],
)
def test_only_a_colour_worn_by_somebody_and_nothing_else_is_the_dress(prompt: str, expected: list[str]) -> None:
    assert [entity.text for entity in extract(prompt).entities] == expected
