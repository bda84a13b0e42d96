"""/v1/models: what there is, and its limits."""

from fastapi import APIRouter

from api.deps import Calling
from api.errors import REFUSALS
from api.explain import shown
from api.schemas.answers import Model, ModelList
from db.errors import NotFound
from shared.model_cards import ModelCard

router = APIRouter(prefix="/v1/models", tags=["models"], responses=REFUSALS)


@router.get("")
def list_(call: Calling) -> ModelList:
    """List the models, the default first."""
    with call.begin():
        cards, default = call.service.cards, call.service.settings.default_model
        return ModelList(data=[_show(card) for _, card in sorted(cards.items(), key=lambda item: item[0] != default)])


@router.get("/{model}")
def retrieve(model: str, call: Calling) -> Model:
    """Look at a model."""
    with call.begin():
        if model not in call.service.cards:
            raise NotFound(f"no model {shown(model)}; use {', '.join(call.service.cards)}")
        return _show(call.service.cards[model])


def _show(card: ModelCard) -> Model:
    return Model(
        id=card.name,
        title=card.title,
        sizes=list(card.sizes),
        fps=card.fps,
        seconds=f"{card.default_frames / card.fps:.3g}",
        num_frames=list(card.frames),
        min_frames=card.min_frames,
        max_frames=card.max_frames,
        full_steps=card.full_steps,
        fast_steps=card.fast_steps,
        max_steps=card.max_steps,
        guidance_scale=card.guidance_scale,
        examples=list(card.examples),
    )
