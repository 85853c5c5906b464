"""The arithmetic against the real classes: weights to the last one, positions, memory kept by a layer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tts_train.backends.qwen3 import estimate, layout, parts
from tts_train.backends.qwen3.estimate import Variant
from tts_train.backends.qwen3.objective import Objective
from tts_train.backends.qwen3.shape import PUBLISHED, Shape
from tts_train.config import LoraSettings


def shape_of(base: Path) -> Shape:
    return Shape.from_config(json.loads((base / "config.json").read_text()))


def objective_of(base: Path) -> Objective:
    from qwen_tts.core.models import Qwen3TTSConfig, Qwen3TTSForConditionalGeneration

    config = Qwen3TTSConfig(**json.loads((base / "config.json").read_text()))
    return Objective(Qwen3TTSForConditionalGeneration(config))


@pytest.fixture(scope="module", params=["0b6", "1b7"])
def base(request: pytest.FixtureRequest, tiny_base: Path, tiny_base_17: Path) -> Path:
    return {"0b6": tiny_base, "1b7": tiny_base_17}[request.param]


def test_every_part_has_exactly_the_weights_of_the_real_classes(base: Path) -> None:
    talker = objective_of(base).talker
    modules = {
        "text_embedding": talker.model.text_embedding,
        "text_projection": talker.text_projection,
        "codec_embedding": talker.model.codec_embedding,
        "talker": torch.nn.ModuleList([talker.model.layers, talker.model.norm]),
        "codec_head": talker.codec_head,
        "predictor": torch.nn.ModuleList([talker.code_predictor.model.layers, talker.code_predictor.model.norm]),
        "predictor_embeddings": talker.code_predictor.model.codec_embedding,
        "predictor_heads": talker.code_predictor.lm_head,
        "predictor_projection": talker.code_predictor.small_to_mtp_projection,
    }
    counted = {name: sum(weight.numel() for weight in module.parameters()) for name, module in modules.items()}

    assert shape_of(base).weights() == counted
    assert shape_of(base).total == sum(weight.numel() for weight in talker.parameters())


@pytest.mark.parametrize(
    ("freeze", "lora", "variant"),
    [
        ([], None, Variant()),
        (["text_embedding"], None, Variant(frozen_text=True)),
        ([], LoraSettings(rank=3), Variant(lora_rank=3)),
        (["text_embedding"], LoraSettings(rank=3), Variant(frozen_text=True, lora_rank=3)),
    ],
    ids=["all", "frozen text", "lora", "both"],
)
def test_trainable_weights_are_those_that_get_a_gradient(
    base: Path, freeze: list[str], lora: LoraSettings | None, variant: Variant
) -> None:
    objective = objective_of(base)
    parts.prepare(objective, freeze, lora)
    trained = sum(weight.numel() for weight in objective.parameters() if weight.requires_grad)

    assert estimate.trainable(shape_of(base), variant) == trained
    config = json.loads((base / "config.json").read_text())
    every = sum(weight.numel() for weight in objective.parameters())
    rank = lora.rank if lora else None
    assert estimate.training_bytes(config, freeze=freeze, lora_rank=rank) == 4 * every + 12 * trained


@pytest.mark.parametrize("tagged", [False, True])
def test_positions_are_the_layouts(tagged: bool) -> None:
    assert estimate.positions(7, 30, tagged=tagged) == layout.length(7 + 8, 30, tagged=tagged)


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("size", ["0.6B", "1.7B"])
def test_bytes_kept_by_a_layer_are_what_was_measured(size: str, bfloat16: bool) -> None:
    """One code-predictor layer with a talker's sizes: the layers of both are alike."""
    from qwen_tts.core.models.configuration_qwen3_tts import Qwen3TTSTalkerCodePredictorConfig
    from qwen_tts.core.models.modeling_qwen3_tts import Qwen3TTSTalkerCodePredictorModel

    stack, positions = PUBLISHED[size].talker, 64
    config = Qwen3TTSTalkerCodePredictorConfig(
        vocab_size=8,
        hidden_size=stack.hidden,
        intermediate_size=stack.intermediate,
        num_hidden_layers=1,
        num_attention_heads=stack.heads,
        num_key_value_heads=stack.kv_heads,
        head_dim=stack.head_dim,
        num_code_groups=16,
        attn_implementation="sdpa",
    )
    layer = Qwen3TTSTalkerCodePredictorModel(config, embedding_dim=8)
    weights = {weight.untyped_storage().data_ptr() for weight in layer.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    inputs = torch.randn(1, positions, stack.hidden, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        layer(inputs_embeds=inputs, use_cache=False)
    measured = sum(size for place, (size, _) in kept.items() if place not in weights)
    measured -= 2 * stack.matrices // stack.layers if bfloat16 else 0  # the matrices' copies, counted elsewhere

    reckoned = estimate._kept_bytes(stack, bfloat16=bfloat16) / stack.layers * positions
    assert measured == pytest.approx(reckoned, rel=0.1)
