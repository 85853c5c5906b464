"""The review sheet: which epoch a verdict is on, what it would lead to, and what is still missing to save it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from player.component import Heard, Listened, Tags, TranscriptWord
from tts_train.errors import ConfigError
from tts_train.probe.probe import Marker, Probe
from tts_train.review.decision.ears import Ears
from tts_train.review.decision.evidence import Evidence
from tts_train.review.decision.moves import Decision, decide
from tts_train.review.record.trials import TARGET, epoch_of
from tts_train.review.record.verdicts import CATEGORIES, WORD_FAULTS, Verdict, current
from tts_train.review.sessions.sheets import bare, markers_in
from views.names import epoch_name, source_name

JUDGED, FAILED = "✓", "✗"
"""On a clip's button: judged by this listener, failed a gate."""


@dataclass
class Sitting:
    """One listener at one run, between reruns of the page."""

    epoch: int | None = None
    """The trained epoch that was heard last, or that is to be heard next: a verdict is on this one."""
    saves: int = 0
    heard: set[int] = field(default_factory=set)
    tags: dict[tuple[str, int], dict[str, dict[str, str]]] = field(default_factory=dict)
    """(Item, seed) → source → index of the word, as text → fault."""
    texts: dict[str, list[str]] = field(default_factory=dict)
    """Item → its words as they were shown."""
    told: str = ""
    """What the last verdict came to."""
    tried: bool = False
    """Whether somebody tried to save since."""
    refused: str = ""
    """Why that verdict was not taken."""

    def token(self, run: str, key: str, item: str, seed: int) -> str:
        """Names the player's content: another one after each verdict, as then it begins anew."""
        return f"{run}/{key}/{item}/{seed}/{self.saves}"

    def listen(self, listened: Listened, item: str, seed: int, words: Sequence[str]) -> str | None:
        """Take in what the player reports; its ids are a token and a source. Returns the source that is heard.

        The base and the real speaker are there to compare with: they leave the verdict on the epoch before.
        """
        heard = {_source(name): about for name, about in listened.heard.items()}
        self.heard |= {epoch for source, about in heard.items() if (epoch := _trained(source, about)) is not None}
        source = None if listened.current is None else _source(listened.current)
        epoch = epoch_of(source) if source else None
        if epoch:
            self.epoch = epoch
        self.tags[item, seed] = {_source(name): dict(tagged) for name, tagged in listened.tags.items()}
        self.texts[item] = list(words)
        return source

    def tagged(self, token: str, item: str, seed: int) -> Tags:
        """What was tagged before, in the player's form."""
        return {f"{token}/{source}": tagged for source, tagged in self.tags.get((item, seed), {}).items()}

    def words(self) -> dict[str, str]:
        """Faults of words in the judged epoch, over all texts that were tagged; of two faults the graver."""
        faults: dict[str, str] = {}
        for (item, _), sources in self.tags.items():
            for source, tagged in sources.items():
                if epoch_of(source) != self.epoch:
                    continue
                for index, fault in tagged.items():
                    word = bare(self.texts[item][int(index)])
                    faults[word] = min(faults.get(word, fault), fault, key=WORD_FAULTS.index)
        return faults

    def missing(self, heard: Sequence[str], listener: str) -> str:
        """What keeps a verdict from being saved, in words; "" when nothing does."""
        if self.epoch is None:
            return "There is no trained epoch to judge."
        if not listener:
            return "Say who is listening first: a verdict is one person's."
        if not heard:
            return "Choose what you hear first."
        if self.epoch not in self.heard:
            return f"Listen to {epoch_name(self.epoch)} first: a verdict is on what was heard."
        return ""

    def save(self, following: int | None, told: str) -> None:
        """Go on after a verdict, to the epoch that is to be judged next, or stay."""
        self.saves += 1
        self.tried, self.refused = False, ""
        self.epoch = self.epoch if following is None else following
        self.told = told


def judged_by(listener: str, verdicts: Sequence[Verdict]) -> dict[int, Verdict]:
    """Epoch → what the listener said of it last."""
    name = " ".join(listener.split())
    return {verdict.epoch: verdict for verdict in current(verdicts) if verdict.listener == name}


def next_unjudged(epochs: Sequence[int], judged: Mapping[int, Verdict], after: int | None) -> int | None:
    """The next trained epoch to judge, from `after` on and then from the start; None when all are judged."""
    waiting = sorted(epoch for epoch in epochs if epoch and epoch not in judged)
    later = [epoch for epoch in waiting if after is not None and epoch > after]
    return next(iter(later or waiting), None)


