"""Ways of reuse by name: from the plain values of a plan to what the sampling loop takes."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from worker.reuse.recorder import steps_nearest
from worker.reuse.ways import (
    CLEAN,
    Blend,
    CacheAttention,
    Donor,
    Residual,
    Resume,
    Reuse,
    latent_name,
    mask_name,
    residual_name,
)

Options = Mapping[str, Any]  # Any: JSON values

METHODS: dict[str, Any] = {  # Any: dataclasses of options, which check their own values
    "cache_attention": CacheAttention,
    "blend": Blend,
    "residual": Residual,
    "resume": Resume,
}
NOISES = ("fresh", "donor")  # which initial noise a run starts from when the user gave no seed
LENDS = ("all", "shared", "others")  # which tokens of the donor: all, those of the shared entities, or the rest
_KEPT_FOR = {"nearest_noise": "nearest", "same_index": "same_index", "stored": "nearest"}
_OF_THE_PLAN = ("noise", "lend", "skipped_steps", "within")  # options that are no method's own


def bind(
    name: str, options: Options, donors: Sequence[Donor], timesteps: Sequence[float], *, shared: Sequence[str] = ()
) -> Reuse:
    """Return donors bound to a way of reuse.

    Args:
        name: a method, or several joined by `+`: `residual+cache_attention`.
        options: of the method; of several methods, by method. `lend` says which tokens the donors lend, and
            `skipped_steps` where a resumed run starts.
        donors: earlier runs, best first.
        timesteps: of the run to come, 0..1000.
        shared: names of the donors' entities that the prompt shares.

    Raises:
        ValueError: a name or option that does not exist; the message lists what does.
        KeyError: the donors do not keep what the method needs.
    """
    names = name.split("+")
    lent = tuple(_lend(donor, options.get("lend", "all"), shared) for donor in donors)
    built = {part: _build(part, _options_of(part, names, options), timesteps) for part in names}
    reuse = Reuse(donors=lent, **built)
    for donor in donors:
        _check_kept(reuse, donor, len(timesteps))
    return reuse


def check(name: str, options: Options) -> None:
    """Raise ValueError unless `bind` would take these; no donor is needed to ask."""
    names = name.split("+")
    for part in names:
        _build(part, _options_of(part, names, options), [1000.0])
    _choose("noise", options.get("noise", "fresh"), NOISES)
    _choose("lend", options.get("lend", "all"), LENDS)


def reads(name: str, options: Options) -> frozenset[str]:
    """Return what a way of reuse asks of a donor beside its clean latent, in the words of `keep`."""
    names = name.split("+")
    methods = [_build(part, _options_of(part, names, options), [1000.0]) for part in names]
    sources = {getattr(method, "source", None) for method in methods}
    needs = {_KEPT_FOR[source] for source in sources if source in _KEPT_FOR}
    needs |= {"residuals"} if "residual" in names else set()
    return frozenset(needs | ({"masks"} if options.get("lend", "all") != "all" else set()))


def kept_steps(keep: Sequence[str], full: Sequence[float], fast: Sequence[float]) -> tuple[int, ...]:
    """Return the steps (1-based) of a full run whose latents a namespace keeps.

    `nearest` are the three whose noise levels are nearest to steps 2, 3 and 4 of the fast run; `same_index` are steps
    2, 3 and 4 themselves, the paper's literal reading.
    """
    steps: set[int] = set()
    if "nearest" in keep:
        steps |= set(steps_nearest(full, fast[1:4]))
    if "same_index" in keep:
        steps |= {2, 3, 4}
    return tuple(sorted(steps))


def _options_of(name: str, names: Sequence[str], options: Options) -> Options:
    """Return the options of one method among several: its own, and those of the plan."""
    if len(names) == 1:
        return options
    return {key: options[key] for key in _OF_THE_PLAN if key in options} | dict(options.get(name, {}))


def _build(name: str, options: Options, timesteps: Sequence[float]) -> Any:
    if name not in METHODS:
        raise ValueError(f"{name!r} is not a way of reuse; there are {', '.join(METHODS)}, and several joined by +")
    method = METHODS[name]
    known = [field.name for field in fields(method)]
    own = {key: value for key, value in options.items() if key not in (*_OF_THE_PLAN, *METHODS)}
    for key in own:
        if key not in known:
            raise ValueError(f"{key!r} is not an option of {name}; there are {', '.join(known)}")
    if name == "resume" and "skipped_steps" in options:
        own["level"] = timesteps[min(options["skipped_steps"], len(timesteps) - 1)] / 1000
    return method(**{key: tuple(value) if isinstance(value, list) else value for key, value in own.items()})


def _check_kept(reuse: Reuse, donor: Donor, num_steps: int) -> None:
    """Raise KeyError unless a donor keeps all that a run will ask it for."""
    for name in _needed(reuse, num_steps):
        donor.get(name)
    reads_nearest = reuse.cache_attention is not None and reuse.cache_attention.source == "nearest_noise"
    if reads_nearest or (reuse.resume is not None and reuse.resume.source == "stored"):
        donor.nearest(0.0)
    if reuse.residual is not None and residual_name(num_steps + 1) in donor.tensors:
        raise KeyError(f"the donor keeps the step errors of a longer run than one of {num_steps} steps")


def _needed(reuse: Reuse, num_steps: int) -> list[str]:
    """Return the tensors that a run reads by name."""
    attention, resume = reuse.cache_attention, reuse.resume
    names = [CLEAN] if reuse.blend or (resume and resume.source == "noised") else []
    if attention and attention.source == "clean":
        names.append(CLEAN)
    if attention and attention.source == "same_index":
        names += [latent_name(step) for step in attention.steps if step <= num_steps]
    if reuse.residual:
        names += [residual_name(step) for step in range(1, num_steps + 1)]
    return names


def _lend(donor: Donor, lend: str, shared: Sequence[str]) -> Donor:
    _choose("lend", lend, LENDS)
    present = [entity for entity in shared if mask_name(entity) in donor.tensors]
    if lend == "all" or not present:
        return donor
    region = donor.lending(present[0]).region
    assert region is not None
    for entity in present[1:]:
        region = region | donor.get(mask_name(entity)).bool()
    return Donor(
        tensors=donor.tensors,
        timesteps=donor.timesteps,
        seed=donor.seed,
        region=region if lend == "shared" else ~region,
    )


def _choose(option: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{option} {value!r} is unknown; use one of {', '.join(choices)}")
