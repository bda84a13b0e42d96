"""How long a video may be, by its model's card."""

from pathlib import Path

import pytest

from shared.model_cards import ModelCard, load

OPENSORA = ModelCard(
    name="opensora", title="", source=".", sizes=("426x240",), fps=24, frames=(51, 1), min_frames=17, max_frames=408
)


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"),
    [
        (4, 24, 96),  # every count from 17 is legal
        (17 / 24, 24, 17),
        (1 / 24, 24, 1),  # an image
        (17, 24, 408),
        (0.6, 24, 17),  # 14.4 frames: the nearest legal count is within a fifth
        (0.3, 24, None),  # 7.2 frames: neither 1 nor 17 is near
        (60, 24, None),  # too long
    ],
)
def test_a_duration_is_the_nearest_legal_number_of_frames(seconds: float, fps: int, frames: int | None) -> None:
    assert OPENSORA.frames_for(seconds, fps) == frames


def test_a_card_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    card = tmp_path / "odd" / "chai.json"
    card.parent.mkdir()
    card.write_text('{"name": "odd", "colour": "red", "sizes": [], "frames": []}')

    with pytest.raises(ValueError, match=r"odd/chai\.json: unknown fields \['colour'\]; known are "):
        load(tmp_path)
