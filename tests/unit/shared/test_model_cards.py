"""A card promises sizes that the files really have."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from shared.model_cards import _KINDS, PLANS, ModelCard, legal_size, load
from worker.cache.decisions.planning import MEASURED, TABLES

OF_DIFFUSERS = {"family": "diffusers", "full_steps": 4, "fast_steps": 2, "guidance_scale": 1.0}


def card(folder: Path, **values: object) -> Path:
    (folder / "m").mkdir()
    given = {"name": "m", "title": "M", "source": ".", "sizes": ["64x64"], "fps": 8, "frames": [8], **values}
    path = folder / "m" / "chai.json"
    path.write_text(json.dumps(given))
    return path


@pytest.mark.parametrize(
    ("size", "side_multiple", "legal"),
    [
        ("64x64", 8, "64x64"),
        ("426x240", 8, "424x240"),  # 240p of Open-Sora, wide and tall
        ("240x426", 8, "240x424"),
        ("854x480", 8, "848x480"),  # 480p
        ("1366x768", 16, "1360x768"),  # a model whose patches are of 2 x 2 latent values
        ("33x47", 2, "32x46"),
    ],
)
def test_a_size_is_cut_to_what_the_decoder_makes(size: str, side_multiple: int, legal: str) -> None:
    assert legal_size(size, side_multiple) == legal


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("64", "size '64' is not WIDTHxHEIGHT, as 424x240"),
        ("64x", "size '64x' is not WIDTHxHEIGHT, as 424x240"),
        ("064x64", "size '064x64' is not WIDTHxHEIGHT, as 424x240"),
        ("64x64\n", "size '64x64\\n' is not WIDTHxHEIGHT, as 424x240"),
        ("64x6", "size '64x6' has a side below 8; use multiples of 8"),
    ],
)
def test_what_is_no_size_is_refused(size: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        legal_size(size)

    assert str(error.value) == message


def test_a_card_that_names_training_sizes_offers_the_sizes_of_the_files(tmp_path: Path) -> None:
    card(tmp_path, sizes=["426x240", "424x240", "320x320"])

    assert load(tmp_path)["m"].sizes == ("424x240", "320x320")


@pytest.mark.parametrize(
    ("degree", "message"),
    [
        (2, "context_parallel is of the family diffusers, not opensora; leave it out"),
        (0, "context_parallel 0 is not a whole number from 1 on"),
    ],
)
def test_devices_that_share_forwards_are_of_the_family_that_can(tmp_path: Path, degree: int, message: str) -> None:
    path = card(tmp_path, context_parallel=degree)

    with pytest.raises(ValueError) as error:
        load(tmp_path)

    assert str(error.value) == f"{path}: {message}"


def test_a_model_may_need_larger_steps(tmp_path: Path) -> None:
    card(tmp_path, sizes=["424x240"], side_multiple=16)

    assert load(tmp_path)["m"].sizes == ("416x240",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sizes": ["wide"]}, "size 'wide' is not WIDTHxHEIGHT, as 424x240"),
        ({"side_multiple": 3}, "side_multiple 3 is not an even number; an MP4 has even sides"),
        ({"side_multiple": 0}, "side_multiple 0 is not an even number; an MP4 has even sides"),
        ({"side_multiple": "8"}, "side_multiple '8' is not an even number; an MP4 has even sides"),
    ],
)
def test_a_card_that_cannot_be_kept_names_its_file(tmp_path: Path, values: dict[str, object], message: str) -> None:
    path = card(tmp_path, **values)

    with pytest.raises(ValueError) as error:
        load(tmp_path)

    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fps": "16"}, "fps '16' is not a whole number from 1 on"),
        ({"fps": 0}, "fps 0 is not a whole number from 1 on"),
        ({"fps": True}, "fps True is not a whole number from 1 on"),
        ({"sizes": "64x64"}, "sizes '64x64' is not a list of sizes, as"),
        ({"sizes": []}, "sizes [] is not a list of sizes, as"),
        ({"frames": ["81"]}, "frames ['81'] is not a list of frame counts, as [81, 41]"),
        ({"full_steps": 30.5}, "full_steps 30.5 is not a whole number from 1 on"),
        ({"guidance_scale": "high"}, "guidance_scale 'high' is not a number from 0 on"),
        ({"guidance_scale": -1}, "guidance_scale -1 is not a number from 0 on"),
        ({"min_frames": 8}, "min_frames and max_frames are a range; give both or none"),
        ({"plans": "best"}, "plans 'best' is not one of paper, nirvana, plain, measured"),
        ({"scheduler": "UniPC"}, "scheduler 'UniPC' is not an object of names and values"),
        ({"call": [1]}, "call [1] is not an object of names and values"),
        ({"loras": {"source": "x"}}, "loras {'source': 'x'} is not a list of objects, as"),
        ({"loras": [{"weight": 1}]}, "loras {'weight': 1} name no source"),
        ({"loras": [{"source": "x", "strength": 1}]}, "loras: unknown fields ['strength']; known are source, weight"),
        ({"loras": [{"source": "x", "weight": "1"}]}, "loras: weight '1' is not a number"),
        ({"quantization": 8}, "quantization 8 is not float8, or an object of a back end and its options"),
        ({"loras": [{"source": 5}]}, "loras: source 5 is not a text"),
        ({"loras": [{"source": ""}]}, "loras: source '' is not a text"),
        ({"loras": [{"source": "x", "file": 5}]}, "loras: file 5 is not a text, or null"),
        ({"loras": [{"source": "x", "weight": 10**400}]}, "loras: weight 1000"),
        ({"guidance_scale": 10**400}, "guidance_scale 1000"),
        ({"guidance_scale": float("nan")}, "guidance_scale nan is not a number from 0 on"),
        ({"min_frames": 9, "max_frames": 3}, "min_frames 9 is above max_frames 3; no count is in between"),
        ({"full_steps": 120}, "full_steps 120 is above max_steps 100; raise max_steps"),
        ({"fast_steps": 9, "max_steps": 8, "full_steps": 8}, "fast_steps 9 is above max_steps 8; raise max_steps"),
        ({"title": "a\ud800"}, "title 'a\\ud800' is not a text"),
        ({"examples": ["a\0"]}, "examples ['a\\x00'] is not a list of prompts"),
        ({"name": "a/b"}, "name 'a/b' is not a plain word, such as wan-1.3b"),
        ({"name": ".."}, "name '..' is not a plain word, such as wan-1.3b"),
        ({"name": "a\n"}, "name 'a\\n' is not a plain word, such as wan-1.3b"),
        ({"dtype": "float32"}, "dtype is of the family diffusers, not opensora; leave it out"),
        ({"loras": [{"source": "x"}]}, "loras is of the family diffusers, not opensora; leave it out"),
        ({"offload": "model"}, "offload is of the family diffusers, not opensora; leave it out"),
        ({"vae_tiling": "yes"}, "vae_tiling 'yes' is not true or false"),
        ({"offload": None}, "offload None is not a text"),
        ({"dtype": 16}, "dtype 16 is not a text, or null"),
        ({"name": "other"}, "name 'other' is not that of its folder, where source '.' is looked for"),
        (
            {"name": "other", "source": "owner/repository", "loras": [{"source": "."}], **OF_DIFFUSERS},
            "name 'other' is not that of its folder, where LoRA '.' is looked for",
        ),
    ],
)
def test_a_field_of_another_kind_is_named(tmp_path: Path, values: dict[str, object], message: str) -> None:
    path = card(tmp_path, **values)

    with pytest.raises(ValueError) as error:
        load(tmp_path)

    assert str(error.value).startswith(f"{path}: {message}")


def test_plans_beside_a_card_of_another_name_are_not_passed_over(tmp_path: Path) -> None:
    path = card(tmp_path, name="other", source="owner/repository")
    (path.parent / "plans.json").write_text("{}")

    with pytest.raises(
        ValueError, match=r"name 'other' is not that of its folder, where plans 'plans\.json' is looked "
    ):
        load(tmp_path)


def test_what_is_no_card_is_said_so(tmp_path: Path) -> None:
    path = card(tmp_path)

    for content, message in (
        ("[1]", "a card is an object of fields"),
        ("{}", "a card has to give name, title, source"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            load(tmp_path)


def test_two_cards_of_one_name_are_both_named(tmp_path: Path) -> None:
    first = card(tmp_path, source="owner/repository")
    (tmp_path / "n").mkdir()
    second = tmp_path / "n" / "chai.json"
    second.write_text(first.read_text())

    with pytest.raises(ValueError) as error:
        load(tmp_path)

    assert str(error.value) == f"{second}: name 'm' is that of {first} too; give one of them another"


def test_a_card_may_begin_with_every_recipe_there_is() -> None:
    assert (*TABLES, MEASURED) == PLANS


def test_every_field_of_a_card_has_its_kind() -> None:
    assert set(_KINDS) == {field.name for field in fields(ModelCard)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "m", "name": "n"}', "name is given twice; keep one"),
        ("[" * 100_000, "maximum recursion depth exceeded"),
        ('{"guidance_scale": 1%s}' % ("0" * 400), ""),  # more than a float holds
    ],
    ids=["twice", "deep", "large"],
)
def test_json_of_no_use_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    path = card(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **json.loads(text)}) if not said else text)

    with pytest.raises(ValueError) as error:
        load(tmp_path)

    assert str(error.value).startswith(f"{path}: {said}")


def test_the_mark_of_an_editor_is_no_part_of_a_card(tmp_path: Path) -> None:
    path = card(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert list(load(tmp_path)) == ["m"]
