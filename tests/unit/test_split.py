"""Clips held out of training, and where a training computes."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, Unavailable, UsageError
from tts_train.training.compute import Compute, Gpus, resolve
from tts_train.training.ranks import refuse_foreign_launcher
from tts_train.training.split import DUPLICATE, NEIGHBOUR, normalised_text, split


@dataclass(frozen=True)
class Reading:
    id: str
    text: str = ""
    source: str = ""
    chapter: str = ""
    start: float = 0.0


CLIPS = [Reading(f"clip-{number:03d}", f"Text {number}.") for number in range(40)]
IDS = [clip.id for clip in CLIPS]
BOOK = [
    Reading(f"clip-{chapter}-{number:03d}", f"Sentence {chapter} {number}.", "book.m4b", f"Chapter {chapter}", number)
    for chapter in range(4)
    for number in range(30)
]


def held_out(clips: list[Reading], count: int, seed: int = 0) -> frozenset[str]:
    return split(clips, count, seed).held_out


def config(**changes: object) -> TrainConfig:
    fixed = {"voice": "a", "backend": "piper", "dataset": "m", "epochs": 2, "lr": 1e-5, "threads": 4}
    return TrainConfig.model_validate({**fixed, **changes})


def test_the_choice_depends_on_ids_and_seed_alone() -> None:
    chosen = held_out(CLIPS, 5)

    assert len(chosen) == 5
    assert chosen <= set(IDS)
    assert held_out(CLIPS[::-1], 5) == chosen
    assert held_out([replace(clip, text="Changed.", start=1.0) for clip in CLIPS[:1]] + CLIPS[1:], 5) == chosen
    assert held_out(CLIPS, 5, seed=1) != chosen
    assert held_out(CLIPS, 4) < chosen
    assert held_out(CLIPS, 0) == set()


def test_clips_that_join_later_reshuffle_nothing() -> None:
    chosen, later = held_out(CLIPS, 5), held_out([*CLIPS, Reading("new", "New.")], 5)

    assert len(chosen - later) <= 1


@pytest.mark.parametrize("count", [40, 41])
def test_something_must_be_left_to_train_on(count: int) -> None:
    with pytest.raises(ConfigError, match=f"validation_clips {count} leaves nothing of 40 clips") as caught:
        split(CLIPS, count, 0)

    assert "at most 39" in caught.value.hint
    assert len(held_out(CLIPS, 39)) == 39


def neighbours(clips: list[Reading], name: str) -> set[str]:
    """Found the slow way: nothing of the same source and chapter begins in between."""
    mine = next(clip for clip in clips if clip.id == name)
    same = [clip for clip in clips if (clip.source, clip.chapter) == (mine.source, mine.chapter) and mine.source]
    before = [clip for clip in same if clip.start < mine.start]
    after = [clip for clip in same if clip.start > mine.start]
    nearest = [max(before, key=lambda clip: clip.start)] if before else []
    return {clip.id for clip in nearest + ([min(after, key=lambda clip: clip.start)] if after else [])}


@pytest.mark.parametrize("seed", range(8))
def test_no_neighbour_of_a_held_out_clip_is_trained_on(seed: int) -> None:
    clips = random.Random(seed).sample(BOOK, len(BOOK))

    found = split(clips, 9, seed)

    trained = {clip.id for clip in clips if found.trains(clip.id)}
    touched = set().union(*(neighbours(clips, name) for name in found.held_out))
    assert not trained & touched
    assert set(found.left_out) == touched - found.held_out
    assert set(found.left_out.values()) == {NEIGHBOUR}
    assert len(trained) >= len(clips) - 3 * 9


def test_the_border_of_a_chapter_is_no_neighbourhood() -> None:
    pair = [Reading("a", "One.", "book", "I", 5.0), Reading("b", "Two.", "book", "II", 6.0)]
    apart = [replace(pair[0], source="x"), replace(pair[1], source="y", chapter="I")]

    assert split(pair, 1, 0).left_out == split(apart, 1, 0).left_out == {}


def test_no_second_reading_of_a_held_out_text_is_trained_on() -> None:
    texts = ["“Well — yes!”", "well, yes.", "WELL YES", "Well, yesterday."]
    clips = [*(Reading(f"yes-{at}", text) for at, text in enumerate(texts)), *CLIPS]
    seed = next(seed for seed in range(999) if "yes-1" in held_out(clips, 3, seed))

    found = split(clips, 3, seed)

    alike = {"yes-0", "yes-1", "yes-2"}
    assert not [name for name in alike if found.trains(name)]
    assert {name for name, why in found.left_out.items() if why == DUPLICATE} == alike - found.held_out
    assert found.trains("yes-3")


def test_all_of_one_text_leaves_nothing_to_train_on() -> None:
    with pytest.raises(ConfigError, match="leaves nothing") as caught:
        split([Reading(name, "Same.") for name in "abc"], 1, 0)

    assert "at most 0" in caught.value.hint


def test_marks_are_part_of_a_word() -> None:
    assert normalised_text("Ａ  naïve—tést!") == "a naïve tést"
    assert normalised_text("की") != normalised_text("कि")


NONE, OLD, NEW = Gpus(0, bfloat16=False), Gpus(1, bfloat16=False), Gpus(2, bfloat16=True)


@pytest.mark.parametrize(
    ("device", "precision", "gpus", "expected"),
    [
        ("auto", "auto", NONE, ("cpu", "float32")),
        ("auto", "bfloat16", NONE, ("cpu", "bfloat16")),
        ("cpu", "auto", NEW, ("cpu", "float32")),
        ("auto", "auto", NEW, ("cuda", "bfloat16")),
        ("auto", "auto", OLD, ("cuda", "float32")),
        ("cuda", "float32", NEW, ("cuda", "float32")),
    ],
)
def test_auto_takes_what_is_there(device: str, precision: str, gpus: Gpus, expected: tuple[str, str]) -> None:
    found = resolve(config(device=device, precision=precision), gpus)

    assert (found.device, found.precision) == expected


@pytest.mark.parametrize(
    ("changes", "gpus", "message"),
    [
        ({"device": "cuda"}, NONE, "torch sees no GPU"),
        ({"processes": 2, "accumulation": 2}, OLD, "2 processes need a GPU each, torch sees 1"),
        ({"precision": "bfloat16"}, OLD, "does not compute in bfloat16"),
    ],
)
def test_what_is_not_there_is_unavailable(changes: dict[str, object], gpus: Gpus, message: str) -> None:
    with pytest.raises(Unavailable, match=message) as caught:
        resolve(config(**changes), gpus)

    assert caught.value.exit_code == 69


def test_threads_are_shared_out() -> None:
    assert resolve(config(), NONE) == Compute("cpu", "float32", 4)
    assert resolve(config(processes=3, accumulation=3), NONE).threads == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"},
        # accelerate 1.12 launch --cpu --num_processes 2, recorded: one process, no word of it.
        {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"},
    ],
)
def test_foreign_launchers_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="torchrun, accelerate") as caught:
        refuse_foreign_launcher(variables)

    assert "--processes N" in caught.value.hint
    assert caught.value.exit_code == 2
    refuse_foreign_launcher({"ACCELERATE_LOG_LEVEL": "info", "PATH": "/bin"})
