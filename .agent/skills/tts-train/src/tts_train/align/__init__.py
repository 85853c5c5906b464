"""Alignment: where each word (and phone) of a known text is spoken."""

from tts_train.align.choice import choose_aligner
from tts_train.align.manifest import align_known_text, align_manifest
from tts_train.align.words import AlignedWord, Alignment, AlignmentFailed, Phone

__all__ = [
    "AlignedWord",
    "Alignment",
    "AlignmentFailed",
    "Phone",
    "align_known_text",
    "align_manifest",
    "choose_aligner",
]
