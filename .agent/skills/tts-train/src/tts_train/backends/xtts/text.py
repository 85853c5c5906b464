"""Texts as XTTS reads them: language tags, tokens, and the characters it has no token for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from tts_train.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer

PACKAGES = {"zh-cn": "pypinyin", "ja": "cutlet"}
"""Languages that coqui-tts romanises with a package that it does not install."""


class Unreadable(Exception):
    """A text of which coqui-tts makes no tokens; the message says why."""


class Unknown(Exception):
    """A text with characters that the base has no token for."""

    def __init__(self, characters: list[str]) -> None:
        super().__init__(" ".join(characters))
        self.characters = characters


def language_tag(name: str, known: Collection[str]) -> str:
    """The base's tag for a language: "en-GB" → "en", "zh" → "zh-cn". Raises ConfigError with those there are."""
    wanted = name.strip().lower().replace("_", "-")
    short = wanted.partition("-")[0]
    for tag in known:
        if tag == wanted or tag.partition("-")[0] == short:
            return tag
    raise ConfigError(f"the base has no language '{name}'", hint=f"one of: {', '.join(known)}")


def tokens(tokenizer: VoiceBpeTokenizer, text: str, language: str) -> list[int]:
    """Token ids, the language's first, as coqui-tts trains and speaks with them.

    Raises Unreadable, Unknown, and Unavailable when the language needs a package that is not installed.
    """
    try:
        ids = [int(number) for number in tokenizer.encode(text, language)]
    except ImportError as error:
        package = PACKAGES.get(language, str(error.name))
        raise Unavailable(
            f"texts in '{language}' are romanised with {package}, which is not in the skill environment",
            hint=f"install {package} there, or train in another language",
        ) from error
    # What num2words raises for numbers that it has no words for, by language.
    except (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    if len(ids) < 2:
        raise Unreadable("nothing is left of it once it is cleaned")
    # coqui's dataset refuses both: [STOP] ends a text, and what [UNK] stands for cannot be learnt.
    lacking = {tokenizer.tokenizer.token_to_id(token) for token in ("[UNK]", "[STOP]")}
    if lacking.intersection(ids):
        raise Unknown(_characters(tokenizer, text, language, lacking))
    return ids


def _characters(tokenizer: VoiceBpeTokenizer, text: str, language: str, lacking: Collection[int]) -> list[str]:
    """The characters behind tokens, in the text as it is after cleaning: "ß (U+00DF)"."""
    # As VoiceBpeTokenizer.encode of coqui-tts 0.28.0 does it: only there the pieces still have places in the text.
    short = language.partition("-")[0]
    cleaned = tokenizer.preprocess_text(text, short)
    tagged = f"[{'zh-cn' if short == 'zh' else short}]{cleaned}".replace(" ", "[SPACE]")
    encoded = tokenizer.tokenizer.encode(tagged)
    places = zip(encoded.ids, encoded.offsets, strict=True)
    pieces = {tagged[start:end] for number, (start, end) in places if number in lacking}
    return [f"{character} (U+{ord(character):04X})" for character in sorted(set("".join(pieces)))]
