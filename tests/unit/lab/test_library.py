"""The look-up over stored runs: the service's own decisions on an index in memory."""

import pytest

from lab.experiments.library import whole_prompts
from worker.cache.decisions.planning import NIRVANA_MATCH
from worker.cache.decisions.types import HitKind
from worker.models.embedders import load_embedder
from worker.quality.index import Index

STORED = (
    "a small red circle drifts left over a green striped field",
    "a large blue square glides up over a plain yellow wall",
)


@pytest.fixture(scope="module")
def index() -> Index:
    found = Index(load_embedder())
    for prompt in STORED:
        found.add(prompt)
    return found


@pytest.mark.parametrize(
    ("prompt", "kind", "donor"),
    [
        ("a tiny crimson circle rests on a plain white wall", HitKind.OBJECT, ("0",)),  # the same thing in other words
        ("a large white cross moves down over a green striped field", HitKind.SCENE, ("0",)),
        ("a large blue square rests over a plain yellow wall", HitKind.BOTH, ("1",)),
        ("a small blue circle rests on a plain purple floor", HitKind.NONE, ()),  # another colour is another thing
    ],
)
def test_the_look_up_says_what_is_shared_and_with_whom(
    index: Index, prompt: str, kind: HitKind, donor: tuple[str, ...]
) -> None:
    hit = index.find(prompt).hit

    assert (hit.kind, hit.donors) == (kind, donor)


def test_an_empty_index_finds_nothing() -> None:
    hit = Index(load_embedder()).find("a small red circle rests on a white wall").hit

    assert (hit.kind, hit.nearest) == (HitKind.NONE, None)


def test_whole_prompts_are_compared_as_a_whole() -> None:
    index = whole_prompts(load_embedder(), NIRVANA_MATCH)
    for prompt in STORED:
        index.add(prompt)

    hit = index.find("a small red circle drifts right over a green striped field").hit

    assert (hit.kind, hit.donors) == (HitKind.PROMPT, ("0",))
    assert hit.similarity is not None
    assert hit.similarity > 0.9
