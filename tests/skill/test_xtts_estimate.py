"""The arithmetic of costs against coqui-tts's real classes: weights to the last one, memory that a layer keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts import estimate
from tts_train.backends.xtts.estimate import MEL_FRAMES, PUBLISHED, Load, Shape
from tts_train.backends.xtts.objective import Conditioning, Objective, collate
from tts_train.backends.xtts.voice import load_voice


def gpt(shape: Shape, device: str) -> Any:
    from TTS.tts.layers.xtts.gpt import GPT

    with torch.device(device):
        return GPT(
            layers=shape.layers,
            model_dim=shape.width,
            heads=shape.heads,
            number_text_tokens=shape.text_tokens,
            max_text_tokens=shape.text_positions - 2,
            max_mel_tokens=shape.mel_positions - 3,
            max_prompt_tokens=70,
            num_audio_tokens=1026,
            start_audio_token=1024,
            stop_audio_token=1025,
            use_perceiver_resampler=True,
        )


def counted(module: Any) -> dict[str, int]:
    parts = {name: sum(value.numel() for value in part.parameters()) for name, part in module.named_children()}
    return {name: count for name, count in parts.items() if count}


def test_the_published_size_has_exactly_these_weights() -> None:
    """30 layers, width 1024, 16 heads: coqui's class without memory behind it."""
    real = gpt(PUBLISHED, "meta")

    assert PUBLISHED.weights() == counted(real)
    assert PUBLISHED.total == sum(value.numel() for value in real.parameters()) == 441_018_563


def test_the_small_base_has_exactly_the_weights_that_are_trained(tiny_xtts: Path) -> None:
    base = bases.describe(tiny_xtts, "tiny")
    voice = load_voice(base)

    assert Shape.of(base).weights() == counted(voice.gpt)
    assert Shape.of(base).total == sum(value.numel() for value in voice.gpt.parameters())


class _Said:
    """A clip of so many tokens and codes."""

    def __init__(self, tokens: int, codes: int) -> None:
        self.tokens, self.codes, self.wav_length = [5] * tokens, [7] * codes, 1024 * codes


def kept_bytes(run: Callable[[], Any], *, own: Any) -> int:
    """Bytes of the tensors that autograd keeps, without the weights themselves."""
    weights = {value.untyped_storage().data_ptr() for value in own.parameters()}
    seen: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = (storage.nbytes(), value)  # held, so that no address is used twice
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        run()
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("layers", [1, 2])
def test_what_a_batch_keeps_is_about_what_is_reckoned(layers: int) -> None:
    shape = Shape(layers, 512, 8, 300, 204, 300)
    objective = Objective(gpt(shape, "cpu")).train()
    piece = Conditioning(torch.randn(80, MEL_FRAMES), 0, 4096)
    batch = collate([_Said(60, 120), _Said(60, 120)], [piece, piece])

    kept = kept_bytes(lambda: objective(batch), own=objective)

    length = estimate.LATENTS + 62 + 125
    reckoned = estimate.batch_bytes(shape, Load(2, 2 * length), bfloat16=False)
    assert kept == pytest.approx(reckoned, rel=0.2)
