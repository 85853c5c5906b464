"""What sources and numbers are called on a page."""

from __future__ import annotations

from tts_train.review.record.trials import ANCHOR, TARGET, epoch_of

BASE = "the base"
SPEAKER = "the real speaker"


def epoch_name(number: int) -> str:
    """An epoch for people; 0 is the untouched base."""
    return f"epoch {number}" if number else BASE


def source_name(source: str) -> str:
    """A source for people: "epoch-003", "target" or "anchor"."""
    if source in (TARGET, ANCHOR):
        return SPEAKER if source == TARGET else "the low anchor"
    number = epoch_of(source)
    return source if number is None else epoch_name(number)


def listed(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def plain(text: str) -> str:
    """Text of a person's for a markdown field: what Streamlit would take for markup stands as it was typed."""
    return "".join(f"\\{character}" if character in _MARKUP else character for character in text)


_MARKUP = "\\`*_{}[]()#+-.!|<>$:~"
