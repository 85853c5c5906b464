"""Pronunciations for words the dictionary lacks, so that no word of a text is lost.

Tried in this order: another spelling of a known word (British for American), a known word with an ending or a prefix,
two known words written as one, letters said by name for what cannot be a word, and letter-to-sound rules. An aligner
only has to place the word: a phone or two off costs little, a missing word shifts its neighbours by a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Lookup = Callable[[str], list[str] | None]
"""Phones (ARPABET) of a dictionary word in lower case, or None."""


@dataclass(frozen=True)
class Pronunciation:
    """Phones of a word and how they were found."""

    phones: list[str]
    method: str


_RESPELL = (("our", "or"), ("ise", "ize"), ("isa", "iza"), ("isi", "izi"), ("yse", "yze"), ("lled", "led"),
            ("lling", "ling"), ("ller", "ler"), ("tre", "ter"), ("bre", "ber"), ("ogue", "og"), ("ence", "ense"),
            ("aes", "es"), ("grey", "gray"), ("plough", "plow"), ("mould", "mold"), ("moult", "molt"))  # fmt: skip

_PREFIXES = {"un": ["AH", "N"], "re": ["R", "IY"], "non": ["N", "AA", "N"], "mis": ["M", "IH", "S"],
             "over": ["OW", "V", "ER"], "under": ["AH", "N", "D", "ER"], "out": ["AW", "T"], "fore": ["F", "AO", "R"],
             "pre": ["P", "R", "IY"], "dis": ["D", "IH", "S"], "up": ["AH", "P"]}  # fmt: skip

_SUFFIXES = {"'s": None, "s'": None, "es": None, "s": None, "ed": None, "d": None, "ing": ["IH", "NG"],
             "er": ["ER"], "r": ["ER"], "est": ["AH", "S", "T"], "ly": ["L", "IY"], "less": ["L", "AH", "S"],
             "ness": ["N", "AH", "S"], "y": ["IY"], "ful": ["F", "AH", "L"], "like": ["L", "AY", "K"],
             "ish": ["IH", "SH"], "'d": ["D"], "'ll": ["AH", "L"], "'ve": ["AH", "V"], "'re": ["ER"]}  # fmt: skip

_LETTER_NAMES = {
    "a": "EY", "b": "B IY", "c": "S IY", "d": "D IY", "e": "IY", "f": "EH F", "g": "JH IY", "h": "EY CH", "i": "AY",
    "j": "JH EY", "k": "K EY", "l": "EH L", "m": "EH M", "n": "EH N", "o": "OW", "p": "P IY", "q": "K Y UW",
    "r": "AA R", "s": "EH S", "t": "T IY", "u": "Y UW", "v": "V IY", "w": "D AH B AH L Y UW", "x": "EH K S",
    "y": "W AY", "z": "Z IY"}  # fmt: skip

# The longest match wins; "^" marks the word's start and "$" its end.
_SOUNDS = {
    "tion": "SH AH N", "sion": "ZH AH N", "ture": "CH ER", "ough": "AO", "augh": "AO", "eigh": "EY", "igh": "AY",
    "tch": "CH", "sch": "S K", "dge": "JH", "que$": "K", "ck": "K", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F",
    "gh": "G", "wh": "W", "ng": "NG", "qu": "K W", "^kn": "N", "^wr": "R", "^gn": "N", "^ps": "S", "mb$": "M",
    "ee": "IY", "ea": "IY", "oo": "UW", "oa": "OW", "ai": "EY", "ay": "EY", "ei": "EY", "ey$": "IY", "ie": "IY",
    "ou": "AW", "ow": "OW", "oi": "OY", "oy": "OY", "au": "AO", "aw": "AO", "eu": "Y UW", "ew": "UW", "ue$": "UW",
    "ar": "AA R", "er": "ER", "ir": "ER", "or": "AO R", "ur": "ER", "bb": "B", "cc": "K", "dd": "D", "ff": "F",
    "gg": "G", "ll": "L", "mm": "M", "nn": "N", "pp": "P", "rr": "R", "ss": "S", "tt": "T", "zz": "Z",
    "ce": "S", "ci": "S IH", "cy": "S IY", "ge$": "JH", "y$": "IY", "e$": "", "es$": "Z", "ed$": "D", "^y": "Y",
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH",
    "v": "V", "w": "W", "x": "K S", "y": "IH", "z": "Z"}  # fmt: skip
_VOWELS = set("aeiouy")


def pronounce(word: str, lookup: Lookup) -> Pronunciation:
    """Phones for any word of letters and apostrophes; never empty."""
    lower = word.lower().strip("'") or "a"
    for method, attempt in (
        ("dictionary", lookup),
        ("spelling", lambda name: _respelled(name, lookup)),
        ("affix", lambda name: _affixed(name, lookup)),
        ("compound", lambda name: _compound(name, lookup)),
        ("letters", lambda name: _letter_names(name) if _unsayable(word) else None),
    ):
        phones = attempt(lower)
        if phones:
            return Pronunciation(phones, method)
    return Pronunciation(_by_rule(lower) or _letter_names(lower) or ["AH"], "rule")


def _respelled(word: str, lookup: Lookup) -> list[str] | None:
    for british, american in _RESPELL:
        if british in word and (phones := lookup(word.replace(british, american))):
            return phones
    return None


def _known(word: str, lookup: Lookup) -> list[str] | None:
    return lookup(word) or _respelled(word, lookup)


def _affixed(word: str, lookup: Lookup) -> list[str] | None:
    for suffix, sounds in _SUFFIXES.items():
        stem = word.removesuffix(suffix)
        if stem == word or len(stem) < 2:
            continue
        for base in _stems(stem, suffix):
            phones = _known(base, lookup) or _prefixed(base, lookup)
            if phones:
                return phones + (_inflection(suffix, phones[-1]) if sounds is None else sounds)
    return _prefixed(word, lookup)


def _stems(stem: str, suffix: str) -> list[str]:
    """Words that `stem` may be after English spelling changes: hop(p)ing, hop(e)ing, carri(y)ed."""
    bases = [stem]
    if suffix[0] in "ei'y" and suffix[0] != "'":
        bases.append(stem + "e")
        if stem[-1:] == stem[-2:-1]:
            bases.append(stem[:-1])
    if stem.endswith("i"):
        bases.append(stem[:-1] + "y")
    return bases


def _prefixed(word: str, lookup: Lookup) -> list[str] | None:
    for prefix, sounds in _PREFIXES.items():
        stem = word.removeprefix(prefix)
        if stem != word and len(stem) >= 3 and (phones := _known(stem, lookup)):
            return sounds + phones
    return None


def _inflection(suffix: str, last: str) -> list[str]:
    if suffix in ("ed", "d"):
        if last in ("T", "D"):
            return ["AH", "D"]
        return ["T"] if last in ("P", "K", "F", "S", "SH", "CH", "TH") else ["D"]
    if last in ("S", "Z", "SH", "ZH", "CH", "JH"):
        return ["AH", "Z"]
    return ["S"] if last in ("P", "T", "K", "F", "TH") else ["Z"]


def _compound(word: str, lookup: Lookup) -> list[str] | None:
    splits = sorted(range(3, len(word) - 2), key=lambda at: abs(at - len(word) / 2))
    for at in splits:
        left, right = lookup(word[:at]), lookup(word[at:]) or _affixed(word[at:], lookup)
        if left and right:
            return left + right
    return None


def _unsayable(word: str) -> bool:
    letters = [letter for letter in word if letter.isalpha()]
    return not set("".join(letters).lower()) & _VOWELS or (1 < len(letters) <= 4 and word.isupper())


def _letter_names(word: str) -> list[str]:
    return [phone for letter in word if letter in _LETTER_NAMES for phone in _LETTER_NAMES[letter].split()]


def _by_rule(word: str) -> list[str]:
    marked = f"^{word.replace(chr(39), '')}$"
    phones: list[str] = []
    at = 0
    while at < len(marked):
        sounds, length = _longest_rule(marked, at)
        phones += sounds
        at += length
    return phones


def _longest_rule(marked: str, at: int) -> tuple[list[str], int]:
    for length in range(min(5, len(marked) - at), 0, -1):
        if (sounds := _SOUNDS.get(marked[at : at + length])) is not None:
            return sounds.split(), length
    return [], 1
