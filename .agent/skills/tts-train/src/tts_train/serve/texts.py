"""How a text is handed to a speaker that says what it is given as one utterance, however long that is (Qwen3-TTS)."""

from __future__ import annotations

from tts_train.backends.xtts.sentences import pieces

WHOLE = 600
"""Characters that are spoken in one go: as long as a probe's passage, some 40 s. Beyond it the model loses its way."""


def utterances(text: str, *, stream: bool) -> list[str]:
    """One utterance up to WHOLE characters, else as many whole sentences as fit; to stream, each sentence."""
    if not stream and len(text) <= WHOLE:
        return [text]
    found: list[str] = []
    for sentence in pieces(text, WHOLE):
        if found and not stream and len(found[-1]) + 1 + len(sentence) <= WHOLE:
            found[-1] = f"{found[-1]} {sentence}"
        else:
            found.append(sentence)
    return found or [text]