def clip_label(source: str, evidence: Evidence, judged: Mapping[int, Verdict]) -> str:
    """What a clip's button says."""
    if source == TARGET:
        return "real speaker"
    epoch = epoch_of(source) or 0
    marks = [JUDGED] * (epoch in judged) + [FAILED] * bool(failed_gates(evidence, epoch))
    return " ".join(["base" if not epoch else f"epoch {epoch}", *marks])


def clip_key(source: str) -> str | None:
    """The digit that selects a clip: its epoch's number, 0 for the base; None from epoch 10 on."""
    epoch = epoch_of(source)
    return str(epoch) if epoch is not None and epoch <= 9 else None


def bound_to(epoch: int | None, source: str | None) -> str:
    """Which epoch the sheet is on, and why, when another clip is heard."""
    if epoch is None:
        return ""
    if source is None or epoch_of(source) == epoch:
        return "The verdict is on what you hear."
    return f"You hear {source_name(source)}. The verdict is on the epoch you heard before."


def transcript(words: Sequence[str], probe: Probe | None) -> list[TranscriptWord]:
    """The text, with what to listen for in it; controls should not change, so nothing is to be heard in them."""
    marked = markers_in(probe, words)
    return [TranscriptWord(word, _told_set(marked.get(bare(word)))) for word in words]


def marker_labels(probe: Probe | None, words: Sequence[str]) -> dict[str, str]:
    """Every marker of the probe, whatever the text, so that marks outlive a change of it: set → label."""
    here: dict[str, list[str]] = {}
    for word, marker in markers_in(probe, words).items():
        here.setdefault(marker.set, []).append(word)
    markers = [marker for marker in (probe.markers if probe else []) if marker.role == "marker"]
    return {
        marker.set: f"{marker.set}: {', '.join(here[marker.set])}" if marker.set in here else f"{marker.set}: not here"
        for marker in markers
    }


def implied_moves(evidence: Evidence, epoch: int) -> dict[str, str]:
    """Category → the move that follows from it alone, by the rules of moves.yaml and this run's evidence."""
    try:
        return {
            category: move_text(decide(evidence, Ears((Verdict(evidence.run, epoch, "somebody", (category,)),))))
            for category in CATEGORIES
        }
    except ConfigError:
        return {}


def move_text(decision: Decision) -> str:
    """A move in a few words."""
    if decision.listen:
        return f"listen to {epoch_name(decision.epoch)} first"
    named = " + ".join([decision.move, *decision.also])
    if decision.move == "rewind":
        return f"{named} to {epoch_name(decision.epoch)}"
    if decision.move == "lower-lr-continue":
        return f"{named} from {epoch_name(decision.epoch)}"
    return named


def failed_gates(evidence: Evidence, epoch: int) -> dict[str, str]:
    """Gates an epoch failed, with the detail; empty where nothing was measured."""
    measures = next((item.measures for item in evidence.epochs if item.epoch == epoch), None)
    if measures is None:
        return {}
    return {name: gate.detail for name, gate in measures.gates.items() if not gate.passed}


def measured_text(evidence: Evidence, epoch: int) -> str:
    """What was measured of an epoch, in one line."""
    about = next((item for item in evidence.epochs if item.epoch == epoch), None)
    if about is None:
        return ""
    if about.stale:
        return "Measures are left out: they are of renders of other weights."
    if about.measures is None:
        return "Not measured yet."
    told = []
    if about.measures.speaker_similarity is not None:
        told.append(f"similarity {about.measures.speaker_similarity:.3f}")
    if about.measures.wer is not None:
        told.append(f"WER {about.measures.wer:.1%}")
    if about.sum_lr is not None:
        told.append(f"Σlr {about.sum_lr:.2g}")
    return " · ".join(told)


def saved_text(verdict: Verdict, following: int | None) -> str:
    """What is said after a verdict was recorded."""
    done = f"Saved: {epoch_name(verdict.epoch)}, {', '.join(verdict.heard)}."
    return done if following is None else f"{done} Next: {epoch_name(following)}."


def progress_text(epochs: Sequence[int], judged: Mapping[int, Verdict]) -> str:
    """How much of what can be heard the listener has judged."""
    done = sum(epoch in judged for epoch in epochs)
    if epochs and done == len(epochs):
        return "Every epoch that can be heard is judged; the next move is on the Runs page."
    return f"{done} of {len(epochs)} epochs judged."


def _source(name: str) -> str:
    return name.rpartition("/")[2]


def _trained(source: str, about: Heard) -> int | None:
    """The trained epoch behind a source that really sounded."""
    return (epoch_of(source) or None) if about.seconds > 0 else None


def _told_set(marker: Marker | None) -> str | None:
    return marker.set if marker and marker.role == "marker" else None
