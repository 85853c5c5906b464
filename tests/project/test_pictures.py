"""Pictures of readings: where a playhead lies, scales that compare, colours that can be seen on any ground."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tts_train.audio import Audio
from tts_train.probe import pictures
from tts_train.probe.pictures import CLIPPED, LEVELS, PEAKS, Drawn, draw, log_mel

RATE = 22050
WHITE, NEAR_BLACK = (255, 255, 255), (14, 17, 23)


def _pixels(png: bytes, mode: str = "RGBA") -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert(mode)).astype(int)


def _tone(hertz: float, level: float = 0.5, seconds: float = 1.0) -> Audio:
    return Audio((level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32), RATE)


def test_both_are_as_wide_as_the_reading_is_long_and_fixed_in_height() -> None:
    for seconds, width in ((0.004, 1), (1.0, 100), (3.619, 362)):
        drawn = draw(_tone(200, seconds=seconds))
        assert _pixels(drawn.waveform).shape[:2] == (96, width)
        assert _pixels(drawn.mel).shape[:2] == (192, width)
        assert drawn.pixels_per_second * int(seconds * RATE) / RATE == pytest.approx(width, abs=0.01)


@pytest.mark.parametrize("second", [0.005, 1.237, 2.985])
def test_a_click_lies_where_the_playhead_will_be(second: float) -> None:
    samples = np.zeros(3 * RATE, np.float32)
    samples[int(second * RATE)] = 1.0
    drawn = draw(Audio(samples, RATE))
    column = int(second * drawn.pixels_per_second)
    lit = np.flatnonzero((_pixels(drawn.waveform)[..., 3] > 0).sum(axis=0) > 3)
    assert lit.tolist() == [column]
    bright = _pixels(drawn.mel, "RGB").sum(axis=(0, 2))
    reached = np.flatnonzero(bright > bright.min() + 200)
    assert abs(reached.mean() - column) <= 2 or second < 0.02
    assert len(reached) <= 6, "no wider than its window"


def test_levels_are_those_of_full_scale_and_bands_are_the_known_ones() -> None:
    import librosa

    known = librosa.filters.mel(
        sr=pictures.RATE,
        n_fft=pictures.WINDOW,
        n_mels=pictures.BANDS,
        fmax=pictures.TOP_HZ,
        norm=None,
        dtype=np.float64,
    )
    assert pictures._filters() == pytest.approx(known, abs=1e-9)
    centre = librosa.mel_frequencies(pictures.BANDS + 2, fmax=pictures.TOP_HZ)[61]
    for level in (0.0, -40.0):
        bands = log_mel(_tone(float(centre), 10 ** (level / 20)), 100)[:, 50]
        assert int(np.argmax(bands)) == 60
        assert bands[60] == pytest.approx(level, abs=2.5)  # a tone between two bins of the window


def test_the_same_colour_is_the_same_level_in_every_picture() -> None:
    """A quieter epoch is drawn darker and lower: nothing is scaled to itself."""
    loud, quiet = draw(_tone(500, 0.5)), draw(_tone(500, 0.05))
    assert _pixels(quiet.mel, "RGB").sum() < _pixels(loud.mel, "RGB").sum()
    heights = [(_pixels(drawn.waveform)[..., 3] > 0).sum(axis=0)[50] for drawn in (loud, quiet)]
    assert heights == [pytest.approx(48, abs=2), pytest.approx(5, abs=2)]
    assert _pixels(draw(Audio(np.zeros(RATE, np.float32), RATE)).mel, "RGB").max() <= 4


def test_low_sounds_are_at_the_bottom() -> None:
    low, high = (_pixels(draw(_tone(hertz)).mel, "RGB").sum(axis=2)[:, 50] for hertz in (200, 8000))
    assert np.argmax(low) > 170
    assert np.argmax(high) < 40


def test_columns_at_full_scale_are_marked() -> None:
    audio = _tone(3, 0.9)
    audio.samples[5000:5100] = 1.0
    colours = _pixels(draw(audio).waveform)
    red = np.flatnonzero((colours[..., :3] == CLIPPED).all(axis=2).any(axis=0))
    assert red.tolist() == [22, 23]


def test_the_waveform_can_be_told_from_white_and_from_near_black() -> None:
    """WCAG 2.2, 1.4.11: 3 to 1 for parts of a picture that matter."""
    for colour in (PEAKS, LEVELS, CLIPPED):
        for ground in (WHITE, NEAR_BLACK):
            assert _contrast(colour, ground) >= 3.0, (colour, ground)
    drawn = _pixels(draw(_tone(3)).waveform)
    assert {tuple(colour) for colour in drawn[drawn[..., 3] > 0][:, :3].tolist()} == {PEAKS, LEVELS}
    assert (drawn[..., 3] == 0).any()


def _contrast(one: tuple[int, int, int], two: tuple[int, int, int]) -> float:
    def luminance(colour: tuple[int, int, int]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_a_runaway_keeps_a_width_that_browsers_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_WIDTH", 250)
    drawn = draw(_tone(200, seconds=5.0))
    assert _pixels(drawn.mel).shape[1] == 250
    assert drawn.pixels_per_second == 50.0


def test_writing_names_both_files_and_gives_the_same_bytes(tmp_path: Path) -> None:
    audio = _tone(300)
    written = pictures.write(tmp_path, "bus.seed-1", audio)
    assert written == {"waveform": "bus.seed-1.waveform.png", "mel": "bus.seed-1.mel.png", "pixels_per_second": 100.0}
    again = draw(audio)
    assert again == Drawn(
        (tmp_path / "bus.seed-1.waveform.png").read_bytes(), (tmp_path / "bus.seed-1.mel.png").read_bytes(), 100.0
    )
