"""The listening player in a Streamlit page: one component, mounted to review sources or to run one blind trial.

Mount it outside of any st.form: Streamlit takes no triggers there. Sound goes on through reruns as long as `key` and
`token` stay the same. Needs streamlit >= 1.67.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from tts_train.player.bundle import script, style

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["abx", "ab", "xab", "sheet"]
Tags = Mapping[str, Mapping[str, str]]
"""Source id → index of the word, as text → "mangled", "dropped" or "stretched"."""


@dataclass(frozen=True)
class Source:
    """One clip. `words` are {"word", "start", "end"} in seconds of this clip, the same words for every source.

    `gain_db` is applied at playback; 0 for copies that were matched in loudness already. `waveform` and `mel` are
    addresses of pictures whose time is linear over their whole width, from `pictured[0]` to `pictured[1]` seconds of
    the clip (None: the clip's own length); blind, they are not sent, nor is `key`, which selects the source instead of
    its place in the row.
    """

    id: str
    url: str
    label: str = ""
    words: Sequence[Mapping[str, Any]] = ()
    gain_db: float = 0.0
    reference: bool = False
    waveform: str | None = None
    mel: str | None = None
    pictured: tuple[float, float] | None = None
    key: str | None = None

    def data(self, *, blind: bool) -> dict[str, Any]:
        """What the browser is told. Nothing but the id, the address, times and gain when `blind`."""
        times = [{name: word.get(name) for name in ("word", "start", "end")} for word in self.words]
        told = {"id": self.id, "url": self.url, "words": times, "gain": 10.0 ** (self.gain_db / 20.0)}
        told["reference"] = self.reference
        if blind:
            return told
        pictures = {"waveform": self.waveform, "mel": self.mel}
        shown = {**pictures, "span": self.pictured} if any(pictures.values()) else None
        return {**told, "label": self.label or self.id, "pictures": shown, "key": self.key}


@dataclass(frozen=True)
class TranscriptWord:
    """A word as it is written, with its punctuation; `marker` names what to listen for in it."""

    text: str
    marker: str | None = None


@dataclass(frozen=True)
class Heard:
    """What was heard of one source: seconds, repetitions counted; whether all of it; how often it was started."""

    seconds: float
    whole: bool
    plays: int


@dataclass(frozen=True)
class Listened:
    """Where the listener is. `current` is None until the player was touched."""

    current: str | None = None
    heard: Mapping[str, Heard] = field(default_factory=dict)
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One confirmed answer; `nonce` is the same when one trial is sent twice.

    `seconds_heard` by side: first, second, x. `sheet` is None but for sheets: answers by question id, `words`
    {index, as text: fault} and `note`. `confidence` is 1 (a guess) to 5 (certain).
    """

    token: str
    answer: Literal["first", "second", "same", "sheet"]
    sheet: Mapping[str, Any] | None
    confidence: int | None
    seconds_heard: Mapping[str, float]
    replays: int
    nonce: str


def player(
    sources: Sequence[Source],
    *,
    key: str,
    token: str,
    transcript: Sequence[TranscriptWord] = (),
    blind: bool = False,
    tags: Tags | None = None,
    current: str | None = None,
) -> Listened:
    """Mount the player with all `sources` of one text; returns what the listener did until this rerun.

    `token` names the content: with another one the player takes new sources, `tags` and `current` (the id of the
    source to begin with); with the same one it goes on playing, whatever else is given. Blind, sources are called
    A, B, … and X (the reference), in the order given; ids and addresses must be opaque, which is the caller's part.
    The source, what was heard and tags arrive 0.35 s after a change, and at once before a click or Ctrl+key elsewhere.

    Raises ValueError for no sources, two of one id, or more than 26 blind ones.
    """
    ids = [source.id for source in sources]
    if not ids or len(set(ids)) < len(ids):
        raise ValueError("the player needs sources, each with an id of its own")
    if blind and len(ids) > len(string.ascii_uppercase):
        raise ValueError(f"{len(ids)} sources are too many to be told apart by letters")
    data = {
        "mode": "review",
        "token": token,
        "blind": blind,
        "sources": [source.data(blind=blind) for source in sources],
        "transcript": [vars(word) for word in transcript],
        "tags": {source: dict(words) for source, words in (tags or {}).items()},
        "current": current,
    }
    result = _component()(key=key, data=data, on_listened_change=_nothing, on_tags_change=_nothing)
    # State outlives a change of content: what it says of other sources is not about these.
    listened = result.get("listened") or {}
    heard = {name: Heard(**told) for name, told in listened.get("heard", {}).items() if name in ids}
    where = listened.get("current")
    tagged = {**(tags or {}), **(result.get("tags") or {})}
    return Listened(where if where in ids else None, heard, {name: tagged[name] for name in ids if tagged.get(name)})


def trial(
    token: str,
    kind: Kind,
    sides: Mapping[str, Source],
    *,
    key: str,
    question: str,
    transcript: Sequence[TranscriptWord] = (),
    answers: Mapping[str, str] | None = None,
    questions: Sequence[Mapping[str, Any]] = (),
    note: bool = False,
    gate: bool = True,
    refused: str | None = None,
) -> Answer | None:
    """Mount one blind trial; returns the answer in the one rerun that its confirmation causes, else None.

    `sides` by position: first (A), second (B), x (X). `answers` {first, second, same: label} replaces the kind's own.
    `questions` are those of a sheet: {"id", "label", "options": [{"value", "label"}], "many", "required"}. `gate`
    closes answers until each clip was heard whole. After an answer the trial is locked until another `token` comes,
    or `refused` says why the answer was not taken.
    """
    data = {
        "mode": "trial",
        "token": token,
        "kind": kind,
        "question": question,
        "sides": {side: source.data(blind=True) for side, source in sides.items()},
        "transcript": [vars(word) for word in transcript],
        "answers": None if answers is None else dict(answers),
        "questions": [dict(asked) for asked in questions],
        "note": note,
        "gate": gate,
        "refused": refused,
    }
    told = _component()(key=key, data=data, on_answer_change=_nothing).get("answer")
    return Answer(**told) if told and told["token"] == token else None


@cache
def _component() -> Callable[..., Any]:
    """Registered once per process: Streamlit warns of a second registration under one name."""
    import streamlit

    parts = ("words", "core", "dom", "deck", "review", "questions", "trial", "component")
    return streamlit.components.v2.component(
        "tts_train_player",
        html='<section class="ttp" aria-label="Listening player"></section>',
        css=style(),
        js=script(*parts),
    )


def _nothing() -> None:
    """A value arrives only under a name that has a callback."""
