"""What the reason codes of rejections mean. A code that is not here stands for itself."""

from __future__ import annotations

REASONS = {
    # The audio
    "empty-file": "the file has no content",
    "missing-audio": "the file is not there",
    "not-audio": "the file holds no sound that can be read",
    "not-finite": "samples are no numbers",
    "outside-folder": "the name leads out of the folder of clips",
    "truncated-audio": "the file ends before its sound does",
    "unreadable-audio": "the audio cannot be decoded",
    # The line of a list
    "bad-line": "the line cannot be read",
    "crosses-chapter": "it begins in one chapter and ends in another",
    "no-words": "the text has nothing that could be spoken",
    "outside-source": "its times are not inside the recording",
    "unknown-source": "its recording is not among those given",
    # What the recogniser heard
    "low-confidence": "the recogniser was not sure of the text",
    "no-speech-text": "nothing was heard in it",
    "repeated-text": "the recogniser repeated itself, as it does where it hears no words",
    # Filters
    "clipped": "the recording is overdriven: too many samples at full scale",
    "cut-speech": "speech begins or ends at the very edge",
    "duplicate": "another clip has the same words and the same sound, and is at least as good",
    "edge-silence": "a long pause before or after the speech",
    "implausible-pace": "more or fewer words than anybody speaks in that time",
    "low-mos": "its predicted quality is low",
    "narrow-band": "high frequencies are missing, as after a telephone or strong compression",
    "noisy": "too much noise under the speech",
    "other-language": "it is spoken in another language",
    "other-speaker": "the voice is far from the others'",
    "silent": "most of it is silence",
    "too-long": "longer than the limit",
    "too-loud": "louder than the limit",
    "too-quiet": "quieter than the limit",
    "too-short": "shorter than the limit",
    "two-speakers": "the voice changes inside the clip",
    "wrong-text": "another recogniser heard other words",
    # Alignment
    "alignment-failed": "the words could not be laid over the sound",
    "speech-without-text": "speech that the text does not have",
    "text-does-not-fit": "the text cannot be spoken in that time",
    "words-missing": "some words found no place in the sound",
}
