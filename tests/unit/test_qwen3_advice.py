"""Advice before a Qwen3-TTS training: each remark when it is due, and not otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tts_train.backends.qwen3.advice import Outlook, advise, defaults
from tts_train.config import TrainConfig

FINE = Outlook(
    size="0.6B",
    clips=400,
    steps_per_epoch=50,
    padding=0.02,
    longest_seconds=12,
    language="english",
    clip_languages={"english": 400},
    on_cpu=False,
    is_real=True,
)
LORA = {"lora": {"rank": 16}}


def remarks(outlook: Outlook = FINE, **changes: Any) -> str:
    good = {"voice": "ann", "backend": "qwen3", "dataset": "m.jsonl", "epochs": 6, "lr": 1e-5, "batch_size": 8}
    return "\n".join(advise(TrainConfig.model_validate({**good, **changes}), outlook))


def test_nothing_is_said_of_a_usual_training() -> None:
    assert remarks() == ""
    assert remarks(qwen3=LORA, lr=1e-4) == ""


def test_the_documented_rate_is_accepted_with_its_reasons() -> None:
    text = remarks(lr=1e-4)

    assert "50 times upstream's README (2e-06)" in text
    assert "10 times what the one project" in text
    assert "shifted target" in text
    assert "Accepted" in text
    assert "begin with 5e-06" in remarks(replace(FINE, size="1.7B"), lr=1e-4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr": 2e-5}, ""),
        ({"lr": 5e-5}, "25 times upstream's"),
        ({"lr": 1e-6}, ""),
        ({"lr": 9e-7}, "below 1e-6"),
        ({"lr": 1e-8}, "below 1e-6"),
        ({"lr": 1e-4, "qwen3": LORA}, ""),
        ({"lr": 2e-3, "qwen3": LORA}, "high even for LoRA"),
        ({"lr": 2e-6, "qwen3": LORA}, "low for LoRA"),
        ({"qwen3": {"save_dtype": "bfloat16"}}, "some 3e-03 at most"),
        ({"qwen3": {"subtalker_frames": 0.25}}, "25% of the frames"),
        ({"qwen3": {**LORA, "freeze": ["text_embedding"]}, "lr": 1e-4}, "changes nothing"),
        ({"qwen3": {"freeze": ["text_embedding"]}}, ""),
        ({"epochs": 1}, "50 optimizer steps in all"),
        ({"schedule": {"warmup_steps": 101}}, "warm-up takes 101 of 300"),
        ({"schedule": {"warmup_steps": 100}}, ""),
        ({"schedule": {"shape": "cosine", "horizon_steps": 6}}, "lr is 0 from step 6 of 300"),
        ({"schedule": {"shape": "constant", "horizon_steps": 6}}, ""),
        ({"schedule": {"shape": "linear"}}, ""),
        ({"validation_clips": 101}, "101 clips are held out"),
    ],
)
def test_settings(changes: dict[str, Any], expected: str) -> None:
    text = remarks(**changes)

    assert expected in text
    assert bool(text) == bool(expected)
    assert len(text.splitlines()) <= 1


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"steps_per_epoch": 9, "epochs": 20}, "only 9 optimizer steps an epoch"),
        ({"padding": 0.11}, "11% of the positions"),
        ({"longest_seconds": 31}, "lasts 31 s"),
        ({"on_cpu": True}, "no GPU"),
        ({"on_cpu": True, "is_real": False}, ""),
        ({"language": "auto"}, "all tagged english"),
        ({"language": "auto", "clip_languages": {"auto": 400}}, ""),
        ({"language": "auto", "clip_languages": {"": 400}}, "name no language"),
        ({"language": "auto", "clip_languages": {"english": 300, "german": 100}}, ""),
        ({"clip_languages": {"english": 300, "german": 100}}, "english (300), german (100)"),
        ({"clip_languages": {"": 400}}, ""),
    ],
)
def test_facts(facts: dict[str, Any], expected: str) -> None:
    epochs = facts.pop("epochs", 6)
    text = remarks(replace(FINE, **facts), epochs=epochs)

    assert expected in text
    assert len(text.splitlines()) == bool(expected)


def test_bfloat16_arithmetic_on_a_cpu() -> None:
    assert "precision bfloat16 on a CPU" in remarks(replace(FINE, on_cpu=True, is_real=False), precision="bfloat16")
    assert remarks(precision="bfloat16") == ""


def test_defaults_raise_no_remark_themselves() -> None:
    for size in ("0.6B", "1.7B", "some other"):
        for lora in (False, True):
            start = defaults(size, lora=lora)
            settings = {"qwen3": LORA} if lora else {}
            assert remarks(replace(FINE, size=size), lr=start.lr, batch_size=start.batch_size, **settings) == ""
