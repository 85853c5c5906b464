"""Ears: all that listeners said of a run, the sheets and the blind trials, and what it means epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError
from tts_train.probe.probe import load_probe
from tts_train.review.decision.evidence import Evidence
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.trials import Judgement, epoch_of, judgements_of
from tts_train.review.record.verdicts import HARM, Verdict, current
from tts_train.review.statistics.intervals import MIN_DECISIVE, clopper_pearson
from tts_train.review.statistics.listening import Abx, abx, abx_epochs, counted, source
from tts_train.workspace import Workspace

DIFFERENCE, NO_DIFFERENCE = "difference", "no-difference"
"""What blind ABX trials can say, besides that they cannot tell yet."""

_BY_MARK = {"overshot": "overshot", "mangled": "mangled"}
_BY_FAULT = {"dropped": "mangled", "mangled": "mangled"}


@dataclass(frozen=True)
class Choices:
    """Blind choices between an epoch and the base: liked better (AB), or closer to the real speaker (XAB)."""

    kind: str
    epoch: int
    wins: int
    losses: int
    same: int

    @property
    def base_wins(self) -> bool:
        """Whether the base is chosen beyond chance: Clopper-Pearson, 95 %."""
        n = self.wins + self.losses
        return n >= MIN_DECISIVE and clopper_pearson(self.wins, n).high < 0.5

    def quoted(self) -> str:
        how = "preferred" if self.kind == "ab" else "closer to the real speaker"
        same = f", no difference {self.same} times" if self.same else ""
        counts = f"{self.wins} times, the base {self.losses} times{same}"
        return f"Blind {self.kind.upper()}: epoch {self.epoch} was {how} {counts}."


@dataclass(frozen=True)
class Ears:
    """The last word of each listener on each trained epoch, and the blind trials of it against the base."""

    last_words: tuple[Verdict, ...] = ()
    abx: Mapping[int, Abx] = field(default_factory=dict)
    """Epoch → ABX trials against epoch 0, where there are any."""
    choices: tuple[Choices, ...] = ()
    not_counted: Mapping[str, int] = field(default_factory=dict)
    """Why answers to trials do not count (sighted, session still open, …) → how many."""
    stale: tuple[str, ...] = ()
    """What was left out because the weights it was said of are no more, as sentences."""
    native: Mapping[str, bool] = field(default_factory=dict)
    """Listener → whether they come from where the probe's accent is spoken; who is not here is not known."""

    @cached_property
    def said(self) -> dict[int, frozenset[str]]:
        """Epoch → everything that sheets say of it, with what their marks mean, and that trials hear no difference."""
        heard: dict[int, frozenset[str]] = {}
        for verdict in self.last_words:
            heard[verdict.epoch] = heard.get(verdict.epoch, frozenset()) | meaning(verdict)
        for epoch in self.unheard:
            if not heard.get(epoch, frozenset()) & HARM:
                heard[epoch] = heard.get(epoch, frozenset()) | {NO_DIFFERENCE}
        for epoch, trials in self.abx.items():
            if trials.heard == DIFFERENCE and NO_DIFFERENCE in heard.get(epoch, ()):
                heard[epoch] = heard[epoch] - {NO_DIFFERENCE} | {"faint"}
        return heard

    @property
    def unheard(self) -> list[int]:
        """Epochs that blind trials cannot tell from the base."""
        return [epoch for epoch, trials in sorted(self.abx.items()) if trials.heard == NO_DIFFERENCE]

    @property
    def good(self) -> list[Verdict]:
        """Verdicts on epochs that everybody who judged them found good, and nothing else."""
        return [verdict for verdict in self.last_words if self.said[verdict.epoch] == {"good"}]

    def on(self, epoch: int) -> list[Verdict]:
        """Last words on one epoch."""
        return [verdict for verdict in self.last_words if verdict.epoch == epoch]


