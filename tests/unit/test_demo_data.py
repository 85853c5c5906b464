"""The demo data and its probe: complete, small, consistent with each other, and never the same text twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "datasets" / "demo"
PROBE: dict[str, Any] = yaml.safe_load(
    (ROOT / "configs" / "probes" / "northern-english.yaml").read_text(encoding="utf-8")
)
TEXTS: dict[str, str] = {item["id"]: item["text"] for item in PROBE["items"]}
MARKERS: dict[str, dict[str, Any]] = {marker["set"]: marker for marker in PROBE["markers"]}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


SAID = [word for text in TEXTS.values() for word in words(text)]


def book() -> str:
    return (DEMO / "book.txt").read_text(encoding="utf-8")


def heldout() -> list[dict[str, Any]]:
    lines = (DEMO / "heldout" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def flac_seconds(path: Path) -> tuple[int, int, int, float]:
    """Rate, channels, bits and seconds from a FLAC file's STREAMINFO block (RFC 9639, section 8.2)."""
    head = path.read_bytes()[:42]
    assert head[:4] == b"fLaC"
    bits = int.from_bytes(head[18:26], "big")
    rate, samples = bits >> 44, bits & (1 << 36) - 1
    return rate, (bits >> 41 & 7) + 1, (bits >> 36 & 31) + 1, samples / rate


def test_the_folder_stays_small() -> None:
    size = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert size <= 5_000_000


def test_the_card_says_where_the_voice_comes_from() -> None:
    card = yaml.safe_load((DEMO / "dataset.yaml").read_text(encoding="utf-8"))
    assert {"source", "licence", "speaker", "consent_basis", "language"} <= set(card)
    assert card["consent_basis"] == "synthetic voice"
    assert card["language"] == "en-GB"
    assert {row["speaker"] for row in heldout()} == {card["speaker"]}
    for fact in ("Kokoro-82M", "jm_kumo", "en-gb-x-gbclan"):
        assert fact in card["source"]


def test_the_book_has_three_titled_chapters_in_sentences_fit_for_clips() -> None:
    titles = re.findall(r"^# (.+)$", book(), flags=re.MULTILINE)
    assert len(titles) == 3
    assert 560 <= len(words(book())) <= 660
    prose = re.sub(r"^# .+$", "", book(), flags=re.MULTILINE)
    sentences = [words(part) for part in re.split(r"(?<=[.?!])\"?\s+", prose) if words(part)]
    assert max(map(len, sentences)) <= 20
    assert not re.search(r"\d", book()), "numbers are spelled out: that is how they are spoken"


def test_the_audiobook_holds_the_chapter_titles() -> None:
    data = (DEMO / "book.m4b").read_bytes()
    assert data[4:11] == b"ftypM4A"
    for title in re.findall(r"^# (.+)$", book(), flags=re.MULTILINE):
        assert title.encode() in data


def test_the_target_speaks_every_probe_item_word_for_word() -> None:
    rows = heldout()
    assert {row["id"]: row["text"] for row in rows} == TEXTS
    assert [row["id"] for row in rows] == sorted(TEXTS)
    files = {path.name for path in (DEMO / "heldout").glob("*.flac")}
    assert {row["audio_file"] for row in rows} == files


@pytest.mark.parametrize("row", heldout(), ids=lambda row: row["id"])
def test_held_out_audio_is_what_the_manifest_says(row: dict[str, Any]) -> None:
    rate, channels, bits, seconds = flac_seconds(DEMO / "heldout" / row["audio_file"])
    assert (rate, channels, bits) == (24_000, 1, 16)
    assert seconds == pytest.approx(row["audio_seconds"], abs=0.001)
    assert 2.0 < len(words(row["text"])) / seconds < 4.5, "words per second of a calm reader"
    assert row["language"] == "en-GB"
    if row["id"] == "passage":
        assert seconds <= 40


@pytest.mark.parametrize(
    ("lexical_set", "least", "role"),
    [
        ("BATH", 10, "marker"),
        ("TRAP", 10, "marker"),
        ("FOOT", 10, "marker"),
        ("STRUT", 10, "marker"),
        ("PRICE", 10, "marker"),
        ("FACE", 10, "marker"),
        ("GOAT", 10, "marker"),
        ("happY", 10, "marker"),
        ("PALM", 8, "marker"),
        ("KIT", 10, "control"),
        ("DRESS", 10, "control"),
        ("FLEECE", 10, "control"),
    ],
)
def test_every_set_has_tokens_enough_and_some_in_the_passage(lexical_set: str, least: int, role: str) -> None:
    marker = MARKERS[lexical_set]
    listed = [word.lower() for word in marker["words"]]
    assert marker["role"] == role
    assert not set(listed) - set(SAID), "a listed word is not in the texts"
    assert sum(SAID.count(word) for word in listed) >= least
    assert set(listed) & set(words(TEXTS["passage"]))
    assert len(set(listed)) >= 8, "repetitions of a few words are not evidence on a vowel"


def test_a_word_stands_in_one_set_only() -> None:
    listed = [word.lower() for marker in MARKERS.values() for word in marker["words"]]
    assert len(listed) == len(set(listed))


def test_pairs_are_foot_against_strut() -> None:
    assert len(PROBE["pairs"]) >= 4
    for foot, strut in PROBE["pairs"]:
        assert foot in MARKERS["FOOT"]["words"]
        assert strut in MARKERS["STRUT"]["words"]


def test_contrasts_and_sites_name_what_exists() -> None:
    for contrast in PROBE["contrasts"]:
        assert set(contrast["sets"]) <= set(MARKERS)
    assert any(site["kind"] == "linking-r" and site["item"] == "passage" for site in PROBE["sites"])
    for site in PROBE["sites"]:
        assert " ".join(site["words"]).lower() in " ".join(words(TEXTS[site["item"]]))


def test_the_probe_is_long_enough_to_count_errors_and_short_enough_to_render() -> None:
    assert 150 <= len(SAID) <= 320
    assert len(words(TEXTS["passage"])) <= 120


def test_training_text_and_probe_share_no_run_of_five_words() -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        tokens = words(text)
        return {tuple(tokens[index : index + 5]) for index in range(len(tokens) - 4)}

    assert not runs(book()) & set().union(*(runs(text) for text in TEXTS.values()))
