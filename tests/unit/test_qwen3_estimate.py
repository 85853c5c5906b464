"""Qwen3-TTS's costs by arithmetic: weights, memory, disk, work."""

from __future__ import annotations

import re

import pytest

from tiny_skill import ROOT, SKILL
from tts_train.backends import machine
from tts_train.backends.qwen3 import estimate
from tts_train.backends.qwen3.estimate import Load, Variant
from tts_train.backends.qwen3.shape import PUBLISHED, Stack, size_in

SMALL, LARGE = PUBLISHED["0.6B"], PUBLISHED["1.7B"]
WHOLE, FROZEN, LORA = Variant(), Variant(frozen_text=True), Variant(lora_rank=16)
BATCH = Load(positions=800, frames=560)


@pytest.mark.parametrize(("size", "millions"), [("0.6B", 906), ("1.7B", 1914)])
def test_published_sizes_have_the_weights_known_of_them(size: str, millions: float) -> None:
    assert PUBLISHED[size].total / 1e6 == pytest.approx(millions, rel=0.01)
    assert PUBLISHED[size].weights()["text_embedding"] / 1e6 == pytest.approx(311, rel=0.01)


@pytest.mark.parametrize(
    ("size", "variant", "gib"),
    [("0.6B", WHOLE, 13.5), ("0.6B", FROZEN, 10.0), ("1.7B", WHOLE, 28.5), ("1.7B", FROZEN, 25.1)],
)
def test_weights_gradients_and_moments(size: str, variant: Variant, gib: float) -> None:
    """Sixteen bytes a trained weight, four a frozen one: frozen weights are still there."""
    parts = estimate.memory(PUBLISHED[size], variant, batch=BATCH, bfloat16=True)

    assert parts["weights"] + parts["gradients"] + parts["moments"] == pytest.approx(gib, rel=0.01)


def test_adapters_are_counted_by_rank_on_every_projection() -> None:
    stack = Stack(layers=3, hidden=10, intermediate=20, heads=4, kv_heads=2, head_dim=5)
    one_layer = (10 + 20) + 2 * (10 + 10) + (20 + 10) + 2 * (10 + 20) + (20 + 10)

    assert stack.adapters(rank=2) == 3 * 2 * one_layer


def test_lora_takes_the_least_memory_and_frozen_text_less_than_all() -> None:
    totals = [estimate.memory(LARGE, variant, batch=BATCH, bfloat16=True)["total"] for variant in (LORA, FROZEN, WHOLE)]

    assert totals == sorted(totals)
    assert totals[0] < totals[2] / 2


def test_start_weights_stand_in_the_machines_memory_only() -> None:
    on_gpu = estimate.memory(SMALL, WHOLE, batch=BATCH, bfloat16=True, gpu=True)
    on_cpu = estimate.memory(SMALL, WHOLE, batch=BATCH, bfloat16=False, gpu=False)

    assert on_gpu["start_weights"] == 0
    assert on_cpu["start_weights"] == on_cpu["gradients"]


def test_several_processes_sum_gradients_in_pieces() -> None:
    alone, together = (estimate.memory(SMALL, WHOLE, batch=BATCH, bfloat16=True, processes=number) for number in (1, 2))

    assert together["gradient_buckets"] > alone["gradient_buckets"] == 0


def test_what_a_batch_keeps_grows_with_it() -> None:
    once = estimate.memory(SMALL, WHOLE, batch=BATCH, bfloat16=False)["batch"]
    twice = estimate.memory(SMALL, WHOLE, batch=Load(1600, 1120), bfloat16=False)["batch"]
    quarter = estimate.memory(SMALL, WHOLE, batch=Load(800, 560, 0.25), bfloat16=False)["batch"]

    assert twice == pytest.approx(2 * once, rel=0.01)
    assert quarter < once / 1.5


@pytest.mark.parametrize(("size", "low", "high"), [("0.6B", 2.0, 2.4), ("1.7B", 1.35, 1.6)])
def test_a_quarter_of_the_frames_saves_what_the_predictor_costs(size: str, low: float, high: float) -> None:
    whole, quarter = (estimate.forward_flops(PUBLISHED[size], Load(1200, 1000, share)) for share in (1.0, 0.25))

    assert low < whole / quarter < high


