"""When to end a training early: its epochs get no better, by what `report` and `next` name a best one by."""

from __future__ import annotations

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError
from tts_train.review.decision.evidence import read_evidence
from tts_train.review.decision.facts import best_epoch
from tts_train.review.decision.moves import load_moves
from tts_train.workspace import Workspace


def require_measures(config: TrainConfig) -> None:
    """Raise ConfigError unless every epoch is measured as soon as it is trained."""
    if config.probe is None or config.probe.when != "each-epoch":
        raise ConfigError(
            f"--patience judges every epoch of '{config.run}' by its probe",
            hint="set probe: {file: …, when: each-epoch}, with a target to measure similarity against",
        )


def out_of_patience(workspace: Workspace, run: str, patience: int) -> str | None:
    """Why to train no further: `patience` epochs were measured after the best one, or from the start when none is fit.

    The best one passes the gates and is most like the target; without a target the last that passes is the best. An
    epoch that could not be measured counts neither for nor against. None: go on. A function of what is on disk alone,
    so a run that was killed decides as one that was not.
    """
    evidence = read_evidence(workspace, run)
    best = best_epoch(evidence, load_moves().thresholds)
    first = best.epoch if best else 0
    since = sum(item.measures is not None and item.epoch > first for item in evidence.epochs)
    if since < patience:
        return None
    if best is None:
        return f"none of {since} measured epochs passes the gates"
    return f"epoch {first} is the best by gates and similarity; {since} measured after it are no better"


def is_measured(workspace: Workspace, run: str, epoch: int) -> bool:
    """Whether a published epoch was measured under the newest render key."""
    return read_evidence(workspace, run).at(epoch).measures is not None
