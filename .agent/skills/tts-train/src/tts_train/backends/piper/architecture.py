"""The VITS generator's sizes, read off the shapes of its weights, and the one set of sizes that is hosted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

Shapes = Mapping[str, tuple[int, ...]]
"""Parameter (in the names of `model.PiperVits`) to shape."""


@dataclass(frozen=True)
class ConvStep:
    """What a convolution's weight does not tell."""

    stride: int
    dilation: int


@dataclass(frozen=True)
class Architecture:
    """Sizes of a Piper voice. Channels are widths of (batch, channels, time) tensors; a frame is `hop` samples."""

    symbols: int
    hidden_channels: int
    latent_channels: int
    feed_forward_channels: int
    heads: int
    text_layers: int
    text_kernel: int
    attention_window: int
    flow_blocks: int
    flow_layers: int
    flow_kernel: int
    duration_flows: int
    duration_kernel: int
    resblock_type: str
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    upsample_channels: int
    resblock_kernels: tuple[int, ...]
    resblock_dilations: tuple[tuple[int, ...], ...]

    @property
    def hop(self) -> int:
        """Samples per frame."""
        hop = 1
        for rate in self.upsample_rates:
            hop *= rate
        return hop

    @property
    def flow_reach(self) -> int:
        """Frames on either side that one frame of the flow's output depends on (its convolutions do not dilate)."""
        return self.flow_blocks * self.flow_layers * (self.flow_kernel // 2)


MEDIUM = Architecture(
    symbols=256,
    hidden_channels=192,
    latent_channels=192,
    feed_forward_channels=768,
    heads=2,
    text_layers=6,
    text_kernel=3,
    attention_window=4,
    flow_blocks=4,
    flow_layers=4,
    flow_kernel=5,
    duration_flows=4,
    duration_kernel=3,
    resblock_type="2",
    upsample_rates=(8, 8, 4),
    upsample_kernels=(16, 16, 8),
    upsample_channels=256,
    resblock_kernels=(3, 5, 7),
    resblock_dilations=((1, 2), (2, 6), (3, 12)),
)
"""Piper's "medium" quality, the only one whose equality with onnxruntime has been shown. `symbols` may differ."""


def derive(shapes: Shapes, steps: Mapping[str, ConvStep]) -> Architecture:
    """Sizes from shapes; `steps` are strides and dilations by weight name. What is absent counts as 0."""

    def size(name: str, axis: int) -> int:
        shape = shapes.get(name, ())
        return shape[axis] if axis < len(shape) else 0

    def count(pattern: str) -> int:
        return len({match[0] for name in shapes if (match := re.match(pattern, name))})

    hidden = size("text_encoder.emb.weight", 1)
    relative = "text_encoder.encoder.attn_layers.0.emb_rel_k"
    ups = count(r"decoder\.ups\.\d+\.weight")
    two_stage = any(".convs1." in name for name in shapes)
    convs = "convs1" if two_stage else "convs"
    blocks = [f"decoder.resblocks.{index}.{convs}" for index in range(count(r"decoder\.resblocks\.\d+"))]
    per_stage = blocks[: len(blocks) // ups] if ups else []
    return Architecture(
        symbols=size("text_encoder.emb.weight", 0),
        hidden_channels=hidden,
        latent_channels=size("text_encoder.proj.weight", 0) // 2,
        feed_forward_channels=size("text_encoder.encoder.ffn_layers.0.conv_1.weight", 0),
        heads=hidden // max(1, size(relative, 2)),
        text_layers=count(r"text_encoder\.encoder\.attn_layers\.\d+"),
        text_kernel=size("text_encoder.encoder.ffn_layers.0.conv_1.weight", 2),
        attention_window=size(relative, 1) // 2,
        flow_blocks=count(r"flow\.flows\.\d+"),
        flow_layers=count(r"flow\.flows\.0\.enc\.in_layers\.\d+\.weight"),
        flow_kernel=size("flow.flows.0.enc.in_layers.0.weight", 2),
        # The first flow after the affine one is never used when speaking and may be absent from the file.
        duration_flows=max(
            (int(match[1]) for name in shapes if (match := re.match(r"duration\.flows\.(\d+)", name))), default=0
        ),
        duration_kernel=size("duration.convs.convs_sep.0.weight", 2),
        resblock_type="1" if two_stage else "2",
        upsample_rates=tuple(steps[f"decoder.ups.{index}.weight"].stride for index in range(ups)),
        upsample_kernels=tuple(size(f"decoder.ups.{index}.weight", 2) for index in range(ups)),
        upsample_channels=size("decoder.conv_pre.weight", 0),
        resblock_kernels=tuple(size(f"{block}.0.weight", 2) for block in per_stage),
        resblock_dilations=tuple(
            tuple(steps[name].dilation for name in sorted(shapes) if name.startswith(block) and name.endswith("weight"))
            for block in per_stage
        ),
    )


def differences(found: Architecture) -> list[str]:
    """How a voice differs from the hosted sizes, one line each; the number of symbols is free."""
    hosted = replace(MEDIUM, symbols=found.symbols)
    return [
        f"{field.name.replace('_', ' ')} is {getattr(found, field.name)}, expected {getattr(hosted, field.name)}"
        for field in fields(Architecture)
        if getattr(found, field.name) != getattr(hosted, field.name)
    ]
