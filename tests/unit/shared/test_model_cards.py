"""A card promises sizes that the files really have."""

import json
from pathlib import Path

import pytest

from shared.model_cards import legal_size, load


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
    ("values", "message"),
    [
        ({"fast_schedule": "quadratic"}, """fast_schedule 'quadratic' is not an object, as {"spacing": "quadratic"}"""),
        (
            {
                "fast_schedule": {"shift": 3},
                "family": "diffusers",
                "full_steps": 9,
                "fast_steps": 4,
                "guidance_scale": 1,
            },
            "fast_schedule is of the family opensora; a pipeline's is its scheduler's: set scheduler",
        ),
    ],
)
def test_a_fast_schedule_is_options_of_a_schedule(tmp_path: Path, values: dict[str, object], message: str) -> None:
    path = card(tmp_path, **values)

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
