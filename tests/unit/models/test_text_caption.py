"""Caption preparation against recorded behaviour and against the independent cleaning in diffusers."""

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from bs4 import ParserRejectedMarkup
from diffusers import IFPipeline
from diffusers.pipelines.deepfloyd_if import pipeline_if
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from worker.models.opensora.caption import (
    CaptionError,
    FrameGroup,
    append_scores,
    apply_frame_groups,
    clean_caption,
    nearest_start,
    parse_frame_groups,
    prepare_caption,
    prepare_looped,
    prompt_of_loop,
    split_loops,
    split_options,
)

TEXT = Path(__file__).parents[2] / "golden" / "opensora12" / "text"
CLEANED = json.loads((TEXT / "clean_captions.json").read_text())["rows"]
HELPERS = json.loads((TEXT / "prompt_helpers.json").read_text())
STRATEGIES = HELPERS["mask_strategy_apply"]["rows"]


@pytest.mark.parametrize("row", CLEANED, ids=lambda row: row["input"][:30])
def test_cleaning_equals_the_original(row):
    assert clean_caption(row["input"]) == row["once"]
    assert prepare_caption(row["input"]) == row["output"]


PIECES = re.split(  # what the rules look for
    r"\s+",
    """<b> &amp; &nbsp; http://a.com/x www.b.org @me 日本 -- _a_ " '' ... . , : #12 1234567 a.jpg free shipping jc6640
    a1b2c3 1920x1080 3:45 \\n + %20 ’ page 3 cat Ünder &lt;br&gt; ﬁ * / ( click on .5 ½""",
)
FRAGMENTS = st.sampled_from([*PIECES, " ", "  ", "\n"])


@given(parts=st.lists(FRAGMENTS | st.text(max_size=5), max_size=8))
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore::bs4.MarkupResemblesLocatorWarning", "ignore::bs4.XMLParsedAsHTMLWarning")
def test_cleaning_equals_diffusers_once_that_strips_after_the_entities(parts):
    text = "".join(parts)
    stripping = SimpleNamespace(unescape=lambda text: html.unescape(text).strip())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_if, "html", stripping)
        try:
            expected = IFPipeline._clean_caption(IFPipeline, text)
        except ParserRejectedMarkup:
            assume(False)

    assert clean_caption(text) == expected


def test_broken_markup_is_kept_as_text():
    assert clean_caption("a <![if cat") == "a <! if cat"


@pytest.mark.parametrize("row", HELPERS["append_scores"], ids=lambda row: row["prompts"][0])
def test_scores_are_appended_once(row):
    scores = {"aesthetic": row["aes"], "motion": row["flow"], "camera_motion": row["camera_motion"]}

    assert [append_scores(prompt, **scores) for prompt in row["prompts"]] == row["output"]


@pytest.mark.parametrize("row", HELPERS["loop_prompts"], ids=lambda row: row["prompt"])
def test_looped_prompts_are_cleaned_by_segment(row):
    segments = split_loops(row["prompt"])

    assert [s.text for s in segments or []] == (row["segments"] if row["loop_indices"] else [])
    assert (segments and [s.loop for s in segments]) == row["loop_indices"]
    assert prepare_looped(row["prompt"]) == row["cleaned_and_merged"]
    assert [prompt_of_loop(row["cleaned_and_merged"], loop) for loop in range(5)] == row["per_loop"]


@pytest.mark.parametrize("row", HELPERS["json_suffix"], ids=lambda row: row["prompt"])
def test_options_behind_a_prompt_are_read(row):
    options = split_options(row["prompt"])

    assert (options.text, options.reference_path, options.mask_strategy) == (
        row["text"],
        row["reference_path"],
        row["mask_strategy"],
    )


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            "a {cat}",
            "prompt options '{cat}' are not JSON (Expecting property name enclosed in double quotes); "
            "remove the braces",
        ),
        ('a {"steps": 3}', "prompt options steps are unknown; use mask_strategy and reference_path"),
    ],
)
def test_options_that_cannot_be_used_are_named(prompt, message):
    with pytest.raises(CaptionError) as error:
        split_options(prompt)

    assert str(error.value) == message


@pytest.mark.parametrize("row", HELPERS["mask_strategy_parse"], ids=lambda row: row["text"])
def test_frame_groups_are_parsed_with_their_defaults(row):
    groups = [
        [g.loop, g.reference, g.reference_start, g.target_start, g.length, g.edit_ratio]
        for g in parse_frame_groups(row["text"])
    ]

    assert groups == row["groups"]


@pytest.mark.parametrize("text", ["0,0,0,0,1,0,7", "0,x"])
def test_a_frame_group_that_cannot_be_read_is_named(text):
    with pytest.raises(CaptionError, match=f"^frame group '{text}' h"):
        parse_frame_groups(text)


def test_starts_snap_to_the_nearest_chunk():
    for row in HELPERS["nearest_point"]:
        assert nearest_start(row["value"], row["point"], row["max_value"]) == row["output"]


@pytest.mark.parametrize("row", STRATEGIES, ids=lambda row: f"{row['mask_strategy']}-{row['align']}-{row['loop']}")
def test_frame_groups_fill_latents_and_mask(row):
    references = [
        torch.arange(10.0).view(1, 10, 1, 1).expand(4, -1, 2, 2),
        torch.arange(100.0, 105.0).view(1, 5, 1, 1).expand(4, -1, 2, 2),
    ]
    latents = torch.full((4, row["latent_frames"], 2, 2), -1.0)

    filled, mask = apply_frame_groups(
        parse_frame_groups(row["mask_strategy"]), latents, references, loop=row["loop"], align=row["align"]
    )

    assert mask.tolist() == row["mask"]
    assert filled[0, :, 0, 0].tolist() == row["z_frames"]
    assert latents.eq(-1).all()


def test_a_frame_group_keeps_one_frame_of_the_first_reference_by_default():
    assert parse_frame_groups("0") == [FrameGroup()]
