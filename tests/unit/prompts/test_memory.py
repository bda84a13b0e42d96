"""What extraction remembers between prompts."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from itertools import chain
from random import Random
from typing import Any

from worker import prompts
from worker.cache import decisions
from worker.prompts.entities import extract

SENTENCES = (  # one a language; each word is of letters of its own
    ("bcdfghklmnprstvwaeiou", "a {}ing {} and two {}s by a {}-{} in the style of {}"),
    ("bdfghklmnrstaeiouäöü", "ein {}er {} mit einem {} auf der {}straße, zwei {}en und ein {}es {}haus"),
    ("bcdfglmnprstaeiouáé", "un {} rojo con una {} en la {} y dos {}es, pintado por {} el {}"),
    ("bcdfglmnprstaeiouéè", "un {} rouge avec une {} dans la {} et deux {}s du {} {}eux"),
    ("bcdfglmnprstaeiouãç", "um {} vermelho com uma {} no {} e duas {}s do {} {}"),
    ("бвгдзклмнпрстаеиоу", "красный {} и большая {} на {}е, два {}а без {}ы у {}ого {}а"),
    ("가나다라마바사아자차하구누두루무부수", "빨간 {}와 큰 {}가 {}에서 {}를 보는 {} 두 {}"),
    ("かきくけこさしすせそたちつてと", "赤い{}と大きな{}が{}で{}を見る{}"),
    ("山水火木金土日月田石花草鸟鱼马牛羊", "红色的{}和一只{}在{}里看{}的{}"),
)


def read(seed: int) -> None:
    random = Random(seed)
    for letters, sentence in SENTENCES:
        for _ in range(5):
            words = ("".join(random.choices(letters, k=random.randint(3, 9))) for _ in range(sentence.count("{}")))
            extract(sentence.format(*words))


def unbounded() -> Mapping[str, int]:
    """How much each function holds that forgets nothing."""
    found: dict[str, int] = {}
    modules = [pkgutil.walk_packages(package.__path__, f"{package.__name__}.") for package in (prompts, decisions)]
    for module in chain(*modules):
        functions: list[Any] = [one for one in vars(import_module(module.name)).values() if hasattr(one, "cache_info")]
        for one in functions:
            if one.cache_parameters()["maxsize"] is None:
                found[f"{one.__module__}.{one.__name__}"] = one.cache_info().currsize
    return found


def test_words_of_prompts_are_not_remembered_for_ever() -> None:
    read(1)
    before = unbounded()
    read(2)

    assert before
    assert unbounded() == before
