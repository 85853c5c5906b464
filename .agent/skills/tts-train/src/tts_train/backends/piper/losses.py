"""Spectral distance between short windows of audio, and between durations: the terms of the training loss.

Magnitudes, not phases: the generator was trained adversarially and its phases are its own business.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

MELS = 80
MEL_WEIGHT, STFT_WEIGHT, DURATION_WEIGHT = 1.0, 0.25, 0.1
"""Weights of the terms, as in the run that was shown to work."""

_FLOOR = 1e-5
_MEL_FFT, _MEL_HOP = 1024, 256
_RESOLUTIONS = ((512, 128), (2048, 512))
"""(window, hop) in samples; one is sharper in time, the other in frequency, than the mel term."""


class SpectralLoss(nn.Module):
    """Log-mel and two-resolution STFT distances between (batch, samples) tensors at `rate` Hz."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        bank = melscale_fbanks(_MEL_FFT // 2 + 1, 0.0, rate / 2, MELS, rate, norm="slaney", mel_scale="slaney")
        self.register_buffer("bank", bank.T.contiguous(), persistent=False)
        for size in (_MEL_FFT, *(size for size, _ in _RESOLUTIONS)):
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, spoken: Tensor, target: Tensor) -> dict[str, Tensor]:
        """{"mel", "stft"}, weighted."""
        mel = functional.l1_loss(self.log_mel(spoken), self.log_mel(target))
        stft = torch.zeros((), device=spoken.device)
        for size, hop in _RESOLUTIONS:
            ours, theirs = self.magnitudes(spoken, size, hop), self.magnitudes(target, size, hop)
            stft = stft + functional.l1_loss(ours.log(), theirs.log()) + (ours - theirs).norm() / theirs.norm()
        return {"mel": MEL_WEIGHT * mel, "stft": STFT_WEIGHT * stft}

    def log_mel(self, samples: Tensor) -> Tensor:
        """Natural log of mel magnitudes, (batch, 80, samples / 256)."""
        magnitudes = self.magnitudes(samples, _MEL_FFT, _MEL_HOP)
        return (cast("Tensor", self.bank) @ magnitudes).clamp_min(_FLOOR).log()

    def magnitudes(self, samples: Tensor, size: int, hop: int) -> Tensor:
        """STFT magnitudes, (batch, size / 2 + 1, samples / hop); mirrored edges make frames tile the samples."""
        margin = (size - hop) // 2
        padded = functional.pad(samples.unsqueeze(1), (margin, margin), mode="reflect").squeeze(1)
        window = cast("Tensor", getattr(self, f"window_{size}"))
        return torch.stft(padded, size, hop, size, window, center=False, return_complex=True).abs().clamp_min(_FLOOR)


def duration_loss(log_durations: Tensor, durations: Tensor, mask: Tensor) -> Tensor:
    """Weighted mean squared error of log durations, each (batch, phonemes); every clip counts the same.

    Speaking rounds up, so the target lies half a frame below the whole number: a prediction that errs to both sides
    alike then keeps the pace.
    """
    wanted = (durations.clamp_min(1).to(log_durations.dtype) - 0.5).log()
    squared = (log_durations - wanted) ** 2 * mask
    return DURATION_WEIGHT * (squared.sum(1) / mask.sum(1)).mean()
