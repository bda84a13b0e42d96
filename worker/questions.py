"""Answers, beside the jobs, what the cache would decide for a prompt, in a thread of the child.

The child has the embedder and knows what models read. A question changes nothing, costs milliseconds and, like a
heartbeat, does not wait for the model's computation.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import cache as once
from pathlib import Path

from db import questions
from db.listener import Listener
from db.models import Question
from db.session import connect, transaction
from shared import model_cards
from shared.generation import GenerationParams
from shared.logs import first_line
from worker.cache import dry_run
from worker.errors import Unfit
from worker.jobs.outages import DATABASE_AWAY
from worker.models import registry
from worker.prompts.types import Json
from worker.runtime import Runtime

LOOK_S = 10.0  # between two checks without a notification
FRESH_S = 5.0  # nobody waits any more for an older question
PAUSE_S = 1.0  # after an error

logger = logging.getLogger(__name__)


def start(runtime: Runtime) -> None:
    """Start a thread of this process that answers questions."""
    threading.Thread(target=_answer_always, args=(runtime,), name="questions", daemon=True).start()


def _answer_always(runtime: Runtime) -> None:
    application = f"chai-worker {runtime.owner} asked"
    listener = Listener(connect(runtime.settings.database_url, pool_size=1, application=application), questions.CHANNEL)
    while True:
        listener.wait(LOOK_S)
        try:
            while answer_one(runtime):
                pass
        except DATABASE_AWAY as error:
            logger.warning("questions wait: %s", first_line(error))
            time.sleep(PAUSE_S)
        except Exception:  # one question must not silence the others
            logger.exception("a question is not answered")
            time.sleep(PAUSE_S)


def answer_one(runtime: Runtime) -> bool:
    """Answer one question, if any; return whether there was one."""
    if runtime.embedder is None and not _embedder_ahead(runtime):
        return False
    with transaction(runtime.factory) as session:
        question = questions.take(session, younger_s=FRESH_S)
        if question is None:
            return False
        try:
            said = _answer(runtime, question)
        except Unfit as error:  # no such model or embedder here
            said = {"refused": error.message}
        questions.answer(session, question.id, said)
    return True


def _embedder_ahead(runtime: Runtime) -> bool:
    """Load the embedder if there is a question: it takes seconds, during which no transaction may stay open."""
    with transaction(runtime.factory) as session:
        if not questions.is_asked(session, younger_s=FRESH_S):
            return False
    with suppress(Unfit):  # the answer reports it
        runtime.loaded_embedder()
    return True


def _answer(runtime: Runtime, question: Question) -> Json:
    params = GenerationParams.of(_Asked(question.asked))
    card = runtime.card(params.model)
    with transaction(runtime.factory) as session:
        embedder = runtime.loaded_embedder()
        space = dry_run.find_space(session, params, question.tenant, question.group, embedder.name)
        reads = _reader(runtime.settings.models_dir, card.name)
        found = dry_run.decide(session, space, params, card, lambda: embedder, runtime.settings, reads=reads)
        return found.shown_to(session, question.tenant)


@once
def _reader(models_dir: Path, model: str) -> Callable[[str], str] | None:
    return registry.reader(model_cards.load(models_dir)[model], models_dir)


class _Asked:
    """Parameters as attributes, with defaults for those not given."""

    def __init__(self, values: Json) -> None:
        for field in fields(GenerationParams):
            setattr(self, field.name, values.get(field.name))
