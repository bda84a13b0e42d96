"""A field of a request is kept wherever a job is made again: by its page, by a retry, by a list that is run again."""

from dataclasses import fields

from api import job_factory
from db import retried_lines
from shared.generation import GenerationParams

SHAPING = {field.name for field in fields(GenerationParams)} | {"user_metadata"}


def test_lines_are_alike_that_are_alike_in_all_that_shapes_a_video() -> None:
    assert set(job_factory._SHAPING) == SHAPING


def test_a_retried_line_keeps_all_that_shapes_a_video() -> None:
    assert set(retried_lines._KEPT) >= SHAPING
