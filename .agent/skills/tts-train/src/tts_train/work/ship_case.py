"""What is known of an epoch that is to be shipped, and everything that speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tts_train.backends import backend
from tts_train.dataset import CARD, NO_CONSENT, Card, load_card
from tts_train.errors import UsageError
from tts_train.files import read_json
from tts_train.probe.keys import NOT_HEARD
from tts_train.review.decision.evidence import Evidence, read_evidence
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.trials import judgements_of
from tts_train.review.record.verdicts import HARM, Verdict, current
from tts_train.training.run import Epoch, RunFolder
from tts_train.work.adopt import DATASET as ADOPTED
from tts_train.workspace import Workspace
from tts_train.yaml_config import load_yaml, validate


@dataclass(frozen=True)
class Refusal:
    """One thing that speaks against shipping. `kind`: consent, gates, measures or verdict."""

    kind: str
    message: str


@dataclass(frozen=True)
class Case:
    """All that is known of the epoch to be shipped."""

    run: RunFolder
    epoch: Epoch
    key: str | None
    card: Card | None
    card_text: str | None
    verdicts: tuple[Verdict, ...]
    """The last of each listener on this epoch."""
    trials: tuple[dict[str, Any], ...]
    """Answers of closed sessions in which it was heard."""
    refusals: tuple[Refusal, ...]

    @property
    def name(self) -> str:
        return f"{self.run.name}-epoch-{self.epoch.number:03d}"

    @property
    def confirmed_by(self) -> list[str]:
        """Who judged it good; nobody while somebody hears harm in it."""
        if any(HARM & set(verdict.heard) for verdict in self.verdicts):
            return []
        return [verdict.listener for verdict in self.verdicts if "good" in verdict.heard]


def read_case(workspace: Workspace, run: str, number: int, card: Path | None = None) -> Case:
    """Gather it. `card` stands in for that of a dataset that is not known here.

    Raises InputUnusable for a pruned epoch, ConfigError for one that is not published or a wrong card, UsageError when
    the dataset has a card of its own.
    """
    folder = RunFolder(workspace.run(run))
    epoch = folder.epoch(number)
    epoch.require_weights()
    evidence = read_evidence(workspace, run)
    found, text = _card(workspace, folder, card)
    source = f"epoch-{number:03d}"
    trials = tuple(
        asdict(item)
        for item in judgements_of(workspace, run)
        if item.closed and source in (item.first, item.second, item.x)
    )
    verdicts = tuple(item for item in current(verdicts_of(workspace, run)) if item.epoch == number)
    refusals = (*_consent(found), *_measures(workspace, folder, evidence, number), *_harm(verdicts))
    return Case(folder, epoch, evidence.render_key, found, text, verdicts, trials, refusals)


def _card(workspace: Workspace, run: RunFolder, given: Path | None) -> tuple[Card | None, str | None]:
    """The dataset's card as it is today (consent can be withdrawn), else the one that is `given`."""
    dataset = run.config().dataset
    own = workspace.path(dataset).parent / CARD
    if dataset != ADOPTED and own.is_file():
        if given is not None and given.resolve() != own:
            raise UsageError(f"run '{run.name}' has a card: {own}", hint="correct that one; --card is for unknown data")
        return load_card(own.parent), own.read_text(encoding="utf-8")
    if given is None:
        return None, None
    return validate(Card, load_yaml(given), given), given.read_text(encoding="utf-8")


def _consent(card: Card | None) -> list[Refusal]:
    if card is None:
        message = (
            "no card says whose voice it is and whether they agreed (--card FILE with source, licence, speaker, …)"
        )
        return [Refusal("consent", message)]
    if card.consent_basis == NO_CONSENT:
        return [Refusal("consent", f"the card says that {card.speaker} has not consented (consent_basis: none)")]
    return []


def _measures(workspace: Workspace, run: RunFolder, evidence: Evidence, number: int) -> list[Refusal]:
    """What is not measured, not of these weights or this way of speaking, and every gate that failed."""
    here, again = evidence.at(number), f"run.sh probe {run.name}"
    if here.stale:
        return [Refusal("measures", f"other weights spoke its render ({again})")]
    if evidence.render_key is None or here.measures is None:
        return [Refusal("measures", f"it was not rendered and measured ({again})")]
    changed = _changed(workspace, run, evidence.render_key)
    if changed:
        return [Refusal("measures", f"it was judged with {changed} ({again})")]
    base = evidence.base
    failed_too = base.failed_gates if base else frozenset()
    return [
        Refusal("gates", _gate(name, gate.detail, failed_too))
        for name, gate in here.measures.gates.items()
        if not gate.passed
    ]


def _gate(name: str, detail: str, failed_too: frozenset[str]) -> str:
    told = f": {detail}" if detail else ""
    return f"gate {name} failed{told}{' (the base fails it as well)' if name in failed_too else ''}"


def _changed(workspace: Workspace, run: RunFolder, key: str) -> str:
    """In what the renders' way of speaking differs from today's; "" when it does not."""
    noted, config = read_json(run.path / "renders" / key / "key.json"), run.config()
    family = backend(config.backend)
    heard = {name: value for name, value in run.voice(workspace).items() if name not in NOT_HEARD}
    if noted["inference_version"] != family.inference_version:
        return f"an older way of speaking ({noted['inference_version']}, now {family.inference_version})"
    return "" if noted["setting"].get("voice", {}) == heard else "other facts of the voice than run.json has now"


def _harm(verdicts: Sequence[Verdict]) -> list[Refusal]:
    return [Refusal("verdict", verdict.quoted()) for verdict in verdicts if HARM & set(verdict.heard)]
