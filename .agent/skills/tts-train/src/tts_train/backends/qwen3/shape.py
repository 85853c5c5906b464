"""How many weights a Qwen3-TTS has, part by part, from its config.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stack:
    """Qwen3 decoder layers, all alike."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    bias: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Stack:
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        return cls(
            layers=config["num_hidden_layers"],
            hidden=hidden,
            intermediate=config["intermediate_size"],
            heads=heads,
            kv_heads=config["num_key_value_heads"],
            head_dim=config.get("head_dim") or hidden // heads,
            bias=config.get("attention_bias", False),
        )

    @property
    def projections(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of q, k, v, o, gate, up, down."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        mlp = (self.hidden, self.intermediate), (self.hidden, self.intermediate), (self.intermediate, self.hidden)
        return (self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden), *mlp

    @property
    def matrices(self) -> int:
        """Weights that multiply each position, over all layers."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.projections)

    @property
    def weights(self) -> int:
        """All layers and the norm after them."""
        biases = sum(outputs for _, outputs in self.projections[:4]) if self.bias else 0
        norms = 2 * self.hidden + 2 * self.head_dim
        return self.matrices + self.layers * (biases + norms) + self.hidden

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters of `rank` on every projection."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.projections)


@dataclass(frozen=True)
class Shape:
    """The sizes in a base's config.json that decide what training costs."""

    talker: Stack
    predictor: Stack
    text_vocabulary: int
    text_hidden: int
    codec_vocabulary: int
    codes: int
    groups: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """From a whole config.json. Raises KeyError for one that is not a Qwen3-TTS."""
        talker = config["talker_config"]
        predictor = talker["code_predictor_config"]
        return cls(
            talker=Stack.from_config(talker),
            predictor=Stack.from_config(predictor),
            text_vocabulary=talker["text_vocab_size"],
            text_hidden=talker["text_hidden_size"],
            codec_vocabulary=talker["vocab_size"],
            codes=predictor["vocab_size"],
            groups=talker["num_code_groups"],
        )

    def weights(self) -> dict[str, int]:
        """Weights by part of the talker, as `talker.…` in the checkpoint; the speaker encoder never trains."""
        hidden, small, others = self.talker.hidden, self.predictor.hidden, self.groups - 1
        projection = self.text_hidden * (self.text_hidden + 1) + hidden * (self.text_hidden + 1)
        return {
            "text_embedding": self.text_vocabulary * self.text_hidden,
            "text_projection": projection,
            "codec_embedding": self.codec_vocabulary * hidden,
            "talker": self.talker.weights,
            "codec_head": self.codec_vocabulary * hidden,
            "predictor": self.predictor.weights,
            "predictor_embeddings": others * self.codes * hidden,
            "predictor_heads": others * self.codes * small,
            "predictor_projection": small * (hidden + 1) if hidden != small else 0,
        }

    @property
    def total(self) -> int:
        return sum(self.weights().values())


def _published(hidden: int) -> Shape:
    return Shape(
        talker=Stack(28, hidden, 3 * hidden, heads=16, kv_heads=8, head_dim=128),
        predictor=Stack(5, 1024, 3072, heads=16, kv_heads=8, head_dim=128),
        text_vocabulary=151936,
        text_hidden=2048,
        codec_vocabulary=3072,
        codes=2048,
        groups=16,
    )


PUBLISHED = {"0.6B": _published(1024), "1.7B": _published(2048)}
"""The sizes on the hub, for planning before a base is on this machine."""


def size_in(name: str) -> str:
    """The published size that a base's name speaks of; the larger one when it does not say."""
    return "0.6B" if "0.6b" in name.lower() else "1.7B"
