"""The lists of prompts that plans are measured on."""

import re
from collections import Counter
from pathlib import Path

import pytest

from lab.toy_world import caption_parser
from shared.settings import ROOT
from worker.models.embedders import load_embedder
from worker.quality import default_prompts
from worker.quality.evidence import Bound
from worker.quality.index import Index


def test_the_list_that_ships_has_enough_of_every_kind_of_hit() -> None:
    prompts, index = default_prompts.read(default_prompts.FILE), Index(load_embedder())
    for prompt in prompts:
        index.add(prompt)

    hits = Counter(index.find(prompt, but=i).hit.kind.value for i, prompt in enumerate(prompts))

    assert all(hits[kind] >= Bound().min_prompts for kind in ("scene", "object", "both"))
    assert hits["none"] >= 5


def test_the_shipped_models_own_list_is_what_its_checker_reads() -> None:
    prompts = default_prompts.read(ROOT / "worker" / "cards" / "small" / "prompts.txt")

    assert len(prompts) == 480
    assert all(caption_parser.spec_of(prompt) for prompt in prompts)


def test_empty_lines_comments_and_repetitions_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("# mine\na red fox\n\n  a blue whale \na red fox\n", encoding="utf-8")

    assert default_prompts.read(file) == ("a red fox", "a blue whale")


def test_one_prompt_is_no_list(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("a red fox\n")

    with pytest.raises(ValueError, match=re.escape("1 prompts; at least two are needed, one a line")):
        default_prompts.read(file)
