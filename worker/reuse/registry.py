"""Ways of reuse by name: from the plain values of a plan to hooks of the sampling loop."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import inf
from typing import Any

from worker.reuse.active_tokens import ActiveTokens
from worker.reuse.cache_attention import CacheAttention
from worker.reuse.donor import Donor
from worker.reuse.nothing import Nothing
from worker.reuse.own_trajectory import OwnTrajectory, entry_level
from worker.reuse.recorder import NOISY, PAPER_STEPS
from worker.reuse.resume import Resume
from worker.reuse.way import Way, check_choice

Options = Mapping[str, Any]  # Any: JSON values

WAYS: Mapping[str, type[Way]] = {
    "cache_attention": CacheAttention,
    "resume": Resume,
    "own_trajectory": OwnTrajectory,
    "active_tokens": ActiveTokens,
    "nothing": Nothing,
}
NOISES = ("fresh", "donor")  # the initial noise of a run for which the user gave no seed
_OF_THE_PLAN = ("noise",)  # options that belong to no way
_OF_THE_RUN = ("skipped_steps",)  # given once, whichever of several ways uses it
_OF_NO_USE = ("donors", "course", "enters_at")  # fields that no plan sets


def bind(name: str, options: Options, donors: Sequence[Donor], timesteps: Sequence[float]) -> list[Way]:
    """Return donors bound to ways of reuse, one hook per way.

    Args:
        name: a way, or several joined by `+`: `resume+cache_attention`.
        options: of the way; of several, by way.
        donors: earlier runs, best first, on the device of the run.
        timesteps: of the run to come, 0..1000.

    Raises:
        ValueError: a name or option that does not exist; the message lists what does.
        KeyError: the donors do not keep what a way needs.
    """
    return [way.bind(donors, timesteps) for way in build(name, options)]


def check(name: str, options: Options) -> None:
    """Raise ValueError unless `bind` would accept these; needs no donor."""
    build(name, options)
    check_choice("noise", options.get("noise", "fresh"), NOISES)


def requires(name: str, options: Options) -> frozenset[str]:
    """Return what ways of reuse need of a donor beside its clean latent, in the terms of `keep`."""
    return frozenset().union(*(way.requires for way in build(name, options)))


def read_steps(name: str, options: Options) -> tuple[int, ...]:
    """Return the steps (1-based) at which ways of reuse read noisy latents, if any.

    An unknown way reads none: its plan runs without a donor.
    """
    try:
        built = build(name, options)
    except ValueError:
        return ()
    return tuple(sorted({step for way in built if way.requires & NOISY for step in getattr(way, "steps", PAPER_STEPS)}))


def entry(name: str, options: Options, timesteps: Sequence[float]) -> float | None:
    """Return the timestep at which a run enters its donor's own trajectory; None if it does not.

    An unknown way does not enter: its plan runs without a donor.
    """
    try:
        found = [way for way in build(name, options) if isinstance(way, OwnTrajectory)]
        return entry_level(timesteps, found[0].skipped_steps) if found else None
    except (ValueError, KeyError):
        return None


def build(name: str, options: Options) -> list[Way]:
    """Return ways of reuse with their options but without donors; raise ValueError like `bind`."""
    names = name.split("+")
    own = {key: value for key, value in options.items() if key not in _OF_THE_PLAN}
    if len(names) == 1:
        return [_build(name, own)]
    for part in names:
        _require_known(part)
    takes = {*names}.union(*map(_of_the_run, names))
    for key, value in own.items():
        if key not in takes:
            raise ValueError(f"{key!r} is not an option of {name}; what is a way's own stands under its name")
        if key in names and not isinstance(value, Mapping):
            raise ValueError(f"{key} {value!r} is no object of options")
    return [
        _build(part, {key: own[key] for key in _of_the_run(part) if key in own} | own.get(part, {})) for part in names
    ]


def _of_the_run(name: str) -> set[str]:
    """Return the options given once for several ways that this way takes."""
    return {key for key in _OF_THE_RUN if key in _defaults(name)}


def _build(name: str, options: Options) -> Way:
    _require_known(name)
    defaults = _defaults(name)
    for key in options:
        if key not in defaults:
            raise ValueError(f"{key!r} is not an option of {name}; there are {', '.join(defaults) or 'none'}")
    return WAYS[name](**{key: _checked(f"{name}.{key}", value, defaults[key]) for key, value in options.items()})


def _require_known(name: str) -> None:
    if name not in WAYS:
        raise ValueError(f"{name!r} is not a way of reuse; there are {', '.join(WAYS)}, and several joined by +")


def _defaults(name: str) -> Options:
    """Return the options of a way with their defaults."""
    return {field.name: field.default for field in fields(WAYS[name]) if field.name not in _OF_NO_USE}


def _checked(name: str, value: Any, default: object) -> Any:  # Any: JSON
    """Return an option's value as its way takes it; raise ValueError if its type differs from the default's."""
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or not all(map(_is_whole, value)):
            raise ValueError(f"{name} {value!r} is not a list of whole numbers from 0 on")
        return tuple(value)
    if isinstance(default, float):
        is_right = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < inf
        kind = "a number"
    elif isinstance(default, str):
        is_right, kind = isinstance(value, str), "a text"
    else:
        is_right, kind = _is_whole(value) or (value is None and default is None), "a whole number from 0 on"
    if not is_right:
        raise ValueError(f"{name} {value!r} is not {kind}")
    return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
