"""A run's evidence and what was said of it, without files: for tests of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from finished_run import KEY, STEPS_PER_EPOCH, TARGET_WER, Story, config_of
from tts_train.backends import backend
from tts_train.review.decision.evidence import EpochEvidence, Evidence
from tts_train.review.decision.measured import Contrast, Gate, Measures
from tts_train.review.record.trials import Judgement
from tts_train.review.record.verdicts import CATEGORIES, Verdict
from tts_train.training.schedule import sum_lr


def evidence_of(
    story: Story,
    *,
    measured: bool = True,
    steps: int = STEPS_PER_EPOCH,
    loss: Sequence[float] | None = None,
    places: Mapping[int, float] | None = None,
    **changes: object,
) -> Evidence:
    """A run of `story`. `loss` per epoch from 1 on; `places`: epoch → t of foot_strut, give or take 0.1."""
    config = config_of("demo", {**story.changes, **changes})
    epochs = []
    for number in range(config.epochs + 1):
        wer = story.wer[number]
        contrasts = {"foot_strut": _contrast(places[number])} if places and number in places else {}
        measures = Measures(
            wer=wer,
            target_wer=TARGET_WER,
            speaker_similarity=story.similarity[number],
            mel_distance=story.mel[number],
            contrasts=contrasts,
            gates={"wer": Gate(wer <= TARGET_WER + 0.03)},
        )
        step = number * steps
        moved = sum_lr(step, peak=config.lr, schedule=config.schedule, total_steps=config.epochs * steps)
        here = 2.0 if loss is None else (loss[number - 1] if number else None)
        epochs.append(EpochEvidence(number, step, moved, moved * 3, here, measures if measured else None))
    return Evidence("demo", config, tuple(epochs), backend("piper").recipe, render_key=KEY)


def adopted(evidence: Evidence) -> Evidence:
    """The same epochs, trained elsewhere."""
    epochs = tuple(replace(item, step=None, sum_lr=None) if item.epoch else item for item in evidence.epochs)
    return replace(evidence, epochs=epochs, trained_here=False, lr_known=False)


def heard(epoch: int, *categories: str, listener: str = "ann", **more: object) -> Verdict:
    return Verdict("demo", epoch, listener, tuple(name for name in CATEGORIES if name in categories), **more)


def trials(
    epoch: int, wins: int, *, of: int, kind: str = "abx", same: int = 0, listener: str = "ann", **more: object
) -> list[Judgement]:
    """Blind trials of an epoch against the base in a closed session: ABX with `wins` correct, or choices with `wins`.

    Sides alternate, so that nobody is taken for answering by side.
    """
    sources = (f"epoch-{epoch:03d}", "epoch-000")
    made = []
    for number in range(of + same):
        first, second = sources if number % 2 else sources[::-1]
        liked = sources[0] if number < wins else sources[1]
        side = "same" if number >= of else "first" if first == liked else "second"
        x = {"abx": sources[0], "xab": "target"}.get(kind)
        made.append(
            Judgement(
                **{
                    "session": f"s-{kind}-{listener}",
                    "number": number + 1,
                    "kind": kind,
                    "role": "test",
                    "listener": listener,
                    "region": "",
                    "item": f"item-{number}",
                    "seed": 0,
                    "first": first,
                    "second": second,
                    "x": x,
                    "answer": side,
                    "blind": True,
                    "confidence": None,
                    "render_key": KEY,
                    "closed": True,
                    **more,
                }
            )
        )
    return made


def _contrast(t: float) -> Contrast:
    sets = frozenset({"FOOT", "STRUT"})
    return Contrast(1.0, 0.8, 1.2, "shown", t, t - 0.1, t + 0.1, overshot=t - 0.1 > 1.2, sets=sets)
