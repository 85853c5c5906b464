"""Text as Qwen3-TTS reads it: normalised, tagged with a language, cut into tokens by Qwen's own pattern."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tts_train.errors import ConfigError, InputUnusable

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import Qwen2TokenizerFast

PINNED_TRANSFORMERS_VERSION = "4.57.1"
"""What a published checkpoint's config.json says wrote it. qwen-tts 0.1.1 loads its tokenizer with
fix_mistral_regex=True, and transformers 4.57.3 then cuts words by Mistral's pattern ("Mc", "Donald") in any local
folder that names no version or one above 4.57.2 and below 5. Qwen was trained with its own pattern."""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen's pre-tokenizer, as in transformers' Qwen2Converter."""

HEAD, TAIL = 3, 5
"""Tokens of the prompt before and after the text; both sides of the model count on these numbers."""

AUTO = "auto"
"""The language tag of a prompt that names none."""

_NAMES = {
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "ja": "japanese",
    "ko": "korean",
    "pt": "portuguese",
    "ru": "russian",
    "zh": "chinese",
}


def normalise(text: str) -> str:
    """NFC, runs of white space to one space, none at the ends.

    A memorised sentence is lost to one trailing space, so converting, training and speaking all come through here.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def language_name(tag: str, known: Collection[str]) -> str:
    """The base's own name of a language: "en", "en-GB" and "English" are "english"; "auto" is "auto".

    `known`: the keys of the base's `codec_language_id`. Raises ConfigError for a language that it does not know.
    """
    name = tag.strip().lower()
    if name == AUTO or name in known:
        return name
    meant = _NAMES.get(name.replace("_", "-").split("-")[0], "")
    if meant in known:
        return meant
    raise ConfigError(
        f"the base knows no language '{tag}'",
        hint=f"one of: {', '.join([AUTO, *sorted(known)])}",
    )


@dataclass(frozen=True)
class TextTokenizer:
    """Text to token ids of the prompt that the model is asked with."""

    tokenizer: Qwen2TokenizerFast

    def prompt_ids(self, text: str) -> list[int]:
        """HEAD tokens, those of the normalised text, TAIL tokens.

        Raises InputUnusable when there is nothing to speak, or when a control token stands in the text.
        """
        spoken = normalise(text)
        if not spoken:
            raise InputUnusable(f"there is nothing to speak in {text[:60]!r}", hint="write some words")
        prompt = f"<|im_start|>assistant\n{spoken}<|im_end|>\n<|im_start|>assistant\n"
        ids = list(self.tokenizer(prompt)["input_ids"])
        control = set(ids[HEAD:-TAIL]) & self._control
        if control:
            named = ", ".join(self.tokenizer.convert_ids_to_tokens(sorted(control)))
            raise InputUnusable(f"control token {named} in the text {text[:60]!r}", hint="take it out of the text")
        return ids

    @cached_property
    def _control(self) -> set[int]:
        return {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The text tokenizer of a base or checkpoint folder, with Qwen's pattern whatever its config.json says.

    Raises InputUnusable when the folder holds no tokenizer of this family.
    """
    from transformers import Qwen2TokenizerFast

    if not (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").is_file():
        raise InputUnusable(f"{folder} holds no text tokenizer", hint="it needs vocab.json and merges.txt")
    # False, not absent: transformers would take the folder for Mistral's and warn that it should be patched.
    tokenizer = Qwen2TokenizerFast.from_pretrained(str(folder), fix_mistral_regex=False)
    tokenizer.backend_tokenizer.pre_tokenizer = _words()
    loaded = TextTokenizer(tokenizer)
    around = len(loaded.prompt_ids("a")) - len(tokenizer("a")["input_ids"])
    if around != HEAD + TAIL:
        raise InputUnusable(
            f"the tokenizer of {folder} spends {around} tokens around a text, a Qwen3-TTS has {HEAD + TAIL}",
            hint="copy tokenizer_config.json, vocab.json and merges.txt from the model's own page",
        )
    return loaded


def pin_tokenizer(folder: Path) -> None:
    """Write Qwen's pattern into a folder's tokenizer.json, if it has one: stock reads the pattern from there."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if file.is_file():
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.pre_tokenizer = _words()
        file.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")


def _words() -> PreTokenizer:
    """Text to words: Qwen's pattern, then bytes."""
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
