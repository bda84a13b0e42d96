"""A thing that two prompts show and that looks otherwise in each: no donor, whatever else they share."""

import pytest

from shared.generation import Mode
from shared.reasons import Reason
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.planning import Plan, decide
from worker.cache.decisions.types import Neighbour
from worker.prompts.entities import extractor

extract = extractor("lexicon")


def asked(stored: str, prompt: str, settings: MatchSettings | None = None) -> Plan:
    """What a prompt runs where another is stored; equal entities alone are near."""
    extraction = extract(prompt)
    near = [
        Neighbour.of(entity, query=query, entry_id="donor", similarity=1.0, created=0.0)
        for query, ours in enumerate(extraction.entities)
        for entity in extract(stored).entities
        if entity.text == ours.text
    ]
    assert near
    return decide(Mode.AUTO, extraction, near, settings=settings)


@pytest.mark.parametrize(
    ("stored", "prompt"),
    [
        ("a red jeep crosses the desert", "a blue jeep crosses the desert"),
        ("a jeep that is red, in the desert", "the desert with a jeep painted blue"),
        ("a wooden chair on a beach", "a glass chair on a beach"),
        ("an old man walks through a forest", "a young man walks through a forest"),
        ("two dogs run on a beach", "three dogs run on a beach"),
        ("a red boat on a lake", "a blue ship on a lake"),  # synonyms
        ("a white dog beside a red jeep in the desert", "a white dog beside a blue jeep in the desert"),
        ("a red jeep and a green jeep in the desert", "a blue jeep and a yellow jeep in the desert"),
        ("la jeep rouge traverse le désert", "la jeep bleue traverse le désert"),
        ("un coche rojo cruza el desierto", "un coche azul cruza el desierto"),
        ("um carro vermelho atravessa o deserto", "um carro azul atravessa o deserto"),
        ("ein roter Jeep fährt durch die Wüste", "ein blauer Jeep fährt durch die Wüste"),
        ("красный джип едет по пустыне", "синий джип едет по пустыне"),
        ("赤いジープが砂漠を走る", "青いジープが砂漠を走る"),
        ("빨간 지프가 사막을 달린다", "파란 지프가 사막을 달린다"),
        ("一辆红色的吉普车穿过沙漠", "一辆蓝色的吉普车穿过沙漠"),
        ("一只黑猫在花园里", "一只白猫在花园里"),
        # an article counts, of persons too
        ("a fox in a forest", "ten foxes in a forest"),
        ("a very old fox in a forest", "a pack of old foxes in a forest"),
        ("a man on a pier", "two men on a pier"),
        ("un pájaro en un bosque", "diez pájaros en un bosque"),
        ("un oiseau dans une forêt", "quinze oiseaux dans une forêt"),
        ("um pássaro em uma floresta", "dez pássaros em uma floresta"),
        ("一只鸟在森林里", "一群鸟在森林里"),
        ("2条狗在草地上", "5条狗在草地上"),  # in digits
        ("птица в лесу", "десять птиц в лесу"),  # no article: the form says that it is one
        ("птица в лесу", "пять птиц в лесу"),
        # clothes of who is not told by them, parts whose colour shows
        ("a dancer in black on a stage", "a black dancer on a stage"),
        ("a woman with red hair smiles in a garden", "a woman with blond hair smiles in a garden"),
        ("a kitchen with yellow walls", "a kitchen with blue walls"),
        ("a monk in saffron on a bridge", "a monk in white on a bridge"),
        ("a closed umbrella on a beach", "an open umbrella on a beach"),
        ("the road is wet in the desert, a wet jeep", "a dry jeep in the desert"),
        # wherever a colour stands
        ("an owl as white as snow in a forest", "an owl as black as coal in a forest"),
        ("a jeep that's red in the desert", "a jeep that's blue in the desert"),
        ("the jeep is a deep crimson, the desert", "the jeep is a pale blue, the desert"),
        ("a jeep, its colour bright orange, in the desert", "a jeep, now grey, in the desert"),
    ],
)
def test_a_thing_that_looks_otherwise_is_no_donor_for_its_scene(stored: str, prompt: str) -> None:
    plan = asked(stored, prompt)

    assert (plan.donors, plan.reason) == ((), Reason.CONFLICT)
    assert asked(stored, prompt, MatchSettings(look_conflicts=False)).donors == ("donor",)


@pytest.mark.parametrize(
    ("stored", "prompt"),
    [
        ("a jeep crosses the desert", "a blue jeep crosses the desert"),  # what is not said contradicts nothing
        ("a red jeep crosses the desert", "the desert at noon"),
        ("a red jeep crosses the desert", "a camel crosses the desert"),
        ("a red jeep crosses the desert", "a blue camel crosses the desert"),
        ("a red jeep and a blue jeep in the desert", "a blue jeep in the desert"),
        ("a fast jeep crosses the desert", "a blue jeep crosses the desert"),
        ("a woman with blue eyes in a forest", "a woman with green eyes in a forest"),  # too small to be told apart
        ("a red jeep under a green palm in the desert", "a red jeep under a tall palm in the desert"),
        ("un chat noir dort dans un jardin", "un chien blanc dort dans un jardin"),
        ("一只黑猫在花园里", "一只白狗在花园里"),
        ("a fox in a forest", "foxes in a forest"),  # no number contradicts none
        ("the fox in a forest", "two foxes in a forest"),
        ("一片森林里的狐狸", "两片森林里的狐狸"),
    ],
)
def test_what_says_nothing_of_the_same_thing_still_lends(stored: str, prompt: str) -> None:
    assert asked(stored, prompt).donors == ("donor",)


def test_the_next_best_lends_in_its_place() -> None:
    extraction = extract("a blue jeep crosses the desert")
    near = [
        Neighbour.of(entity, query=1, entry_id=name, similarity=1.0, created=created)
        for name, stored, created in (("red", "a red jeep crosses the desert", 2.0), ("bare", "a desert at noon", 1.0))
        for entity in extract(stored).entities
        if entity.text == "desert"
    ]

    assert decide(Mode.AUTO, extraction, near).donors == ("bare",)


def test_a_namespace_without_vetoes_has_none_of_this() -> None:
    settings = MatchSettings.from_dict({"veto": "never"})

    assert asked("a red jeep crosses the desert", "a blue jeep crosses the desert", settings).donors == ("donor",)
