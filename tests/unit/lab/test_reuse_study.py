"""A study of reuse: pairs drawn as they say, errors by donor, and twenty prompts end to end on the shipped model."""

import dataclasses
from pathlib import Path

import pytest

from lab.experiments import reuse_report, reuse_study
from lab.experiments.reuse_report import ALL, gap, lines, mixed
from lab.experiments.reuse_study import FULL, Made, Study, few_step_plans, many_step_plans, read
from lab.experiments.study_judges import checked, scored
from lab.experiments.study_prompts import LAYOUT, Pair, Prompts, worded_prompts, world_prompts
from lab.toy_world.caption_parser import spec_of
from lab.toy_world.worlds import RICH, SMALL, World
from shared.model_cards import load as load_cards
from worker.models.embedders import load_embedder
from worker.models.opensora.model import OpenSoraModel
from worker.models.opensora.presets import tiny
from worker.models.registry import EngineOptions, load

CARDS = Path("worker/cards")


def differing(world: World, prompt: str, donor: str) -> set[str]:
    """Which parts of two prompts of a world differ: the scene, and fields of the things."""
    ours, theirs = world.read(prompt), world.read(donor)
    assert ours is not None
    assert theirs is not None
    parts = {"scene"} if ours.scene != theirs.scene else set()
    if len(ours.things) != len(theirs.things):
        return parts | {"number"}
    mine, others = (sorted(map(repr, spec.things)) for spec in (ours, theirs))
    if mine == others:
        return parts
    for a, b in zip(ours.things, theirs.things, strict=True):
        parts |= {field.name for field in dataclasses.fields(a) if getattr(a, field.name) != getattr(b, field.name)}
    return parts


@pytest.mark.parametrize(("world", "count", "seed"), [(SMALL, 20, 3), (RICH, 6, 7)], ids=["small", "rich"])
def test_pairs_share_what_they_say(world: World, count: int, seed: int) -> None:
    prompts = world_prompts(world, count, seed=seed)
    alone = {i for i, donor in enumerate(prompts.donors) if len(world.read(donor).things) == 1}

    for pair in (pair for pair in prompts.pairs if pair.donor in alone):
        found = differing(world, pair.prompt, prompts.donors[pair.donor])
        if pair.kind == "same":
            assert found == set()
        if pair.kind == "object":
            assert found == {"scene"}
        if pair.kind == "motion":
            assert found
            assert found <= {"motion", "speed"}
        if pair.kind == "attribute":
            assert len(found) == 1
            assert found <= {"colour", "shape", "size"}
        if pair.kind == "scene":
            assert "scene" not in found
            assert found
    assert prompts == world_prompts(world, count, seed=seed)
    assert prompts.donors != world_prompts(world, count, seed=seed + 1).donors


def test_the_service_itself_would_take_the_layout_where_things_motion_and_the_scenes_colour_are_the_same() -> None:
    prompts = world_prompts(SMALL, 20, seed=3).looked_up(load_embedder())

    assert sum(pair.is_layout for pair in prompts.pairs if pair.kind == "same") >= 14
    for pair in prompts.pairs:
        if pair.is_layout:
            ours, theirs = spec_of(pair.prompt), spec_of(prompts.donors[pair.donor])
            assert ours is not None
            assert theirs is not None
            assert sorted(thing.motion for thing in ours.things) == sorted(thing.motion for thing in theirs.things)
            assert ours.scene.colour is theirs.scene.colour


def test_layout_narrows_the_kinds_that_are_asked_for() -> None:
    about = {"prompt": "a", "donor": 0, "unrelated": 1}
    pairs = [Pair(kind=kind, is_layout=is_layout, **about) for kind in ("same", "scene") for is_layout in (True, False)]
    prompts = Prompts(donors=("a", "b"), pairs=tuple(pairs))

    def kept(*kinds: str) -> list[int]:
        return [pairs.index(pair) for pair in prompts.of_kinds(kinds).pairs]

    assert kept("same") == [0, 1]
    assert kept("layout") == [0, 2]
    assert kept("same", "layout") == [0]
    assert kept("same", "scene") == [0, 1, 2, 3]


def made(pair: int, donor: int, plan: str, accuracy: float, *, evaluations: float = 1.0, kind: str = "same") -> Made:
    known = {"pair": pair, "donor": donor, "plan": plan, "evaluations": evaluations, "kind": kind}
    return Made(**known, is_layout=kind == "same", seconds=0.1, figures={"accuracy": accuracy})


