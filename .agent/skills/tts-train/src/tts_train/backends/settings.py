"""Settings that a speaker is given, checked in one way for all families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tts_train.errors import ConfigError


def checked(
    family: str,
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    *,
    ranges: Mapping[str, tuple[float, float]],
    counts: Mapping[str, tuple[int, int]] | None = None,
    flags: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> dict[str, Any]:
    """`given` over `defaults`, null taken as not given.

    ranges: numbers with their limits, returned as float; counts: whole numbers; flags: true or false; extra: names
    without a default, which the caller looks at. Raises ConfigError with every unknown name and every wrong value.
    """
    wrong = [f"'{name}' is not a setting of {family}" for name in given if name not in {*defaults, *extra}]
    knobs = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    for name, (low, high) in ranges.items():
        value = knobs[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            wrong.append(f"'{name}' must be a number from {low:g} to {high:g}, got {value!r}")
        else:
            knobs[name] = float(value)
    for name, (least, most) in (counts or {}).items():
        value = knobs.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            wrong.append(f"'{name}' must be a whole number from {least} to {most}, got {value!r}")
    wrong += [
        f"'{name}' must be true or false, got {knobs[name]!r}" for name in flags if not isinstance(knobs[name], bool)
    ]
    if wrong:
        raise ConfigError("; ".join(wrong), hint=f"settings: {', '.join([*defaults, *extra])}")
    return knobs
