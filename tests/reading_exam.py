"""How well a reader of the toy worlds understands captions."""

import torch

from lab.toy_world.reading import NO_NOUN, Reader, Words, labels_of, new_tokenizer


def share_understood(reader: Reader, texts: list[str]) -> float:
    """Share of captions of which every answer about every noun is right."""
    tokenizer = new_tokenizer(reader.language)
    words = tokenizer(texts, padding=True, return_tensors="pt")
    labels = labels_of(tokenizer, texts, reader.language)
    with torch.no_grad():
        logits = reader(Words(ids=words["input_ids"], mask=words["attention_mask"]))
    wrong = [(logits[exam].argmax(-1) != labels[exam]) & (labels[exam] != NO_NOUN) for exam in labels]
    return float(1 - torch.stack(wrong).any(0).any(1).float().mean())
