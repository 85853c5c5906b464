"""Written text as the words a reader says: numbers, currency and abbreviations become words.

Aligners know words only. WhisperX gives a digit a wildcard, and the wildcard code has broken the times of the words
around it more than once (whisperX issues 1220, 1449); pocketsphinx has no digit in its dictionary at all.
"""

from __future__ import annotations

import re
import unicodedata

from tts_train.errors import Unavailable

_CURRENCY = {"£": ("pound", "penny", "pence"), "$": ("dollar", "cent", "cents"), "€": ("euro", "cent", "cents")}
_ABBREVIATIONS = {
    "mr": "Mister",
    "mrs": "Missus",
    "ms": "Miz",
    "dr": "Doctor",
    "st": "Saint",
    "prof": "Professor",
    "capt": "Captain",
    "no": "number",
    "etc": "et cetera",
    "vs": "versus",
}
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_TOKEN = re.compile(
    rf"""
      (?P<money>[£$€])\s?(?P<amount>{_NUMBER})(?:\s(?P<scale>hundred|thousand|million|billion|trillion)\b)?
    | (?P<time>\b\d{{1,2}}:\d{{2}})\b
    | (?P<ordinal>\b\d+)(?:st|nd|rd|th)\b
    | (?P<decade>\b\d{{3}}0)s\b
    | (?P<number>{_NUMBER})(?P<percent>\s?%)?
    | (?P<abbreviation>\b(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|No|etc|vs)\.)
    | (?P<sign>[&+=%@])
    | (?P<word>[^\W\d_]+(?:'[^\W\d_]+)*'?)
    """,
    re.VERBOSE,
)
_LIGATURES = str.maketrans({"æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "ß": "ss"})
_SIGNS = {"&": "and", "+": "plus", "=": "equals", "%": "percent", "@": "at"}


def spoken_words(text: str, language: str = "en") -> list[str]:
    """The words of `text` as they are said, in order, without punctuation; plain words keep their spelling.

    `language` picks the number words ("en-GB" works). Digits and signs never survive.
    """
    plain = _plain_letters(text, language)
    words: list[str] = []
    for match in _TOKEN.finditer(plain):
        words += _said(match, language)
    return words


def _said(match: re.Match[str], language: str) -> list[str]:
    kind = match.lastgroup
    found = match.groupdict()
    if found["word"]:
        return [found["word"]]
    if found["money"]:
        return _money(found["money"], found["amount"], found["scale"], language)
    if found["time"]:
        return _time(found["time"], language)
    if found["ordinal"]:
        return _number(found["ordinal"], language, "ordinal")
    if found["decade"]:
        return _decade(_number(found["decade"], language, "year"))
    if found["number"]:
        words = _number(found["number"], language, "year" if _looks_like_year(found["number"]) else "cardinal")
        return [*words, "percent"] if found["percent"] else words
    if found["abbreviation"]:
        return _abbreviation(match, found["abbreviation"])
    if found["sign"]:
        return [_SIGNS[found["sign"]]]
    raise ValueError(f"a token of unknown kind: {kind}")


def _money(sign: str, amount: str, scale: str | None, language: str) -> list[str]:
    whole, coin, coins = _CURRENCY[sign]
    if scale:
        return [*_number(amount, language), scale, f"{whole}s"]
    units, _, rest = amount.replace(",", "").partition(".")
    words: list[str] = []
    if int(units) or not int(rest or 0):
        words += [*_number(units, language), whole if int(units) == 1 else f"{whole}s"]
    cents = int((rest + "00")[:2]) if rest else 0
    if cents:
        words += [*_number(str(cents), language), coin if cents == 1 else coins]
    return words


def _time(clock: str, language: str) -> list[str]:
    hours, minutes = clock.split(":")
    words = _number(str(int(hours)), language)
    if minutes == "00":
        return words
    if minutes.startswith("0"):
        words.append("oh")
    return words + _number(str(int(minutes)), language)


def _decade(words: list[str]) -> list[str]:
    last = words[-1]
    return [*words[:-1], last[:-1] + "ies" if last.endswith("y") else last + "s"]


def _abbreviation(match: re.Match[str], written: str) -> list[str]:
    name = written.rstrip(".").lower()
    followed_by_number = re.match(r"\s*\d", match.string[match.end() :])
    if name == "no" and not followed_by_number:
        return [written.rstrip(".")]
    if name == "st" and not re.match(r"\s+[A-Z]", match.string[match.end() :]):
        return ["Street"]
    return _ABBREVIATIONS[name].split()


def _looks_like_year(digits: str) -> bool:
    return len(digits) == 4 and digits.isdigit() and "1100" <= digits <= "2099" and digits[1:] != "000"


def _number(digits: str, language: str, form: str = "cardinal") -> list[str]:
    import num2words

    value = digits.replace(",", "")
    exact: int | str = int(value) if value.isdigit() else value
    try:
        said = num2words.num2words(exact, lang=language.split("-", maxsplit=1)[0], to=form)
    except NotImplementedError as error:
        raise Unavailable(
            f"numbers are not known in the language '{language}'",
            hint="write numbers out as words in the transcripts",
        ) from error
    return [word for word in re.split(r"[\s,-]+", said) if word]


def _plain_letters(text: str, language: str) -> str:
    """Typographic apostrophes as ', dashes and hyphens as spaces; in English, letters without accents."""
    straight = unicodedata.normalize("NFC", text.replace("’", "'").replace("‘", "'").replace("ʼ", "'"))
    if language.startswith("en"):
        decomposed = unicodedata.normalize("NFKD", straight.translate(_LIGATURES))
        straight = "".join(character for character in decomposed if not unicodedata.combining(character))
    return re.sub(r"(?<=\w)[-‐‑–—/](?=\w)|[–—]", " ", straight)