def meaning(verdict: Verdict) -> frozenset[str]:
    """What a sheet says in categories: those that were heard, and harm that only its marks name."""
    marks = {_BY_MARK[mark] for mark in verdict.markers.values() if mark in _BY_MARK}
    faults = {_BY_FAULT[fault] for fault in verdict.words.values() if fault in _BY_FAULT}
    return frozenset(verdict.heard) | marks | faults


def read_ears(workspace: Workspace, evidence: Evidence) -> Ears:
    """All that counts of what was said of a run; asking does not create the database."""
    run, published = evidence.run, {item.epoch for item in evidence.epochs}
    verdicts = [verdict for verdict in verdicts_of(workspace, run) if verdict.epoch in published]
    trials = [trial for trial in judgements_of(workspace, run) if _epochs(trial) <= published]
    ears = ears_of(verdicts, trials, evidence.render_key, _regions(workspace, evidence.config))
    known = {verdict.id for verdict in verdicts_of(workspace, run)}
    gone = [
        f"{verdict.listener}'s verdict on epoch {verdict.epoch} ({', '.join(verdict.heard)})"
        for verdict in verdicts_of(workspace, run, stale=True)
        if verdict.id not in known
    ]
    answers = len(judgements_of(workspace, run, stale=True)) - len(judgements_of(workspace, run))
    gone += [f"{answers} answer{'' if answers == 1 else 's'} to trials"] if answers else []
    return replace(ears, stale=tuple(gone))


def ears_of(
    verdicts: Sequence[Verdict],
    trials: Sequence[Judgement] = (),
    render_key: str | None = None,
    regions: Sequence[str] = (),
) -> Ears:
    """What counts of all that was said: `verdicts` in the order given, `trials` under one render key.

    `regions` are where the probe's accent is spoken: who comes from there is a native listener.
    """
    people = [(item.listener, item.region) for item in trials] + [(item.listener, item.region) for item in verdicts]
    told = {name: region for name, region in people if region}
    count = counted(trials, render_key)
    results = {epoch: abx(trials, epoch, render_key=render_key) for epoch in abx_epochs(count.judgements) if epoch}
    return Ears(
        last_words=tuple(verdict for verdict in current(verdicts) if verdict.epoch > 0),
        abx=results,
        choices=(*_choices(count.tests("ab")), *_choices(count.tests("xab"))),
        not_counted=count.left_out,
        native=_native(told, regions),
    )


def _choices(trials: Sequence[Judgement]) -> list[Choices]:
    """Choices against the base, epoch by epoch."""
    counts: dict[str, list[int]] = {}
    for trial in trials:
        others = {trial.first, trial.second} - {source(0)}
        if len(others) != 1 or not trial.first.startswith("epoch-") or not trial.second.startswith("epoch-"):
            continue
        (name,) = others
        chosen = {"first": trial.first, "second": trial.second}.get(trial.answer)
        counts.setdefault(name, [0, 0, 0])[2 if chosen is None else int(chosen != name)] += 1
    return [
        Choices(trials[0].kind, number, *counts[name])
        for name in sorted(counts)
        if (number := epoch_of(name)) is not None
    ]


def _epochs(trial: Judgement) -> set[int]:
    return {number for name in (trial.first, trial.second) if (number := epoch_of(name)) is not None}


def _regions(workspace: Workspace, config: TrainConfig) -> Sequence[str]:
    """Where the probe's accent is spoken; none without a readable probe."""
    if config.probe is None:
        return ()
    try:
        return load_probe(workspace.path(config.probe.file)).regions
    except ConfigError:
        return ()


def _native(told: Mapping[str, str], regions: Sequence[str]) -> dict[str, bool]:
    """Of listeners that said where they come from; of nobody when the probe does not say where its accent is spoken."""
    spoken = [f" {_plain(region)} " for region in regions]
    if not spoken:
        return {}
    return {name: any(place in f" {_plain(region)} " for place in spoken) for name, region in told.items()}


def _plain(region: str) -> str:
    """Lower-case words: `Bolton, Lancashire` is from `Lancashire`."""
    return " ".join("".join(letter if letter.isalnum() else " " for letter in region.casefold()).split())
