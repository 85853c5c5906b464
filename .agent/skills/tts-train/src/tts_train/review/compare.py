"""compare: which epoch of a run, from blind trials, with everything else that is known beside it.

Blind closed trials alone decide (preference.py). Sheets, gates, measures and schedule stand beside each epoch: they
inform and warn, and never make or unmake a winner in silence. Nothing is averaged over listeners who disagree.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from tts_train.review.commandline import YOUR_NAME, command_line
from tts_train.review.comparison_text import comparison_text
from tts_train.review.decision.evidence import EpochEvidence, Evidence, read_evidence
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.trials import Judgement, epoch_of, judgements_of
from tts_train.review.record.verdicts import HARM, Verdict, current
from tts_train.review.statistics.agreement import mark_agreement, trial_agreement
from tts_train.review.statistics.bradley_terry import PRIOR, as_json
from tts_train.review.statistics.intervals import wilson
from tts_train.review.statistics.listening import Counted, abx, controls, counted, source
from tts_train.review.statistics.preference import Preference, prefer
from tts_train.workspace import Workspace

QUESTIONS = {"ab": "preferred", "xab": "closer to the real speaker"}


def compare(workspace: Workspace, run: str) -> dict[str, Any]:
    """Compare the epochs of a run.

    Returns {run, render_key, winner, decided_by, why, undecided {more_trials, why} | None, epochs, trials {ab, xab},
    conflicts, cautions, excluded, left_out, listeners, agreement, prior, command, text}. `winner` is an epoch (0: the
    base) or None. Raises InputUnusable when there is no such run or it has published nothing.
    """
    evidence = read_evidence(workspace, run)
    judgements = judgements_of(workspace, run)
    key = _trial_key(judgements, evidence.render_key)
    trials = counted(judgements, key)
    verdicts = current(verdicts_of(workspace, run))
    found = {kind: prefer(kind, _between_epochs(trials.tests(kind), evidence)) for kind in QUESTIONS}
    winner, decided_by, why = _verdict_of(found)
    who = controls(judgements, key)
    result: dict[str, Any] = {
        "run": run,
        "render_key": key,
        "winner": winner,
        "decided_by": decided_by,
        "why": why,
        "undecided": None if decided_by else {"more_trials": _more(found), "why": why},
        "epochs": [_row(item, found, trials, verdicts, evidence) for item in evidence.epochs],
        "trials": {kind: _told(preference) for kind, preference in found.items()},
        "conflicts": _conflicts(found, verdicts),
        "cautions": _cautions(winner, found, verdicts, evidence, key),
        "excluded": [{"listener": name, "why": rule} for name, rule in sorted(trials.excluded.items())],
        "left_out": trials.left_out,
        "listeners": [item.as_json() for item in who],
        "agreement": {
            "trials": trial_agreement([item for item in trials.judgements if item.role == "test"], who),
            "marks": mark_agreement(_marks(verdicts)),
        },
        "prior": f"{PRIOR} win and {PRIOR} loss of every epoch against an imagined opponent of strength 0",
        "command": _command(workspace, run, winner, decided_by, _more(found)),
    }
    return {**result, "text": comparison_text(result)}


def _trial_key(judgements: Sequence[Judgement], newest: str | None) -> str | None:
    """The newest render key where it was listened to, else the one that was listened to most; never a mixture."""
    if any(item.render_key == newest and item.blind and item.closed for item in judgements):
        return newest
    heard = counted(judgements).judgements
    return heard[0].render_key if heard else newest


def _between_epochs(trials: Iterable[Judgement], evidence: Evidence) -> list[Judgement]:
    """Trials between two epochs that are still there; the real speaker and the anchor are no contenders."""
    there = {source(item.epoch) for item in evidence.epochs}
    return [item for item in trials if {item.first, item.second} <= there]


def _verdict_of(found: Mapping[str, Preference]) -> tuple[int | None, str | None, str]:
    """(winner, kind that decided, why). AB decides; XAB where there is no AB trial; both must not contradict."""
    ab, xab = found["ab"], found["xab"]
    first = ab if ab.trials or not xab.trials else xab
    if first.winner is None:
        beside = f"; {xab.winner} is closest to the real speaker (XAB)" if first is ab and xab.winner else ""
        return None, None, first.why + beside
    if first is ab and xab.winner not in (None, ab.winner):
        return None, None, f"AB trials prefer {ab.winner}, but XAB trials find {xab.winner} closer to the real speaker"
    return epoch_of(first.winner), first.kind, first.why


def _more(found: Mapping[str, Preference]) -> int | None:
    first = found["xab"] if found["xab"].trials and not found["ab"].trials else found["ab"]
    return None if first.winner else first.more_trials


def _row(
    item: EpochEvidence,
    found: Mapping[str, Preference],
    trials: Counted,
    verdicts: Sequence[Verdict],
    evidence: Evidence,
) -> dict[str, Any]:
    measures, bound = item.measures, evidence.sum_lr(item.epoch)
    heard = abx(trials.judgements, item.epoch) if item.epoch else None
    return {
        "epoch": item.epoch,
        **{kind: _standing(preference, source(item.epoch)) for kind, preference in found.items()},
        "abx": vars(heard) if heard and heard.n else None,
        "verdicts": [_sheet(verdict) for verdict in verdicts if verdict.epoch == item.epoch],
        "good": [
            verdict.listener for verdict in verdicts if verdict.epoch == item.epoch and verdict.heard == ("good",)
        ],
        "harm": _harm(verdicts, item.epoch),
        "stale": item.stale,
        "gates_failed": {name: measures.gates[name].detail for name in sorted(measures.failed_gates)}
        if measures
        else None,
        "speaker_similarity": measures.speaker_similarity if measures else None,
        "wer": measures.wer if measures else None,
        "target_wer": measures.target_wer if measures else None,
        "contrasts": {
            name: {key: value for key, value in vars(contrast).items() if key != "sets"}
            for name, contrast in (measures.contrasts if measures else {}).items()
        },
        "sum_lr": bound.actual if bound else None,
    }


def _standing(preference: Preference, name: str) -> dict[str, Any] | None:
    """Strength against the mean of the others and the plain record; None for an epoch that was not compared."""
    model = preference.model
    if model is None or name not in model.names:
        return None
    wins, losses, same = model.record(name)
    n = wins + losses + same
    plain = wilson(wins + same / 2, n)
    rival = next((rival for rival in preference.rivals if rival.name == name), None)
    return {
        **as_json(model.strength(name)),
        "wins": wins,
        "losses": losses,
        "same": same,
        "n": n,
        "wins_share": round((wins + same / 2) / n, 3),
        "wins_low": round(plain.low, 3),
        "wins_high": round(plain.high, 3),
        "leads": name == preference.leader,
        "p_tie_with_leader": round(rival.p, 4) if rival else None,
    }


def _told(preference: Preference) -> dict[str, Any]:
    """One question's answer."""
    model = preference.model
    return {
        "question": QUESTIONS[preference.kind],
        "trials": preference.trials,
        "listeners": list(preference.listeners),
        "rounds": preference.rounds,
        "level": round(preference.level, 4),
        "generalises_to": list(model.resampled) if model else [],
        "leader": preference.leader and epoch_of(preference.leader),
        "winner": preference.winner and epoch_of(preference.winner),
        "why": preference.why,
        "more_trials": preference.more_trials,
    }


