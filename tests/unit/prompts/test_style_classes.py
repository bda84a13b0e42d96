"""Looks that exclude each other: medium, tone and mood, in every language that is read."""

from itertools import combinations

import pytest

from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.matching import look_up
from worker.cache.decisions.types import Neighbour
from worker.prompts import style_classes
from worker.prompts.entities import extract
from worker.prompts.types import STYLE

USE = MatchSettings.of_embedder("use-multilingual-v3", {})
WORDS = sorted(style_classes.CLASSES)
THINGS = ["fox", "forest"]


def looks(prompt: str) -> set[str]:
    """The classes of looks of a prompt, as each of its entities carries them."""
    return {mark.removeprefix(STYLE) for mark in extract(prompt).entities[0].context if mark.startswith(STYLE)}


def lends(donor: str, prompt: str) -> bool:
    """Whether a prompt that names the same things takes a donor."""
    found = extract(prompt)
    near = [
        Neighbour.of(entity, query=query, entry_id="donor", similarity=1.0, created=0.0)
        for query in range(len(found.entities))
        for entity in extract(donor).entities
    ]
    return bool(look_up(found, near, USE).donors)


@pytest.mark.parametrize("form", ["a fox in a forest, {}", "{}, a fox in a forest", "a fox in a forest, {} style"])
def test_every_word_of_a_class_is_style_by_itself_and_tells_its_class(form: str) -> None:
    read = {word: extract(form.format(word)) for word in WORDS}

    assert {word for word, found in read.items() if [entity.text for entity in found.entities] != THINGS} == set()
    assert {word for word in WORDS if style_classes.CLASSES[word] not in looks(form.format(word))} == set()


def test_classes_of_one_aspect_exclude_each_other_unless_one_is_the_other_in_general() -> None:
    names = sorted(set(style_classes.CLASSES.values()))
    media = [name for name in names if name.startswith(("drawn", "photo", "rendered"))]
    others = [("monochrome", "colour"), ("comedy", "horror")]

    for a, b in combinations(names, 2):
        is_kind = a.startswith(f"{b}/") or b.startswith(f"{a}/")
        is_one_aspect = {a, b} <= set(media) or (a, b) in others or (b, a) in others
        assert style_classes.exclude({a}, {b}) == style_classes.exclude({b}, {a}) == (is_one_aspect and not is_kind)
        assert not style_classes.exclude({a, b}, {a})


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("animated film", {"drawn"}),  # what is animated is filmed by nobody
        ("film", {"photo"}),
        ("3d animation", {"rendered"}),
        ("pixar movie", {"rendered"}),
        ("illustration, anime", {"drawn/flat/anime"}),
        ("photorealistic anime", {"drawn/flat/anime", "photo"}),
        ("b&w photo", {"monochrome", "photo"}),
        ("black and white horror film", {"monochrome", "horror", "photo"}),
    ],
)
def test_the_most_particular_and_the_surest_word_tells_the_class(style: str, expected: set[str]) -> None:
    assert looks(f"a fox in a forest, {style}") == expected


def test_a_look_of_a_thing_tells_the_medium_of_the_whole_but_not_its_tone() -> None:
    assert looks("a cartoon fox in a forest") == {"drawn/flat"}
    assert looks("a black and white fox in a forest") == set()


def test_a_colour_of_a_thing_makes_a_donor_without_colours_none() -> None:
    assert not lends("a lighthouse by the sea, black and white", "a lighthouse by a blue sea")
    assert lends("a lighthouse by the sea, black and white", "a lighthouse by a white sea")
    assert lends("a red kite over the sea, black and white", "a red kite over the sea")
    assert lends("a lighthouse by the sea, black and white", "a lighthouse by the sea")  # what is not said


@pytest.mark.parametrize(
    "prompts",
    [
        ["a forest, horror film", "a forest, ghibli", "a forest, claymation", "a forest, pixel art"],
        ["a forest, watercolour", "a forest, anime", "a forest, oil on canvas", "a forest, charcoal"],
        ["un bosque, película de terror", "un bosque, acuarela", "un bosque, dibujos animados", "un bosque, pixel"],
        ["une forêt, film d'horreur", "une forêt, aquarelle", "une forêt, dessin animé", "une forêt, croquis"],
        ["uma floresta, filme de terror", "uma floresta, aquarela", "uma floresta, desenho animado"],
        ["ein Wald, Horrorfilm", "ein Wald, Aquarell", "ein Wald, Zeichentrickfilm", "ein Wald, Knetanimation"],
        ["лес, фильм ужасов", "лес, акварель", "лес, аниме", "лес, пластилиновый мультфильм"],
        ["森、ホラー映画", "森、アニメ", "森、ドット絵", "森、クレイアニメ", "森、水墨画"],
        ["숲, 공포 영화", "숲, 수채화", "숲, 애니", "숲, 클레이애니메이션", "숲, 수묵화"],
        ["森林，恐怖电影", "森林，水彩画", "森林，动漫风格", "森林，黏土动画", "森林，像素风格"],
    ],
)
def test_prompts_of_one_thing_in_different_media_lend_each_other_nothing(prompts: list[str]) -> None:
    for one, other in combinations(prompts, 2):
        assert lends(one, one)
        assert not lends(one, other), (one, other)


@pytest.mark.parametrize(
    ("grey", "coloured"),
    [
        ("un perro en un parque, en blanco y negro", "un perro en un parque rojo"),
        ("un chien dans un parc, en noir et blanc", "un chien dans un parc rouge"),
        ("um cão num parque, em preto e branco", "um cão num parque vermelho"),
        ("ein Hund im Park, schwarz-weiß", "ein Hund im roten Park"),
        ("Schwarzweißfilm von einem Hund im Park", "ein Hund im roten Park"),
        ("чёрно-белый фильм, собака в парке", "собака в красном парке"),
        ("公園の犬、白黒映画", "赤い公園の犬"),
        ("공원의 개, 흑백 영화", "빨간 공원의 개"),
    ],
)
def test_tone_is_read_in_other_languages_and_of_two_colours_of_a_thing_nothing_follows(
    grey: str, coloured: str
) -> None:
    assert "monochrome" in looks(grey)
    assert "colour" in looks(coloured)
    assert not lends(grey, coloured)


@pytest.mark.parametrize(
    "prompt",
    [
        *("un gato blanco y negro en un parque", "una mujer con vestido en blanco y negro", "un chat noir et blanc"),
        *("um gato preto e branco", "ein schwarz-weißer Hund im Park", "чёрно-белая собака в парке", "公園の白黒の犬"),
    ],
)
def test_two_colours_of_a_thing_are_no_tone(prompt: str) -> None:
    assert looks(prompt) == set()
