"""The measures of a clip in a report: their names, units, and which end of them is worth a listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """`spread` is the least deviation (in the measure's unit) that counts as one step away from the median.

    `worry` names the end where a clip is worth a listen; None: neither. `scale` turns the stored number into the shown.
    `filter` is what --filter calls it, where that is another name.
    """

    name: str
    label: str
    unit: str = ""
    digits: int = 1
    worry: Literal["low", "high", "both"] | None = None
    spread: float = 0.0
    chart: bool = False
    scale: float = 1.0
    filter: str = ""

    def shown(self, value: float, *, unit: bool = True, more: int = 0) -> str:
        """The number as a person reads it, −23.4 LUFS, with `more` digits than usual."""
        number = f"{value * self.scale:.{self.digits + more}f}".replace("-", "−")
        if float(number.replace("−", "-")) == 0:
            number = number.lstrip("−")
        return f"{number} {self.unit}" if unit and self.unit else number


MEASURES = (
    Measure("audio_seconds", "Duration", "s", 1, None, 0.5, chart=True, filter="duration"),
    Measure("loudness_lufs", "Loudness", "LUFS", 1, "both", 1.0, chart=True, filter="loudness"),
    Measure("snr_db", "Signal to noise", "dB", 1, "low", 2.0, chart=True, filter="snr"),
    Measure("mos", "Predicted quality (MOS)", "", 2, "low", 0.15, chart=True),
    Measure("words_per_second", "Pace", "words/s", 1, "both", 0.25, chart=True),
    Measure("characters_per_second", "Pace of letters", "characters/s", 1, "both", 1.5, chart=True),
    Measure("bandwidth_hz", "Bandwidth", "kHz", 1, "low", 500.0, chart=True, scale=0.001, filter="bandwidth"),
    Measure("speaker_similarity", "Similarity to the speaker", "", 2, "low", 0.03, chart=True),
    Measure("speaker_outlier", "Distance from the speaker", "deviations", 1, "high", 1.0, filter="speaker"),
    Measure("two_speakers", "Change of voice inside", "deviations", 1, "high", 1.0),
    Measure("other_language", "Another language", "%", 0, "high", 0.2, scale=100.0, filter="language"),
    Measure("duplicate_similarity", "Likeness to its twin", "", 2, filter="duplicate"),
    Measure("wer", "Word errors on a second hearing", "%", 0, "high", 0.05, chart=True, scale=100.0),
    Measure("log_probability", "Surety of the recogniser", "", 2, "low", 0.1),
    Measure("silence_ratio", "Silence inside", "%", 0, "high", 0.1, scale=100.0, filter="silence"),
    Measure("leading_seconds", "Before the speech", "s", 2, "high", 0.1, filter="leading"),
    Measure("trailing_seconds", "After the speech", "s", 2, "high", 0.1, filter="trailing"),
    Measure("clipped_ratio", "Clipped samples", "%", 2, "high", 0.0005, scale=100.0, filter="clipping"),
    Measure("peak_dbfs", "Peak", "dBFS"),
    Measure("rms_dbfs", "Level", "dBFS"),
    Measure("gain_db", "Gain", "dB"),
    Measure("source_rate", "Source's rate", "kHz", scale=0.001),
)
"""In the order of a report."""

BY_NAME = {measure.name: measure for measure in MEASURES}
BY_FILTER = {measure.filter or measure.name: measure for measure in MEASURES}
