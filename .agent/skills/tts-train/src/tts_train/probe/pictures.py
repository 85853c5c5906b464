"""Pictures of a reading: its waveform and its log-mel spectrogram, made to lie under a playhead.

Time is linear over the whole width, without margins, and every scale is fixed, so that two epochs' pictures compare.
The waveform stands on a transparent ground in colours that can be told from white and from near-black.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tts_train.audio import Audio
from tts_train.files import atomic_write_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""Raised when they are drawn in another way: older pictures are then drawn again."""

RATE = 24000
PIXELS_PER_SECOND = 100.0
MAX_WIDTH = 30_000
"""Browsers draw no wider picture: a runaway of five minutes and more gets fewer pixels per second."""

WAVEFORM_HEIGHT = 96
PEAKS, LEVELS, CLIPPED = (74, 134, 206), (35, 107, 184), (214, 57, 57)
"""Highest and lowest sample of a column, RMS within, and columns that reach full scale."""
FULL_SCALE = 0.999

BANDS = 96
BAND_PIXELS = 2
TOP_HZ = 12000.0
WINDOW = 1024
FLOOR_DB, CEILING_DB = -100.0, -20.0
"""The colours' range: level of a band, in dB of a full-scale sine."""

_MAP = np.array(
    (
        (0, 0, 4),
        (40, 17, 89),
        (101, 26, 128),
        (159, 47, 127),
        (212, 72, 104),
        (245, 125, 95),
        (254, 187, 129),
        (252, 253, 191),
    )
)
"""Stations of a map whose lightness rises evenly (matplotlib's magma, CC0)."""


@dataclass(frozen=True)
class Drawn:
    """Two pictures of one width; a time t lies at t * pixels_per_second from the left."""

    waveform: bytes
    mel: bytes
    pixels_per_second: float


def draw(audio: Audio) -> Drawn:
    """PNGs of the reading. The same samples give the same bytes."""
    width = min(max(1, round(audio.seconds * PIXELS_PER_SECOND)), MAX_WIDTH)
    return Drawn(_waveform(audio, width), _mel(audio, width), round(width / audio.seconds, 4))


def write(folder: Path, name: str, audio: Audio) -> dict[str, str | float]:
    """Write NAME.waveform.png and NAME.mel.png into `folder`; returns their names and pixels_per_second."""
    drawn = draw(audio)
    files = {"waveform": f"{name}.waveform.png", "mel": f"{name}.mel.png"}
    atomic_write_bytes(folder / files["waveform"], drawn.waveform)
    atomic_write_bytes(folder / files["mel"], drawn.mel)
    return {**files, "pixels_per_second": drawn.pixels_per_second}


def log_mel(audio: Audio, width: int) -> NDArray[np.float64]:
    """Level in dB of a full-scale sine, shape (96 bands from low to high, width); column k is centred on its pixel."""
    samples = audio.at(RATE).samples.astype(np.float64)
    centres = np.round((np.arange(width) + 0.5) * len(samples) / width).astype(int)
    padded = np.pad(samples, WINDOW // 2)
    window = np.hanning(WINDOW)
    power = np.empty((WINDOW // 2 + 1, width))
    for start in range(0, width, 1000):  # a runaway would fill the memory
        part = centres[start : start + 1000]
        frames = padded[part[:, None] + np.arange(WINDOW)] * window
        power[:, start : start + len(part)] = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).T
    level: NDArray[np.float64] = 10.0 * np.log10(_filters() @ power / (window.sum() / 2.0) ** 2 + 1e-12)
    return level


def _mel(audio: Audio, width: int) -> bytes:
    share = (log_mel(audio, width) - FLOOR_DB) / (CEILING_DB - FLOOR_DB)
    shades = np.round(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)[::-1]
    return _png(np.repeat(shades, BAND_PIXELS, axis=0), _palette())


def _waveform(audio: Audio, width: int) -> bytes:
    """Full scale is the full height, for every reading."""
    samples = audio.samples.astype(np.float64)
    edges = np.linspace(0, len(samples), width + 1).astype(int)
    starts = np.minimum(edges[:-1], len(samples) - 1)
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    level = np.sqrt(np.add.reduceat(samples**2, starts) / np.maximum(np.diff(edges), 1))
    # Heights of the pixels' edges: a pixel is lit where the column's range touches it.
    top = np.linspace(1.0, -1.0, WAVEFORM_HEIGHT + 1)[:, None]
    image = np.zeros((WAVEFORM_HEIGHT, width), np.uint8)
    for colour, (down, up) in enumerate(((low, high), (np.maximum(-level, low), np.minimum(level, high))), 1):
        image[(top[1:] <= up) & (top[:-1] >= down)] = colour
    clipped = np.maximum(-low, high) >= FULL_SCALE
    image[:, clipped] = np.where(image[:, clipped] > 0, 3, 0)
    return _png(image, [(0, 0, 0), PEAKS, LEVELS, CLIPPED], transparent=0)


@cache
def _filters() -> NDArray[np.float64]:
    """Triangles of height 1, evenly spaced on the Slaney mel scale up to TOP_HZ; shape (96, 513).

    The scale is linear up to 1 kHz and logarithmic above (Slaney 1998, Auditory Toolbox), as in librosa, whose import
    takes longer than all pictures of a run.
    """
    linear, log = 200.0 / 3.0, np.log(6.4) / 27.0
    top = 1000.0 / linear + np.log(TOP_HZ / 1000.0) / log
    mels = np.linspace(0.0, top, BANDS + 2)
    knee = 1000.0 / linear
    edges = np.where(mels < knee, mels * linear, 1000.0 * np.exp((mels - knee) * log))
    bins = np.fft.rfftfreq(WINDOW, 1.0 / RATE)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0.0, np.minimum(rise, fall))


@cache
def _palette() -> tuple[tuple[int, ...], ...]:
    places = np.linspace(0, len(_MAP) - 1, 256)
    channels = [np.interp(places, np.arange(len(_MAP)), _MAP[:, channel]) for channel in range(3)]
    return tuple(tuple(round(part) for part in colour) for colour in zip(*channels, strict=True))


def _png(image: NDArray[np.uint8], palette: Sequence[Sequence[int]], transparent: int | None = None) -> bytes:
    """A picture of palette indices, shape (height, width)."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.putpalette([part for colour in palette for part in colour])
    buffer = io.BytesIO()
    more = {} if transparent is None else {"transparency": transparent}
    picture.save(buffer, "PNG", compress_level=6, **more)
    return buffer.getvalue()