def test_pairs_of_one_donor_are_one_observation() -> None:
    ours = [made(i, i // 3, "a", 1.0 if i < 3 else 0.0) for i in range(6)]
    theirs = [made(i, i // 3, "b", 0.0) for i in range(6)]

    found = gap(ours, theirs, "accuracy")

    assert found is not None
    assert (found.mean, found.pairs) == (0.5, 6)
    assert found.error == pytest.approx((2 * (1.5**2 + 1.5**2)) ** 0.5 / 6)  # two donors, not six pairs
    assert gap(ours[:3], theirs[:3], "accuracy") is None


def test_the_rival_of_a_plan_is_the_best_plain_one_that_costs_no_more() -> None:
    plans = [one for one in few_step_plans() if one.name in ("plain 1", "plain 0.92", "plain 0.95-0.65", "enter 0.92")]
    costs = {"plain 1": (0.5, 0.2), "plain 0.92": (0.5, 0.6), "plain 0.95-0.65": (1.0, 0.9), "enter 0.92": (0.5, 0.8)}
    rows = [
        made(pair, pair, name, accuracy + 0.01 * pair, evaluations=cost)
        for pair in range(3)
        for name, (cost, accuracy) in costs.items()
    ]

    (line,) = [one for one in lines(rows, plans, LAYOUT) if one.plan == "enter 0.92"]

    assert line.rival == "plain 0.92"
    assert line.over_rival["accuracy"].mean == pytest.approx(0.2)


def test_a_stream_weighs_layout_hits_by_their_share() -> None:
    plans = [one for one in few_step_plans() if one.name in ("plain 4 quadratic", "enter 0.92")]
    figures = {FULL: (30.0, 1.0, 1.0), "plain 4 quadratic": (2.0, 0.9, 0.9), "enter 0.92": (0.5, 0.7, 0.0)}
    rows = [
        dataclasses.replace(made(pair, pair, name, hit if pair < 2 else other, evaluations=cost), is_layout=pair < 2)
        for pair in range(8)
        for name, (cost, hit, other) in figures.items()
    ]

    found = mixed(rows, plans, (0.5, 0.08))

    assert [row[:3] + row[4:6] + row[7:] for row in found] == [
        ["0.50", "plain 4 quadratic", "2.00", "enter 0.92", "1.25", "38%"],
        ["0.08", "plain 4 quadratic", "2.00", "enter 0.92", "1.88", "6%"],
    ]
    less = [[row[at].strip("*").split()[0] for at in (3, 6)] for row in found]
    assert less == [["-0.100", "-0.200"], ["-0.100", "-0.116"]]
    assert mixed(rows[:6], plans) == []  # nothing but hits: no stream


@pytest.fixture(scope="module")
def small():
    return load(load_cards(CARDS)["small"], CARDS, EngineOptions(device="cpu"))


def test_twenty_prompts_say_what_the_page_says(small, tmp_path: Path) -> None:
    """Steps without guidance keep what is asked for; a run cut off goes on; what is made is counted once."""
    prompts = world_prompts(SMALL, 4, seed=0).looked_up(load_embedder())
    prompts = dataclasses.replace(prompts, pairs=prompts.pairs[:20])
    wanted = ("plain 4 quadratic", "plain 1", "enter 0.92", "enter 0.92, noise alone", "sparse, refresh 3")
    plans = [one for one in few_step_plans() if one.name in wanted]
    study = Study(model=small, prompts=prompts, plans=plans, judge=checked(SMALL), folder=tmp_path)

    assert not study.run(minutes=0)
    assert study.run()
    assert study.run()

    clips = read(study.file)
    assert len(clips) == study.total == 20 * 6
    found = {line.plan: line for line in lines(clips, plans, ALL)}
    assert found[FULL].evaluations == 30
    assert found["plain 4 quadratic"].evaluations == 2
    assert found["enter 0.92"].evaluations == 0.5
    assert found["plain 4 quadratic"].figures["accuracy"] > 0.9
    assert found["plain 4 quadratic"].figures["accuracy"] > found["plain 1"].figures["accuracy"]
    assert 0.05 < found["sparse, refresh 3"].figures["active"] <= 1
    assert found["sparse, refresh 3"].evaluations <= 3.5


def test_a_model_of_ones_own_gives_a_page_with_a_sheet(tmp_path: Path, clip_folder: Path) -> None:
    pipeline = tiny()
    card = dataclasses.replace(load_cards(CARDS)["tiny"], full_steps=4, fast_steps=3)
    model = OpenSoraModel(pipeline, card)
    plans = many_step_plans(model)
    prompts = worded_prompts(2, seed=1).looked_up(load_embedder())
    study = Study(model=model, prompts=prompts, plans=plans, judge=scored(clip_folder, None), folder=tmp_path)

    is_whole = study.run()
    files = reuse_report.write(study, is_whole=is_whole, num_shown=1)

    assert [file.name for file in files] == ["report.md", "sheet.png", "report.html"]
    text = files[0].read_text()
    assert "### attribute" in text
    assert "differing" in text
    assert {"enter 4 after 1", "enter 4 after 1, unrelated donor"} <= {one.plan for one in read(study.file)}


def test_a_line_that_a_kill_cut_short_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "clips.jsonl"
    file.write_text('{"pair": 0, "kind": "sa')

    assert reuse_study.read(file) == []