def test_adapters_need_no_gradient_of_whole_matrices() -> None:
    epoch = Load(30_000, 22_500)
    whole, lora = (estimate.training_flops(SMALL, variant, epoch) for variant in (WHOLE, LORA))

    assert lora == pytest.approx(whole * 2 / 3)


def test_padding_is_what_short_clips_are_filled_up_with() -> None:
    assert estimate.padding([10, 20], 2) == pytest.approx(0.25)
    assert estimate.padding([20, 10, 20, 10], 2) == 0
    assert estimate.padding([7, 7, 7], 2) == 0


def test_disk_counts_whole_epochs_and_the_state_twice() -> None:
    whole = estimate.disk(SMALL, WHOLE, epochs=6, save_bytes=4, codec_is_linked=True)
    half = estimate.disk(SMALL, WHOLE, epochs=6, save_bytes=2, codec_is_linked=True)
    lora = estimate.disk(SMALL, LORA, epochs=6, save_bytes=4, codec_is_linked=True)
    copied = estimate.disk(SMALL, WHOLE, epochs=6, save_bytes=4, codec_is_linked=False)

    assert whole["epochs"] == pytest.approx(6 * (0.9058 * 4 + 0.036), rel=0.01)
    assert whole["state"] == pytest.approx(2 * 3 * 4 * 0.9058, rel=0.01)
    assert half["epochs"] == pytest.approx(whole["epochs"] / 2, rel=0.02)
    assert lora["epochs"] == whole["epochs"], "published epochs are merged"
    assert lora["state"] < 1
    assert copied["epochs"] - whole["epochs"] == pytest.approx(6 * 0.7, rel=0.01)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 3090 Ti", "RTX 3090"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", None),
        ("NVIDIA L40", None),
        ("NVIDIA GA100", None),
    ],
)
def test_gpus_are_recognised_by_their_class(name: str, known: str | None) -> None:
    assert machine.gpu_class(name) == known


def test_minutes_say_where_they_come_from() -> None:
    flops = estimate.training_flops(SMALL, WHOLE, Load(30_000, 22_500))

    assert 20 < estimate.minutes(flops, gpu=None, workers=2) < 60
    assert estimate.minutes(flops, gpu="A100", workers=2) == pytest.approx(
        estimate.minutes(flops, gpu="A100", workers=1) / 2
    )
    assert "not measured" in estimate.basis("A100", threads=2)
    assert "2 thread(s)" in estimate.basis(None, threads=2)


def test_table_has_every_size_and_variant() -> None:
    rows = estimate.table(batch=BATCH)

    assert [(row["size"], row["trains"]) for row in rows] == [
        (size, str(variant)) for size in ("0.6B", "1.7B") for variant in (WHOLE, FROZEN, LORA)
    ]
    assert [row["trainable_millions"] for row in rows[:3]] == [905.8, 594.6, 11.9]


def test_a_name_says_its_size() -> None:
    assert size_in("Qwen/Qwen3-TTS-12Hz-0.6B-Base") == "0.6B"
    assert size_in("somebody/her-model") == "1.7B", "the larger when it is not known"


REFERENCE = (SKILL / "references/qwen3.md").read_text(encoding="utf-8")


def test_the_reference_prints_this_arithmetic() -> None:
    """Eight clips of 6 s with 20 tokens of text each, tagged with a language."""
    batch = Load(8 * estimate.positions(20, 75, tagged=True), 8 * 75)
    rows = []
    for size, shape in PUBLISHED.items():
        for variant in estimate.VARIANTS:
            parts = estimate.memory(shape, variant, batch=batch, bfloat16=True)
            exact = sum(parts[name] for name in ("weights", "gradients", "moments"))
            millions = estimate.trainable(shape, variant) / 1e6
            rows.append(f"| {size} | {variant} | {millions:.1f} | {exact:.1f} | {parts['total']:.1f} |")

    assert f"({batch.positions} positions, {batch.frames} frames)" in REFERENCE
    assert [row for row in rows if row not in REFERENCE] == []
    for shape in PUBLISHED.values():
        assert f"{estimate.download_gigabytes(shape):.1f} GB for" in REFERENCE


def test_the_reference_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", REFERENCE))
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert len(named) > 5
    assert [name for name in named if f"def {name}(" not in written] == []
