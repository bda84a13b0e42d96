"""A prompt that the model's cleaning takes away whole is refused at once, where that is known without the model."""

from dataclasses import replace

import pytest

from api import job_factory
from api.errors import BadRequest
from api.schemas.requests import CreateVideo
from shared.model_cards import ModelCard

CARD = ModelCard(name="small", title="", source=".", sizes=("32x32",), fps=8, frames=(8,))


def job(card: ModelCard, **request: str) -> None:
    job_factory.job(CreateVideo(**request), {"small": card}, tenant="t", default_model="small")


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("一只红色的猫", ""),  # ideographs
        ("一只红色的猫！", "!"),
        ("H2O", ""),  # codes
        ("<a cat>", ""),  # markup
        ("https://example.com", ""),
        (".hidden", ""),
        ("photo.jpg", ""),
    ],
)
def test_a_prompt_that_cleaning_takes_away_whole_is_refused(prompt: str, left: str) -> None:
    with pytest.raises(BadRequest) as refused:
        job(CARD, prompt=prompt)

    assert str(refused.value) == (
        f"of prompt {prompt!r} nothing that small can read is left, only {left!r}; describe in plain English words "
        "what the video shows, without codes, links or markup"
    )
    assert (refused.value.param, refused.value.reason) == ("prompt", "invalid_prompt")


def test_a_negative_prompt_is_looked_at_too() -> None:
    with pytest.raises(BadRequest, match="what the video must not show") as refused:
        job(CARD, prompt="a cat", negative_prompt="4x4")

    assert refused.value.param == "negative_prompt"


@pytest.mark.parametrize("prompt", ["a cat", "a red car 4x4", "ein Hund", "кошка", "🐱", "7"])
def test_a_prompt_of_which_something_is_left_is_accepted(prompt: str) -> None:
    job(CARD, prompt=prompt)


def test_what_other_models_read_is_theirs_to_say() -> None:
    job(replace(CARD, family="diffusers"), prompt="一只红色的猫")


def test_long_prompts_are_left_to_the_worker() -> None:
    job(CARD, prompt="猫" * (job_factory.CLEANED_CHARS + 1))
