"""Speaker vectors: the one place where a reference recording becomes the embedding that the talker is given.

One recording at a time, never padded: the encoder's input is a log spectrogram, in which 0 is loud, and the encoder
has no mask (zeros to 1.6 times the length change the vector by more than half of its norm).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.audio import read_audio
from tts_train.errors import InputUnusable

if TYPE_CHECKING:
    from qwen_tts import Qwen3TTSModel
    from torch import Tensor, nn

RATE = 24000
SHORTEST_SECONDS = 1.0
STORED = ".safetensors"
"""A reference with this ending is a vector already (of a checkpoint whose recording is not known)."""
TENSOR = "speaker_vector"


def speaker_vector(wrapper: Qwen3TTSModel, reference: Path) -> Tensor:
    """The vector (hidden,) of a recording, float32 on the CPU wherever and in whatever type the model is.

    At 24 kHz mono it is bit-equal to qwen-tts's `create_voice_clone_prompt(x_vector_only_mode=True)`. Raises
    InputUnusable when the model has no speaker encoder, or the recording is shorter than a second or not finite.
    """
    import torch
    from qwen_tts.core.models.modeling_qwen3_tts import mel_spectrogram

    hidden = wrapper.model.config.talker_config.hidden_size
    if reference.suffix == STORED:
        return _stored(reference, hidden)
    if wrapper.model.speaker_encoder is None:
        raise InputUnusable(
            "this model has no speaker encoder, so no recording can be turned into a voice with it",
            hint="name the -Base model as base",
        )
    audio = read_audio(reference, RATE)
    if audio.seconds < SHORTEST_SECONDS:
        raise InputUnusable(
            f"the reference {reference} has {audio.seconds:.2f} s, at least {SHORTEST_SECONDS:.0f} s are needed",
            hint="choose a clip of 3 to 15 s that is typical of the voice",
        )
    with torch.no_grad():
        mels = mel_spectrogram(
            torch.from_numpy(audio.samples).unsqueeze(0),
            n_fft=1024,
            num_mels=128,
            sampling_rate=RATE,
            hop_size=256,
            win_size=1024,
            fmin=0,
            fmax=12000,
        ).transpose(1, 2)
        vector: Tensor = _on_cpu(wrapper.model.speaker_encoder)(mels)[0].clone()
    return _checked(vector, reference, hidden)


def _stored(file: Path, hidden: int) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        vector = load_file(file)[TENSOR].float()
    except (SafetensorError, KeyError, OSError) as error:
        raise InputUnusable(f"{file} holds no {TENSOR}: {error}", hint="adopt the run again") from error
    return _checked(vector, file, hidden)


def _checked(vector: Tensor, source: Path, hidden: int) -> Tensor:
    if tuple(vector.shape) != (hidden,):
        raise InputUnusable(
            f"the speaker vector of {source} has shape {tuple(vector.shape)}, this model takes ({hidden},)",
            hint="0.6B and 1.7B have vectors of their own: name the base that the run began with",
        )
    if not vector.isfinite().all():
        raise InputUnusable(f"the speaker vector of {source} is not finite", hint="choose another reference")
    return vector


def _on_cpu(encoder: nn.Module) -> nn.Module:
    """The encoder in float32 on the CPU; a copy when the model is elsewhere or in another type."""
    import copy

    import torch

    weight = next(encoder.parameters())
    if weight.device.type == "cpu" and weight.dtype == torch.float32:
        return encoder
    return copy.deepcopy(encoder).to("cpu", torch.float32)
