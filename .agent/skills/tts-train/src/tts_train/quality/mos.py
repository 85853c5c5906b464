"""How good a clip sounds, as a mean opinion score from 1 to 5, estimated by DistillMOS (Microsoft, MIT).

B. Stahl and H. Gamper, "Distillation and pruning for scalable self-supervised representation-based speech quality
assessment", ICASSP 2025. It hears 7.7 s at a time and fills up shorter clips with silence, which lowers their score:
clips of one studio voice scored 3.7 at 1.0-1.3 s and 4.5 at 5-8 s. Repeated until they fill the window they score 4.3
to 4.5 at every length, and 2.4 to 2.5 with noise at 15 dB (6 clips for each of 4 lengths).
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_train.errors import Unavailable

if TYPE_CHECKING:
    from tts_train.audio import Audio

RATE = 16000
WINDOW_SAMPLES = 122880
PAUSE_SAMPLES = RATE * 3 // 10
MOS_VERSION = "distillmos-0.9.1/1"


def mos(audio: Audio) -> float | None:
    """Estimated mean opinion score; None for an empty or silent clip. Raises Unavailable without distillmos."""
    import torch

    samples = audio.at(RATE).samples
    if not samples.any():
        return None
    filled = np.resize(np.pad(samples, (0, PAUSE_SAMPLES)), max(WINDOW_SAMPLES, len(samples)))
    with torch.inference_mode():
        score = float(_model()(torch.from_numpy(filled)[None]).item())
    return round(min(5.0, max(1.0, score)), 3)


@functools.cache
def _model() -> Any:
    try:
        import distillmos
    except ImportError as error:
        raise Unavailable("mos needs the package distillmos", hint="run.sh setup project") from error
    # It prints where its weights are.
    with contextlib.redirect_stdout(sys.stderr):
        return distillmos.ConvTransformerSQAModel().eval()
