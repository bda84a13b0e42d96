"""Prompts in other languages: the thing with its attributes, the place that it is in, what is not seen."""

import json
import marshal
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from extraction import read

from lab.experiments.entities import crossed_figures
from worker.cache.decisions.comparison import compare
from worker.cache.decisions.match_settings import MatchSettings
from worker.cache.decisions.types import Neighbour
from worker.models.embedders import load_embedder
from worker.prompts.english import lexicon as english_lexicon
from worker.prompts.entities import extract
from worker.prompts.readers import chinese, russian
from worker.prompts.types import Extraction

ROWS = [
    json.loads(line) for line in (Path(__file__).parents[2] / "data/other_languages.jsonl").read_text().splitlines()
]
LANGUAGES = ("es", "fr", "pt", "de", "ru", "ja", "ko", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_prompts_of_a_language_are_taken_apart(language: str) -> None:
    rows = [row for row in ROWS if row["language"] == language]
    usual = {"excluded": [], "style": []}

    assert {row["prompt"]: read(row["prompt"]) for row in rows} == {
        row["prompt"]: usual | {name: row[name] for name in row if name != "prompt"} for row in rows
    }


@pytest.mark.parametrize(
    "prompt",
    [
        "un (zorro:1.3) rojo <lora:pelaje:0.8> --ar 16:9",
        "un ((renard)) rouge <lora:poil:0.8> --ar 16:9",
        "uma (raposa:1.2) vermelha <lora:pelo:0.8> --ar 16:9",
        "ein roter (Fuchs:1.3) <lora:fell:0.8> --ar 16:9",
        "красный (лис:1.3) <lora:fur:0.8> --ar 16:9",
        "赤い(狐:1.3)<lora:fur:0.8> --ar 16:9",
        "빨간 (여우:1.3) <lora:fur:0.8> --ar 16:9",
    ],
)
def test_weights_tags_and_parameters_are_no_part_of_a_phrase(prompt: str) -> None:
    (fox,) = extract(prompt).entities

    assert (fox.head, fox.attributes) == ("fox", ("red",))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("un dragón rojo", "un dragón azul"),
        ("un grand dragon", "un petit dragon"),
        ("ein roter Drache", "ein blauer Drache"),
        ("um rei", "uma rainha"),
        ("un joven camina", "un anciano camina"),
        ("une gare bondée", "une gare vide de Lille"),
        ("白いカモメ", "黒いカモメ"),
        ("两个穿汉服的女孩", "三个穿汉服的女孩"),
        ("小熊猫在吃竹子", "大熊猫在吃竹子"),
        ("красный дракон", "синий дракон"),
        ("赤い竜", "青い竜"),
        ("빨간 용", "파란 용"),
        ("un dragon rouge", "a blue dragon"),
    ],
)
def test_colours_sizes_and_kinds_exclude_each_other_in_and_across_languages(one: str, other: str) -> None:
    assert verdict(one, other, similarity=0.95) in ("conflict", "different")


@pytest.mark.parametrize(
    ("one", "other", "is_match"),
    [
        ("un chat rouge", "a red cat", True),
        ("рыжий кот", "un gato naranja", True),
        ("un lit", "a lit", False),  # a bed
        ("un chat", "a chat", False),
        ("ein Rock", "a rock", False),  # a skirt
        ("un zepelín", "a zeppelin", False),  # its English word is not known
    ],
)
def test_across_languages_the_same_english_noun_matches_and_not_what_is_spelled_alike(
    one: str, other: str, is_match: bool
) -> None:
    assert (verdict(one, other, similarity=0.99) in ("same", "same_head")) is is_match


@pytest.mark.parametrize(("similarity", "is_match"), [(0.81, False), (0.9, True)])
def test_nouns_that_share_a_character_are_one_thing_only_far_above_the_threshold(
    similarity: float, is_match: bool
) -> None:
    assert (verdict("风筝", "风车", similarity=similarity) == "same") is is_match


@pytest.mark.parametrize(("prompt", "language"), [("自転車", "ja"), ("桜並木", "ja"), ("熊猫", "zh"), ("自行车", "zh")])
def test_ideographs_alone_are_japanese_where_no_chinese_has_them(prompt: str, language: str) -> None:
    assert extract(prompt).language == language


def verdict(one: str, other: str, *, similarity: float) -> str:
    """How the first thing of a prompt compares with that of another."""
    ours, theirs = extract(one).entities[0], extract(other).entities[0]
    near = Neighbour.of(theirs, query=0, entry_id="donor", similarity=similarity, created=0.0)
    settings = MatchSettings.of_embedder("use-multilingual-v3", {})
    return compare(Extraction(entities=(ours,)), near, settings).value


def test_things_match_across_languages_and_others_do_not() -> None:
    embedder = load_embedder()

    figures = crossed_figures(embedder, MatchSettings.of_embedder(embedder.name, {}), num_things=3)

    assert figures.keys() == set(LANGUAGES)
    assert {name: row["other hits"] for name, row in figures.items()} == dict.fromkeys(LANGUAGES, 0)
    assert all(row["same hits"] >= 0.6 * row["same"] for row in figures.values())


