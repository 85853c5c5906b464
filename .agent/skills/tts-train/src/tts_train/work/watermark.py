"""An inaudible mark in speech that says a machine spoke: resemble-perth (MIT), whose network comes in its package.

It tells one thing, marked or not; no name and no number. It changes samples below 2 kHz, so it stays out of probe
renders: what is judged is what the model says. `infer` and `serve` put it in where they are asked to.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts_train.errors import InputUnusable, Unavailable
from tts_train.files import sha256_file
from tts_train.work.checkups.packages import set_up_again

if TYPE_CHECKING:
    from tts_train.audio import Audio

NAME = "resemble-perth/implicit-250000"
WINDOW_SECONDS = 10.0
_SHORTEST_SECONDS = 1.0
"""A last window shorter than this is not asked alone."""
_LIMIT = 0.5
"""Between 0 (plain speech) and 1."""
_FILES = {
    "hparams.yaml": "c66e8f8ce5b09d100e719843a064d37a97c5aec13510824343bf4e096b3184db",
    "perth_net_250000.pth.tar": "a15bce457ebc53ce5e6c9c3f11df78cf7ee2bf9cdab0a798902135b4c4027670",
}
"""A pickle, and what says how it is used: only these very files are read."""


def mark(audio: Audio) -> Audio:
    """The same speech with the mark in it, as long as it was. Raises Unavailable when it cannot be put in."""
    import numpy as np
    import torch

    from tts_train.audio import Audio

    network = _network()
    # Its transform drops the rest of the last hop, and wants more than one window.
    padded = np.pad(audio.samples, (0, audio.rate // 20))
    with torch.inference_mode():
        marked = network.apply_watermark(padded, audio.rate)
    return Audio(np.asarray(marked[: len(audio.samples)], np.float32), audio.rate)


def examine(file: str) -> dict[str, Any]:
    """Whether a recording is marked (worker entry): {watermark, marked, share, score, spans, audio_seconds}.

    `marked` is "yes", "in part" or "no"; `spans` are [start, end] in seconds of what is; `score` is the largest of
    any window, None for silence. Raises Unavailable, and AudioFault for what does not decode.
    """
    from tts_train.audio import Audio, probe_source, stream

    path = Path(file)
    rate = probe_source(path).rate
    scores: list[tuple[float, float, float]] = []
    heard = 0.0
    for samples in stream(path, rate, block_seconds=WINDOW_SECONDS):
        start, heard = heard, heard + len(samples) / rate
        if heard - start < _SHORTEST_SECONDS and start:
            continue
        found = score(Audio(samples, rate))
        if found is not None:
            scores.append((start, heard, found))
    if not heard:
        raise InputUnusable(f"{path} holds no samples", hint="name a recording")
    marked = [item for item in scores if item[2] >= _LIMIT]
    seconds = sum(end - start for start, end, _ in scores)
    share = sum(end - start for start, end, _ in marked) / seconds if seconds else 0.0
    return {
        "watermark": NAME,
        "marked": "no" if not marked else "yes" if len(marked) == len(scores) else "in part",
        "share": round(share, 3),
        "score": max((round(found, 3) for _, _, found in scores), default=None),
        "spans": [[round(start, 2), round(end, 2)] for start, end in _joined(marked)],
        "audio_seconds": round(heard, 2),
    }


def score(audio: Audio) -> float | None:
    """How surely the speech is marked, 0 to 1; None for silence. Raises Unavailable when that cannot be asked."""
    import numpy as np
    import torch

    network = _network()
    if not audio.samples.any():
        return None
    padded = np.pad(audio.samples, (0, audio.rate // 20))
    with torch.inference_mode():
        found = float(np.ravel(network.get_watermark(padded, audio.rate, round=False))[0])
    return found if np.isfinite(found) else None


def require() -> None:
    """Raise Unavailable, with the command that helps, unless speech can be marked here: to ask before it is spoken."""
    _network()


@functools.cache
def _network() -> Any:
    hint = set_up_again(Path(sys.prefix).name)  # an environment's folder is called as it is
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pkg_resources, which it imports, says that it is old
            import perth
    except ImportError as error:
        raise Unavailable("a watermark needs the package resemble-perth, which is not here", hint=hint) from error
    if perth.PerthImplicitWatermarker is None:
        # It swallows the ImportError of its own network: without this, speech would go out unmarked or crash.
        raise Unavailable(
            "resemble-perth has switched its watermark off: it needs pkg_resources, which setuptools 81 has dropped",
            hint=hint,
        )
    folder = Path(perth.__file__).parent / "perth_net/pretrained/implicit"
    for name, digest in _FILES.items():
        if not (folder / name).is_file() or sha256_file(folder / name) != digest:
            raise Unavailable(f"{folder / name} is not the file that resemble-perth 1.0.1 has", hint=hint)
    newer = sorted({path.name for path in folder.glob("*.pth.tar")} - set(_FILES))
    if newer:  # it would take the one with the highest number
        raise Unavailable(f"{folder} holds {newer[0]}, which is no file of resemble-perth 1.0.1", hint="remove it")
    with contextlib.redirect_stdout(sys.stderr):  # it tells of its steps
        return perth.PerthImplicitWatermarker()


def _joined(marked: list[tuple[float, float, float]]) -> Iterator[tuple[float, float]]:
    """Windows that touch as one span."""
    start = end = None
    for begins, ends, _ in marked:
        if end is not None and begins - end < 0.01:
            end = ends
            continue
        if start is not None and end is not None:
            yield start, end
        start, end = begins, ends
    if start is not None and end is not None:
        yield start, end
