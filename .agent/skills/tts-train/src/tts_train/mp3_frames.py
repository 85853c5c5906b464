"""MP3 frame by frame: whether the last one is whole and all that the header counted are there.

ISO/IEC 11172-3 and 13818-3 for the frame header; the Xing/Info and VBRI headers are those that LAME and Fraunhofer's
encoder write into the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

_KBITS = {
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""By the two version bits: MPEG 1, 2 and 2.5."""


@dataclass(frozen=True)
class _Header:
    version: int
    """1, or 2 for MPEG 2 and 2.5."""
    rate: int
    mono: bool
    size: int
    """Bytes of the frame, header included."""


def after_id3(head: bytes) -> int:
    """Where the audio begins behind an ID3v2 tag, whose first ten bytes these are (0: no tag)."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def mp3_tear(data: mmap.mmap) -> tuple[str, float] | None:
    """(what is missing, its share), or None when the frames are whole.

    A file without a count that was cut exactly between two frames cannot be told from a shorter recording.
    """
    at = after_id3(data[:10])
    first = _header(data[at : at + 4])
    if first is None:
        return None
    promised = _promised(data[at : at + first.size], first)
    count = 0 if promised is None else -1  # the frame of the count is no audio and is not counted
    while (header := _header(data[at : at + 4])) is not None and header.rate == first.rate:
        missing = at + header.size - len(data)
        if missing > 0 and (promised is None or count < promised):
            lost = missing / len(data) if promised is None else (promised - count) / promised
            return f"its last frame lacks {missing} of {header.size} bytes", lost
        at += header.size
        count += 1
    # One short of the count is no tear: some writers count the frame of the count.
    if promised is not None and count < promised - 1 and at >= len(data) - 3:
        return f"its header counts {promised} frames, {count} are there", (promised - count) / promised
    return None


def _header(raw: bytes) -> _Header | None:
    if len(raw) < 4 or raw[0] != 0xFF or raw[1] & 0xE0 != 0xE0:
        return None
    bits, layer = raw[1] >> 3 & 3, 4 - (raw[1] >> 1 & 3)
    version = 1 if bits == 3 else 2
    step, rate = raw[2] >> 4, raw[2] >> 2 & 3
    if bits not in _RATES or (version, layer) not in _KBITS or step in (0, 15) or rate == 3:
        return None
    hertz = _RATES[bits][rate]
    slots = 72 if version == 2 and layer == 3 else 144
    size = slots * _KBITS[version, layer][step] * 1000 // hertz + (raw[2] >> 1 & 1)
    return _Header(version, hertz, raw[3] >> 6 == 3, size)


def _promised(frame: bytes, header: _Header) -> int | None:
    """Frames that the first one counts; None when it is a frame like the others."""
    side = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[header.version, header.mono]
    tag = frame[4 + side :]
    if tag[:4] in (b"Xing", b"Info"):
        counted = int.from_bytes(tag[8:12], "big") if len(tag) >= 12 and tag[7] & 1 else 0
        return counted or None
    tag = frame[36:]
    if tag[:4] == b"VBRI" and len(tag) >= 18:
        return int.from_bytes(tag[14:18], "big") or None
    return None
