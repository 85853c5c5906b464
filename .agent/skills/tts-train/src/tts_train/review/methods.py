"""The methods paragraph of a run's listening tests, from stored facts alone, for a paper or a model card to quote.

It tells what changes the outcome of a listening test and is too often left out (Chiang et al. 2023, arXiv:2306.02044):
design, blinding, randomisation, loudness, listeners, numbers, exclusions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tts_train.review.sessions.session_rows import Session
from tts_train.review.statistics.listening import counted
from tts_train.table import table

if TYPE_CHECKING:
    from tts_train.review.export import Said

_NAMES = {
    "abx": "ABX (which of two clips is X)",
    "ab": "AB (which of two clips is better; “same” allowed)",
    "xab": "XAB (whose accent is closer to X, the real speaker; “same” allowed)",
    "sheet": "verdict sheets (categories, marks on lexical sets and words)",
}
_ROLES = {
    "test": "test trials",
    "identical": "identical pairs",
    "repeat": "repeats with the sides swapped",
    "anchor": "low anchors (the same speech low-passed at 3.5 kHz, after ITU-R BS.1534)",
    "natural": "natural clips of the real speaker",
}


def methods_text(said: Said) -> str:
    """Markdown: one section per matter, then the sessions with their seeds."""
    closed = [session for session in said.sessions if session.closed_at]
    sections = {
        "Design": _design(said, closed),
        "Blinding and randomisation": _blinding(closed),
        "Material": _material(said, closed),
        "Listeners": _listeners(said),
        "Numbers and exclusions": _numbers(said, closed),
        "Software": _software(closed),
    }
    lines = [f"# Methods: listening to {said.run}", ""]
    for head, sentences in sections.items():
        if sentences:
            lines += [f"**{head}.** {' '.join(sentences)}", ""]
    return "\n".join([*lines, *_sessions(closed)]) + "\n"


def _design(said: Said, closed: Sequence[Session]) -> list[str]:
    if not closed:
        return [
            "No session was planned and closed; what was said stands in verdict sheets on epochs the listener knew."
        ]
    kinds = Counter(session.kind for session in closed)
    told = [f"{count} of {_NAMES[kind]}" for kind, count in kinds.items()]
    roles = Counter(trial["role"] for trial in said.trials)
    parts = [f"{roles[role]} {name}" for role, name in _ROLES.items() if roles[role]]
    sentences = [
        f"{_many(len(closed), 'session was', 'sessions were')} planned and closed: {_listed(told)}.",
        f"They hold {_listed(parts)}. The untouched base (epoch 0) is hidden among the epochs.",
        "The number of trials of a session was fixed before its first answer, controls included.",
    ]
    early = sum(session.answered < session.trials for session in closed)
    if early:
        sentences.append(f"{_many(early, 'session was', 'sessions were')} closed before all trials were answered.")
    return sentences


def _blinding(closed: Sequence[Session]) -> list[str]:
    blind = [session for session in closed if session.blind]
    sentences = []
    if blind:
        count = _many(len(blind), "session was", "sessions were")
        sentences.append(
            f"{count} blind: clips had random names, and neither epochs nor scores were shown before the session was "
            "closed. Pairs, items, sides and order were drawn with the seeds below; each pair has either side first "
            "equally often, and no source was played in two trials running where that could be avoided."
        )
    if len(blind) < len(closed):
        sighted = len(closed) - len(blind)
        sentences.append(f"{_many(sighted, 'session was', 'sessions were')} sighted and counted nowhere.")
    return sentences


def _material(said: Said, closed: Sequence[Session]) -> list[str]:
    if not closed:
        return []
    items = {trial["item"] for trial in said.trials}
    seeds = sorted({trial["seed"] for trial in said.trials})
    gains = [
        gain
        for trial in said.trials
        for side in ("first", "second", "x")
        if (gain := trial.get(f"{side}_gain_db")) is not None
    ]
    levels = sorted({(session.facts["loudness_lufs"], session.facts["true_peak_dbtp"]) for session in closed})
    rates = sorted({session.facts["rate"] for session in closed})
    loud = _listed([f"{level:g} LUFS with a true peak of at most {peak:g} dBTP" for level, peak in levels])
    keys = sorted({session.render_key for session in closed})
    under = "key" if len(keys) == 1 else "keys, never mixed in a session:"
    format_ = f"16-bit mono at {_listed([f'{rate / 1000:g} kHz' for rate in rates])}"
    return [
        f"{_many(len(items), 'item', 'items')} of the probe, sampling {_seeds(seeds)}; all epochs spoke the same texts",
        f"with the same seeds and settings (render {under} {_listed(keys)}). Clips were matched to {loud}",
        f"(ITU-R BS.1770-4) by gains of {min(gains):+.1f} to {max(gains):+.1f} dB, trimmed alike and written as",
        f"{format_}; nothing else was changed.",
    ]


def _listeners(said: Said) -> list[str]:
    if not said.profiles:
        return []
    wear = {True: "headphones", False: "loudspeakers", None: "headphones or loudspeakers not told"}
    told = [
        f"{name} ({profile.region or 'region not told'}; {wear[profile.headphones]})"
        for name, profile in said.profiles.items()
    ]
    return [f"{_many(len(told), 'listener', 'listeners')}: {_listed(told)}."]


def _numbers(said: Said, closed: Sequence[Session]) -> list[str]:
    answered = sum(session.answered for session in closed)
    planned = sum(session.trials for session in closed)
    outside = [row for row in said.verdicts if row["session"] is None]
    sentences = []
    if closed:
        sentences.append(f"{answered} of {planned} planned trials were answered.")
    if outside:
        sentences.append(
            f"{_many(len(outside), 'verdict sheet was', 'verdict sheets were')} given on epochs the "
            "listener knew (sighted)."
        )
    if said.replaced:
        sentences.append(
            f"{_many(said.replaced, 'answer was', 'answers were')} changed before the session was closed; "
            "the last one counts."
        )
    stale = sum(bool(row["stale"]) for row in (*said.verdicts, *said.trials))
    if stale:
        sentences.append(f"{stale} verdicts or trials are on weights that their epoch no longer has and do not count.")
    judged = counted(said.judgements)
    sentences += [f"Listener {name} is excluded: {why}." for name, why in sorted(judged.excluded.items())]
    reasons = {why: count for why, count in judged.left_out.items() if count}
    if reasons:
        told = _listed([f"{count} ({why})" for why, count in sorted(reasons.items())])
        sentences.append(f"Of {len(said.judgements)} answers to ABX, AB and XAB trials these are not counted: {told}.")
    elif said.judgements:
        sentences.append("No answer to an ABX, AB or XAB trial was left out.")
    waiting = len(said.sessions) - len(closed)
    if waiting:
        sentences.append(f"{_many(waiting, 'session is', 'sessions are')} still open and not told here.")
    return sentences


def _software(closed: Sequence[Session]) -> list[str]:
    versions = sorted({str(session.facts["tts_train"]) for session in closed})
    return [f"Planned and recorded with tts-train {_listed(versions)}."] if versions else []


def _sessions(closed: Sequence[Session]) -> list[str]:
    if not closed:
        return []
    head = ("session", "kind", "blind", "listener", "trials", "answered", "seed", "planned", "closed")
    return table(
        head,
        [
            (
                row.id,
                row.kind,
                "yes" if row.blind else "no",
                row.listener,
                row.trials,
                row.answered,
                row.seed,
                row.at,
                row.closed_at,
            )
            for row in closed
        ],
    )


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {_listed([str(seed) for seed in seeds])}"


def _listed(parts: Iterable[str]) -> str:
    *most, last = list(parts) or ["nothing"]
    return f"{', '.join(most)} and {last}" if most else last
