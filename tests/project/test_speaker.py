"""The speaker encoder without torch against the package's own, and who stands out among a book's clips."""

from __future__ import annotations

import numpy as np
import pytest

import asterisk
from tts_train.audio import Audio
from tts_train.quality import ge2e
from tts_train.quality.consistency import consistency
from tts_train.quality.speaker import LEVEL, embedding, window_embeddings

Readings = dict[str, tuple[Audio, str]]


@pytest.fixture(scope="module")
def studio() -> list[Audio]:
    chosen = [prompt for prompt in asterisk.require() if 1.8 < prompt.seconds < 7.0][::7][:24]
    return [Audio(asterisk.read(prompt), asterisk.RATE) for prompt in chosen]


def test_embeddings_are_those_of_resemblyzer(studio: list[Audio]) -> None:
    from resemblyzer import VoiceEncoder, preprocess_wav

    theirs = VoiceEncoder("cpu", verbose=False)
    for audio in studio[:6]:
        rms = float(np.sqrt(np.mean(np.square(audio.samples, dtype=np.float64))))
        wave = audio.samples * np.float32(LEVEL / rms)
        trimmed = preprocess_wav(wave, source_sr=asterisk.RATE)
        assert len(ge2e.trimmed(wave)) == len(trimmed)
        assert embedding(audio) == pytest.approx(theirs.embed_utterance(trimmed), abs=1e-5)


def test_a_checkpoint_with_anything_but_weights_is_refused(tmp_path) -> None:
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, ("touch " + str(tmp_path / "ran"),)

    place = tmp_path / "pretrained.pt"
    place.write_bytes(b"".join(pickle.dumps(part) for part in (1, 1001, {}, Evil())))
    with pytest.raises(pickle.UnpicklingError, match="no place"):
        ge2e.read_checkpoint(place)
    assert not (tmp_path / "ran").exists()


def test_another_speaker_and_two_speakers_stand_out_and_the_books_own_do_not(
    studio: list[Audio], readings: Readings
) -> None:
    stranger = readings["hat"][0]
    pause = np.zeros(4000, np.float32)
    both = Audio(np.concatenate([studio[0].samples, pause, stranger.at(asterisk.RATE).samples]), asterisk.RATE)
    found = consistency([window_embeddings(audio) for audio in [*studio, stranger, both]])
    assert found is not None
    own, other, mixed = found[:-2], found[-2], found[-1]
    assert max(item.outlier for item in own) < 5
    assert max(item.two_speakers for item in own) < 5
    assert other.outlier > 6
    assert other.two_speakers == 0
    assert other.similarity < min(item.similarity for item in own)
    assert mixed.two_speakers > 6


def test_the_order_of_clips_plays_no_part(studio: list[Audio]) -> None:
    vectors = [window_embeddings(audio) for audio in studio[:12]]
    forth, back = consistency(vectors), consistency(vectors[::-1])
    assert forth is not None
    assert back is not None
    for left, right in zip(forth, back[::-1], strict=True):
        assert left.outlier == pytest.approx(right.outlier, abs=1e-3)


def test_of_a_few_clips_nobody_can_say_what_is_usual(studio: list[Audio]) -> None:
    assert consistency([window_embeddings(studio[0])] * 9) is None
