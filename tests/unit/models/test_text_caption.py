"""Caption preparation against recorded behaviour and against the independent cleaning in diffusers."""

import html
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from diffusers import IFPipeline
from diffusers.pipelines.deepfloyd_if import pipeline_if
from hypothesis import given, settings
from hypothesis import strategies as st

from api.schemas.requests import MAX_PROMPT
from shared.captions import clean_caption, prepare_caption
from worker.models.opensora.caption import append_scores

TEXT = Path(__file__).parents[2] / "golden" / "opensora12" / "text"
CLEANED = json.loads((TEXT / "clean_captions.json").read_text())["rows"]
HELPERS = json.loads((TEXT / "prompt_helpers.json").read_text())


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


LETTERS = st.characters(
    codec="utf-8", exclude_characters="<&"
)  # broken markup is read in another way by each version of Python


@given(parts=st.lists(FRAGMENTS | st.text(LETTERS, max_size=5), max_size=8))
@settings(max_examples=300)
@pytest.mark.filterwarnings("ignore::bs4.MarkupResemblesLocatorWarning", "ignore::bs4.XMLParsedAsHTMLWarning")
def test_cleaning_equals_diffusers_once_that_strips_after_the_entities(parts):
    text = "".join(parts)
    stripping = SimpleNamespace(unescape=lambda text: html.unescape(text).strip())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_if, "html", stripping)
        expected = IFPipeline._clean_caption(IFPipeline, text)

    assert clean_caption(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <![if cat", "a <! if cat"),  # a tag that does not end is text
        ("a cat < dog", "a cat < dog"),
        ("a cat <", "a cat <"),
        ("a cat <b", "a cat <b"),
        ("a cat </b", "a cat < b"),
        ("a <!-- cat", "a <!- cat"),
        ("a <!-- <b>cat</b>", "a <!- cat"),
        ("a <![CDATA[cat", "a <! cdata cat"),
        ("a cat <!", "a cat <!"),
        ("a cat <?", "a cat <?"),
        ("a <3 cat", "a <3 cat"),
        ("a <!-- big -->cat", "a cat"),  # what ends is markup, however odd
        ("a <![CDATA[big]]> cat", "a big cat"),
        ("a <![if big]>cat", "a cat"),
        ("a </ x>cat", "a cat"),
        ("a </>cat", "a cat"),
        ("a <!doctype html>cat", "a cat"),
        ("a <?php 1 ?>cat", "a cat"),
        ("a <it's> cat", "a cat"),
        ("a <b title='>'>cat", "a cat"),
        ("a <b title='>cat", "a cat"),
        ("a <script>big</script>cat", "a cat"),  # never shown
        ("a cat <style type='x'>big", "a cat"),
        ("a <scripted> cat", "a cat"),
        ("a &notit; cat", "a notit cat"),  # entities
        ("a &not; cat", "a ¬ cat"),
        ("a caf&eacute; cat", "a café cat"),
        ("a &#99;at", "a cat"),
        ("a &#x63;at", "a cat"),
        ("a &# cat", "a cat"),
        ("a &#; cat", "a ; cat"),
        ("a cat & dog", "a cat dog"),
        ("a cat &amp", "a cat"),
    ],
)
def test_broken_markup_reads_the_same_on_every_python(text, expected):
    assert clean_caption(text) == expected


@pytest.mark.parametrize("piece", ["<", "<a", "<!--", "</", "<a='", "&#", "&a", "<script>", "a.", "a-", "é"])
def test_the_longest_prompt_is_cleaned_in_a_moment(piece):
    start = time.process_time()

    prepare_caption((piece * MAX_PROMPT)[:MAX_PROMPT])

    assert time.process_time() - start < 10  # seconds; a pattern that backtracks takes hours


@pytest.mark.parametrize("row", HELPERS["append_scores"], ids=lambda row: row["prompts"][0])
def test_scores_are_appended_once(row):
    scores = {"aesthetic": row["aes"], "motion": row["flow"], "camera_motion": row["camera_motion"]}

    assert [append_scores(prompt, **scores) for prompt in row["prompts"]] == row["output"]
