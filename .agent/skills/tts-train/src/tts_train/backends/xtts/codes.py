"""Audio codes of a clip: 1024 of them, one for 1024 samples, by the base's DVAE.

A clip is encoded alone and followed by silence. Stock training encodes batches padded with silence, so there the last
codes of a clip depend on what it is batched with: most clips are followed by silence, the longest of each batch by
nothing, which the encoder hears as loud. With enough silence behind it, a clip has the same codes in every batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tts_train.backends.xtts import base as bases
from tts_train.backends.xtts.base import CODE_STRIDE, SAMPLE_RATE
from tts_train.backends.xtts.objective import code_count
from tts_train.backends.xtts.voice import read_pickle
from tts_train.errors import InputUnusable, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from TTS.tts.layers.tortoise.arch_utils import TorchMelSpectrogram

    from tts_train.backends.xtts.base import Base

CODES = 1024
SILENCE = 8 * CODE_STRIDE
"""Samples of silence behind a clip. A code hears six codes and three frames to its right, half a window more: 7424."""

_NEEDED = ("encoder.", "codebook.embed")
"""Weights that encoding reads; the decoder is never run."""


class Encoder:
    """The base's DVAE on the CPU, where its codes are the same on every machine and for every number of threads."""

    def __init__(self, base: Base, mel_stats: Tensor) -> None:
        """Raises InputUnusable for a dvae.pth that is damaged or of another model."""
        from TTS.tts.layers.xtts.dvae import DiscreteVAE

        self._mel = spectrogram(mel_stats, window=1024)
        # The sizes are fixed in coqui-tts's GPTTrainer.
        self._dvae = DiscreteVAE(
            channels=80,
            normalization=None,
            positional_dims=1,
            num_tokens=CODES,
            codebook_dim=512,
            hidden_dim=512,
            num_resnet_blocks=3,
            kernel_size=3,
            num_layers=2,
            use_transposed_convs=False,
        )
        file = base.folder / bases.DVAE
        state = read_pickle(file)
        if not isinstance(state, Mapping):
            raise InputUnusable(f"{file} holds no weights", hint="download or copy it again")
        wanted = {name: value for name, value in self._dvae.state_dict().items() if name.startswith(_NEEDED)}
        wrong = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
        if wrong:
            raise InputUnusable(
                f"{file} is not XTTS-v2's: {len(wrong)} tensors are missing or of another shape, such as {wrong[0]}",
                hint=f"hf download {bases.HUB_ID} {bases.DVAE} --local-dir FOLDER",
                problems=[Problem(f"{name} does not fit", str(file)) for name in wrong[:12]],
            )
        self._dvae.load_state_dict({name: state[name] for name in wanted}, strict=False)
        self._dvae.eval()

    def codes(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """(n,) samples → (ceil(n / 1024),) codes, 0 to 1023."""
        heard = functional.pad(as_float(samples), (0, SILENCE))[None]
        with torch.inference_mode(), _one_thread():
            found = self._dvae.get_codebook_indices(self._mel(heard))[0, : code_count(len(samples))]
        codes: NDArray[np.int16] = found.numpy().astype(np.int16)
        return codes


def as_float(samples: NDArray[np.int16]) -> Tensor:
    """float32 in [-1, 1), shape as given."""
    return torch.from_numpy(samples.astype(np.float32) / 32768)


def spectrogram(mel_stats: Tensor, *, window: int) -> TorchMelSpectrogram:
    """coqui-tts's own log-mel spectrogram of 80 bands, hop 256. `window`: FFT size, 1024 for codes, 2048 for voices."""
    from TTS.tts.layers.tortoise.arch_utils import TorchMelSpectrogram

    made = TorchMelSpectrogram(
        filter_length=window,
        hop_length=256,
        win_length=1024,
        n_mel_channels=80,
        mel_fmin=0,
        mel_fmax=8000,
        sampling_rate=SAMPLE_RATE,
        mel_norm_file=None,  # its default is an address on the network
    )
    made.mel_norms = mel_stats.clone()
    return made


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