def _sheet(verdict: Verdict) -> dict[str, Any]:
    return {
        "listener": verdict.listener,
        "heard": list(verdict.heard),
        "markers": dict(verdict.markers),
        "words": dict(verdict.words),
        "blind": verdict.blind,
        "region": verdict.region,
        "said": verdict.quoted(),
    }


def _harm(verdicts: Sequence[Verdict], epoch: int) -> dict[str, list[str]]:
    here = [verdict for verdict in verdicts if verdict.epoch == epoch]
    found = {name: [item.listener for item in here if name in item.heard] for name in sorted(HARM)}
    return {name: listeners for name, listeners in found.items() if listeners}


def _conflicts(found: Mapping[str, Preference], verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """Who contradicts whom: in trials, and between sheets on one epoch."""
    told = [{"kind": kind, "said": item.quoted()} for kind, preference in found.items() for item in preference.opposed]
    ab, xab = found["ab"].winner, found["xab"].winner
    if ab and xab and ab != xab:
        told.append({"kind": "ab-xab", "said": f"{ab} is preferred, but {xab} is closer to the real speaker"})
    for epoch in sorted({verdict.epoch for verdict in verdicts}):
        here = [verdict for verdict in verdicts if verdict.epoch == epoch]
        good = [verdict for verdict in here if "good" in verdict.heard]
        bad = [verdict for verdict in here if set(verdict.heard) & HARM and "good" not in verdict.heard]
        if good and bad:
            told.append({"kind": "sheets", "said": f"{good[0].quoted()} {bad[0].quoted()}"})
    return told


def _cautions(
    winner: int | None,
    found: Mapping[str, Preference],
    verdicts: Sequence[Verdict],
    evidence: Evidence,
    key: str | None,
) -> list[str]:
    """What speaks against taking the answer as it stands."""
    told = []
    if key != evidence.render_key and any(preference.trials for preference in found.values()):
        told.append(f"trials were heard on render key {key}, measures are of {evidence.render_key}")
    told += [
        f"{kind.upper()}: {len(preference.listeners)} listener(s) are too few to stand for others"
        for kind, preference in found.items()
        if preference.model and "listeners" not in preference.model.resampled
    ]
    if winner is None:
        return told
    measures = evidence.at(winner).measures
    if measures and measures.failed_gates:
        told.append(f"epoch {winner} fails the gates {', '.join(sorted(measures.failed_gates))}")
    told += [f"epoch {winner} was heard as {name} by {', '.join(who)}" for name, who in _harm(verdicts, winner).items()]
    if winner == 0:
        told.append("the untouched base is preferred: training made it worse")
    return told


def _marks(verdicts: Sequence[Verdict]) -> dict[Hashable, dict[str, str]]:
    marks: dict[Hashable, dict[str, str]] = {}
    for verdict in verdicts:
        for name, mark in verdict.markers.items():
            marks.setdefault((verdict.epoch, name), {})[verdict.listener] = mark
    return marks


def _command(workspace: Workspace, run: str, winner: int | None, decided_by: str | None, more: int | None) -> str:
    """What to type next: more blind trials, the next training move, or shipping."""
    if decided_by is None and more is not None:
        return command_line(
            workspace, "session", "new", run, "--kind", "ab", "--listener", YOUR_NAME, "--trials", str(more)
        )
    if winner:
        return command_line(workspace, "ship", run, str(winner))
    return command_line(workspace, "next", run)
