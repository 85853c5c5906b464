"""Numbers of a server, as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass
class Histogram:
    """How many took at most so many seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * len(SECONDS))
    count: int = 0
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        self.count += 1
        self.sum += seconds
        for index, limit in enumerate(SECONDS):
            self.counts[index] += seconds <= limit

    def lines(self, name: str, about: str) -> Iterator[str]:
        yield from _head(name, "histogram", about)
        for limit, count in zip(SECONDS, self.counts, strict=True):
            yield f'{name}_bucket{{le="{limit:g}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {self.count}"


@dataclass
class Metrics:
    """What has happened since the start."""

    requests: Counter[int] = field(default_factory=Counter)
    """Of speech, by status; 499: the client left."""
    audio_seconds: dict[str, float] = field(default_factory=dict)
    """By voice."""
    whole: Histogram = field(default_factory=Histogram)
    """Seconds from a request to the end of its answer."""
    first: Histogram = field(default_factory=Histogram)
    """Seconds from a request to its first audio."""

    def text(self, gauges: Mapping[str, tuple[str, Sequence[tuple[str, float]]]]) -> str:
        """All of it. `gauges`: name → (what it is, (label or "", value)…); a name that ends in _total is a counter."""
        lines = [
            *_rows(
                "tts_train_requests_total",
                "Requests for speech, by status; 499: the client left.",
                [(f'status="{status}"', count) for status, count in sorted(self.requests.items())],
            ),
            *_rows(
                "tts_train_audio_seconds_total",
                "Seconds of speech that were made.",
                [(f'voice="{voice}"', seconds) for voice, seconds in sorted(self.audio_seconds.items())],
            ),
            *self.whole.lines("tts_train_request_seconds", "From a request to the end of its answer."),
            *self.first.lines("tts_train_first_audio_seconds", "From a request to its first audio."),
        ]
        for name, (about, rows) in gauges.items():
            lines += _rows(name, about, rows)
        return "\n".join(lines) + "\n"


def _rows(name: str, about: str, rows: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield from _head(name, "counter" if name.endswith("_total") else "gauge", about)
    for label, value in rows:
        yield f"{name}{{{label}}} {value:.10g}" if label else f"{name} {value:.10g}"


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