def test_a_negative_prompt_in_another_language_excludes_as_well() -> None:
    assert [entity.text for entity in extract("a quiet harbour", negative="personas, coches rojos").excluded] == [
        "persona",
        "coche rojo",
    ]


@pytest.mark.parametrize(
    ("prompt", "given", "entities", "unread"),
    [
        ("un gato negro y un perro", "un gato negro y", ["gato negro"], ("un", "perro")),
        ("рыжий кот, белый пёс", "рыжий кот", ["рыжий кот"], ("белый", "пёс")),
        ("赤い猫と白い犬", "赤い猫と", ["赤い猫"], ("白", "い", "犬")),
    ],
)
def test_what_the_encoder_does_not_get_is_no_entity_in_any_language(
    prompt: str, given: str, entities: list[str], unread: tuple[str, ...]
) -> None:
    found = extract(prompt, reads=lambda _: given)

    assert [entity.text for entity in found.entities] == entities
    assert found.unread == unread


@pytest.mark.parametrize("load", [english_lexicon.parser, chinese._tagger, russian._analyzer])
def test_a_dictionary_is_loaded_without_changing_what_other_threads_are_warned_of(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs may load one each at once: whoever leaves `catch_warnings` last brings the other's filters back."""
    monkeypatch.setattr(warnings, "catch_warnings", None)
    load.__wrapped__()
    assert not [rule for rule in warnings.filters if rule[0] == "ignore" and rule[2] is Warning and rule[3] is None]


READ_CHINESE = """
import sys
from worker.prompts.entities import extract
print([entity.text for entity in extract(sys.argv[1]).entities])
"""


def test_a_dictionary_that_somebody_left_in_the_temp_folder_is_not_read(tmp_path: Path) -> None:
    prompt = "一只红色的猫在沙滩上奔跑"
    words = {prompt[2:length]: 10**9 for length in range(3, 9)}  # 红 to 红色的猫在沙
    (tmp_path / "jieba.cache").write_bytes(marshal.dumps((words, 10**10)))
    planted = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    said = subprocess.run(
        [sys.executable, "-c", READ_CHINESE, prompt], env=planted, capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == str([entity.text for entity in extract(prompt).entities]) == "['红色猫', '沙滩']"
    assert said.stderr == ""


def test_the_lexicon_is_loaded_without_what_it_can_do_without() -> None:
    """NLTK imports SciPy and scikit-learn where they are: 1.5 s of every worker's start."""
    code = """
import sys
from importlib.util import find_spec
from worker.prompts.english.lexicon import is_in_lexicon
print(is_in_lexicon("fox"), [name for name in ("scipy", "sklearn") if name in sys.modules], bool(find_spec("scipy")))
"""

    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert told == "True [] True\n"


def test_a_name_that_begins_with_a_colour_is_not_coloured() -> None:
    palace = next(entity for entity in extract("一条金色的龙盘旋在紫禁城上空").entities if entity.text == "紫禁城")

    assert palace.attributes == ()


def found(prompt: str) -> dict[str, str]:
    """What is seen in a prompt, each with its kind, and what must not be."""
    reading = extract(prompt)
    seen = {entity.text: entity.kind.value for entity in reading.entities}
    return seen | {entity.text: "excluded" for entity in reading.excluded}


@pytest.mark.parametrize(
    ("prompt", "kinds"),
    [
        ("una ballena nada bajo el agua", {"ballena": "object", "agua": "scene"}),
        ("un cangrejo camina sobre el hielo", {"cangrejo": "object", "hielo": "scene"}),
        ("une baleine nage sous l'eau", {"baleine": "object", "eau": "scene"}),
        ("uma baleia nada debaixo d'água", {"baleia": "object", "água": "scene"}),
        ("ein Wal schwimmt unter Wasser", {"wal": "object", "wasser": "scene"}),
        ("кит плывёт под водой", {"кит": "object", "вода": "scene"}),
        ("лиса бежит по льду", {"лиса": "object", "лёд": "scene"}),
        ("una bicicleta por Cuzco", {"bicicleta": "object", "cuzco": "scene"}),
        ("砂漠を歩く象", {"砂漠": "scene", "象": "object"}),
        ("路地を歩く犬", {"路地": "scene", "犬": "object"}),
    ],
)
def test_where_a_thing_moves_along_is_a_place(prompt: str, kinds: dict[str, str]) -> None:
    assert found(prompt) == kinds


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        ("雪の札幌を歩く", "札幌"),  # names on the map are the dictionary's
        ("朝霧の原生林", "原生林"),
        ("자작나무숲을 달리는 늑대", "자작나무숲"),
        ("ein Hund vor dem Magdeburger Dom", "magdeburger dom"),
        ("Hamburger Hafen bei Nacht", "hamburger hafen"),
        ("un chat à Lille", "lille"),
        ("大理的梯田", "大理"),
        ("晨雾笼罩的书房", "晨雾"),
    ],
)
def test_a_place_is_known_by_its_name_or_by_what_it_ends_in(prompt: str, place: str) -> None:
    assert found(prompt)[place] == "scene"


