"""Scores after a prompt, as Open-Sora 1.2 was trained to read them."""

DEFAULT_AESTHETIC_SCORE = 6.5


def append_scores(
    prompt: str, *, aesthetic: float | None = None, motion: float | None = None, camera_motion: str | None = None
) -> str:
    """The prompt with the scores that Open-Sora was trained to read, unless it already names them."""
    suffixes = (
        ("aesthetic score:", None if aesthetic is None else f"{aesthetic:.1f}"),
        ("motion score:", None if motion is None else f"{motion:.1f}"),
        ("camera motion:", camera_motion),
    )
    for label, value in suffixes:
        if value is not None and label not in prompt:
            prompt = f"{prompt} {label} {value}."
    return prompt