@pytest.mark.parametrize(
    ("prompt", "excluded"),
    [
        ("una plaza vacía de Cuzco", []),
        ("une rue vide de Lille", []),
        ("uma praça vazia de Coimbra", []),
        ("una plaza vacía de gente", ["gente"]),
        ("une rue vide de voitures", ["voiture"]),
        ("uma praça vazia de neve", ["neve"]),
    ],
)
def test_what_is_empty_of_a_place_stands_there(prompt: str, excluded: list[str]) -> None:
    assert [entity.text for entity in extract(prompt).excluded] == excluded


@pytest.mark.parametrize(
    ("prompt", "excluded"),
    [
        ("池の鯉、人物や建物はなし", ["人物", "建物"]),
        ("연못의 잉어, 사람과 건물 없음", ["사람", "건물"]),
        ("猫と犬のいる庭", []),
    ],
)
def test_a_list_of_what_is_not_there_is_excluded_to_its_first(prompt: str, excluded: list[str]) -> None:
    assert [entity.text for entity in extract(prompt).excluded] == excluded


@pytest.mark.parametrize(
    ("prompt", "things"),
    [
        ("un tren que chirría en el túnel", ["tren", "túnel"]),
        ("una panadera que amasa pan", ["panadera", "pan"]),
        ("une femme qui pétrit du pain", ["femme", "pain"]),
        ("una niña montada en un caballo", ["niña", "caballo"]),
        ("uma menina montada num cavalo", ["menina", "cavalo"]),
        ("une fille montée sur un cheval", ["fille", "cheval"]),
        ("灯笼倒映在水洼里", ["灯笼", "水洼"]),
        ("人群熙熙攘攘", ["人群"]),
        ("屋顶上长满青苔", ["屋顶", "青苔"]),
        ("눈을 가진 여우", ["눈", "여우"]),
        ("un cycliste dévale une pente", ["cycliste", "pente"]),
        ("une souris poursuit deux chats", ["souris", "chat"]),
        ("une grand-mère et une fille pêchent", ["grand-mère", "fille"]),
        ("une fille apprend à broder près d'un feu", ["fille", "feu"]),
        ("anciano que pesca", ["anciano"]),
        ("先生が会議をしている", ["先生"]),
        ("椅子が二脚", ["椅子"]),
        ("翡翠色的蜂鸟", ["翡翠色蜂鸟"]),
        ("孩子们排着队", ["孩子"]),
        ("le vent soulève un rideau", ["vent", "rideau"]),
        ("le serveur nettoie le four", ["serveur", "four"]),
        ("a moça limpa o forno", ["moça", "forno"]),
        ("비단잉어 두 마리", ["비단잉어"]),
        ("浴缸里的橡皮鸭，手捧玫瑰的女子", ["浴缸", "橡皮鸭", "玫瑰", "女子"]),
        ("Apokalyptische Stadt, ein Hund", ["apokalyptische stadt", "hund"]),
    ],
)
def test_what_somebody_does_is_no_thing(prompt: str, things: list[str]) -> None:
    assert [entity.text for entity in extract(prompt).entities] == things


@pytest.mark.parametrize(
    ("prompt", "thing", "count"),
    [
        ("两个戴着红色的帽子的男孩", "男孩", "两"),
        ("三只穿毛衣的猫在沙发上睡觉", "猫", "三"),
        ("一对老夫妻在公园散步", "老夫妻", "两"),
        ("三个人在跑步", "人", "三"),
    ],
)
def test_a_count_is_its_things_over_what_is_said_of_them(prompt: str, thing: str, count: str) -> None:
    counted = next(entity for entity in extract(prompt).entities if entity.text == thing)

    assert count in counted.attributes


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [("小熊猫在竹林里弹吉他", "object"), ("катается на коньках", "object"), ("смотрит на глобус", "object")],
)
def test_what_is_played_ridden_or_looked_at_is_no_place(prompt: str, kind: str) -> None:
    assert extract(prompt).entities[-1].kind == kind


def test_a_look_by_itself_is_the_thing_of_that_name() -> None:
    assert list(found("arroz e laranja num prato")) == ["arroz", "laranja", "prato"]
    assert list(found("un coche rojo y naranja")) == ["coche rojo y naranja"]


@pytest.mark.parametrize(
    ("prompt", "style"),
    [
        ("un gato, punto de vista en primera persona", ["punto de vista", "primera persona"]),
        ("un chat, vue à la première personne", ["vue à la première personne"]),
        ("eine Katze, Zeitraffer, unscharfer Hintergrund", ["zeitraffer", "unscharfer hintergrund"]),
        ("кот, таймлапс, размытый фон", ["таймлапс", "размытый фон"]),
        ("猫、幻想的、背景ぼかし", ["幻想的", "背景ぼかし"]),
        ("고양이, 드론 샷, 고퀄리티", ["드론 샷", "고퀄리티"]),
        ("一只猫，史诗感，治愈", ["史诗感", "治愈"]),
    ],
)
def test_what_the_camera_does_is_style(prompt: str, style: list[str]) -> None:
    reading = extract(prompt)

    assert list(reading.style) == style
    assert len(reading.entities) == 1
    assert reading.excluded == ()
