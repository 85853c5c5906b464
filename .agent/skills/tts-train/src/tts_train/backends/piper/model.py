"""The VITS generator of a Piper voice, built of coqui-tts's layers, in the pieces that training and speaking need.

Tensors are (batch, channels, time). Dropout is zero everywhere: the recipe was shown to work without it, and the
loop may call `train()` as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from TTS.tts.layers.vits.networks import ResidualCouplingBlocks, TextEncoder
from TTS.tts.layers.vits.stochastic_duration_predictor import StochasticDurationPredictor
from TTS.vocoder.models.hifigan_generator import HifiganGenerator

from tts_train.errors import ConfigError, Diverged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tts_train.backends.piper.architecture import Architecture


@dataclass(frozen=True)
class Encoded:
    """What the text encoder knows about a batch of phoneme sequences; `mask` (batch, 1, phonemes) is 1 on real ones."""

    hidden: Tensor
    mean: Tensor
    log_scale: Tensor
    mask: Tensor


class PiperVits(nn.Module):
    """phoneme ids → hidden → durations → latent frames → samples."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.sizes = sizes
        self.text_encoder = TextEncoder(
            sizes.symbols,
            sizes.latent_channels,
            sizes.hidden_channels,
            sizes.feed_forward_channels,
            sizes.heads,
            sizes.text_layers,
            sizes.text_kernel,
            dropout_p=0.0,
        )
        self.duration = _speaking_part(
            StochasticDurationPredictor(
                sizes.hidden_channels, sizes.hidden_channels, sizes.duration_kernel, 0.0, sizes.duration_flows
            )
        )
        self.flow = ResidualCouplingBlocks(
            sizes.latent_channels,
            sizes.hidden_channels,
            kernel_size=sizes.flow_kernel,
            dilation_rate=1,
            num_layers=sizes.flow_layers,
            num_flows=sizes.flow_blocks,
        )
        self.decoder = HifiganGenerator(
            sizes.latent_channels,
            1,
            sizes.resblock_type,
            sizes.resblock_dilations,
            sizes.resblock_kernels,
            sizes.upsample_kernels,
            sizes.upsample_channels,
            sizes.upsample_rates,
            inference_padding=0,
            conv_pre_weight_norm=False,
            conv_post_weight_norm=False,
            conv_post_bias=False,
        )
        _bake_weight_norm(self)

    def load(self, weights: Mapping[str, NDArray[np.float32] | Tensor]) -> None:
        """Take a voice's weights. Raises ConfigError unless every parameter is there, with its shape, and none more."""
        own = self.state_dict()
        wrong = [f"{name} is missing" for name in own if name not in weights]
        wrong += [f"{name} has no place" for name in weights if name not in own]
        wrong += [
            f"{name} is {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own
            if name in weights and tuple(weights[name].shape) != tuple(own[name].shape)
        ]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise ConfigError(
                f"the weights do not fit: {'; '.join(wrong[:3])}{more}", hint="is this the right base voice?"
            )
        self.load_state_dict({name: torch.as_tensor(weight) for name, weight in weights.items()})

    def encode(self, ids: Tensor, lengths: Tensor) -> Encoded:
        """ids (batch, phonemes), padded with anything; lengths (batch,)."""
        hidden, mean, log_scale, mask = self.text_encoder(ids, lengths)
        return Encoded(hidden, mean, log_scale, mask)

    def log_durations(self, encoded: Encoded, noise_w: float = 0.0) -> Tensor:
        """Natural log of frames per phoneme, (batch, phonemes). Raises Diverged when the spline flow breaks down."""
        try:
            predicted = self.duration(encoded.hidden, encoded.mask, reverse=True, noise_scale=noise_w)
        except (AssertionError, ValueError) as error:  # how the library's splines say "not finite"
            raise Diverged(
                "the duration predictor no longer gives finite numbers", hint="lower the learning rate"
            ) from error
        return cast("Tensor", predicted.squeeze(1))

    def frames(
        self,
        encoded: Encoded,
        durations: Tensor,
        noise: float = 0.0,
        window: tuple[Tensor, int] | None = None,
    ) -> Tensor:
        """Latent frames for the decoder, (batch, channels, frames).

        durations (batch, phonemes) are whole frames per phoneme, 0 for padding. `window` = (first frame per item,
        length) gives just those frames, the same numbers as a slice of the whole: the flow is run over the window
        and as far beyond it as it can see.
        """
        ends = durations.cumsum(1)
        totals = ends[:, -1:]
        if window is None:
            reach, length, first = 0, int(totals.max()), torch.zeros(len(ends), dtype=torch.long, device=ends.device)
        else:
            reach, (first, length) = self.sizes.flow_reach, window
        places = (first - reach).unsqueeze(1) + torch.arange(length + 2 * reach, device=ends.device)
        inside = ((places >= 0) & (places < totals)).unsqueeze(1).to(encoded.mean.dtype)
        spoken = torch.searchsorted(ends, places.clamp(min=0), right=True).clamp(max=durations.shape[1] - 1)
        pick = spoken.unsqueeze(1).expand(-1, encoded.mean.shape[1], -1)
        prior = encoded.mean.gather(2, pick)
        if noise:
            prior = prior + torch.randn_like(prior) * encoded.log_scale.gather(2, pick).exp() * noise
        latent = self.flow(prior * inside, inside, reverse=True) * inside
        return cast("Tensor", latent[:, :, reach : reach + length])

    def decode(self, latent: Tensor) -> Tensor:
        """Samples in (-1, 1), (batch, frames * hop)."""
        return cast("Tensor", self.decoder(latent).squeeze(1))

    def speak(
        self, ids: Tensor, noise: float = 0.0, noise_w: float = 0.0, length_scale: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """One sequence of ids (phonemes,): samples (n,) and frames per phoneme (phonemes,)."""
        with torch.no_grad():
            encoded = self.encode(ids.unsqueeze(0), torch.tensor([len(ids)], device=ids.device))
            durations = whole_frames(self.log_durations(encoded, noise_w), length_scale)
            return self.decode(self.frames(encoded, durations, noise)).squeeze(0), durations.squeeze(0)


def whole_frames(log_durations: Tensor, length_scale: float = 1.0) -> Tensor:
    """Frames per phoneme as Piper rounds them, int64. Raises Diverged when they are not finite."""
    frames = torch.ceil(log_durations.exp() * length_scale)
    if not torch.isfinite(frames).all():
        raise Diverged("the predicted durations are not finite", hint="lower the learning rate")
    return frames.long()


def build(sizes: Architecture, weights: Mapping[str, Any]) -> PiperVits:
    """A voice with its weights, in evaluation mode, fp32."""
    model = PiperVits(sizes)
    model.load(weights)
    return model.eval()


def _speaking_part(predictor: StochasticDurationPredictor) -> StochasticDurationPredictor:
    """Without the parts that only likelihood training uses: a voice's file lacks them, so they would stay random."""
    for name in ("post_pre", "post_convs", "post_proj", "post_flows"):
        delattr(predictor, name)
    predictor.flows[1] = nn.Identity()  # VITS never runs its first spline flow when speaking
    return predictor


def _bake_weight_norm(model: nn.Module) -> None:
    """Plain weights, as exported: the file holds no magnitudes and directions."""
    from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

    parametrized: Iterator[nn.Module] = (module for module in model.modules() if is_parametrized(module))
    for module in list(parametrized):
        remove_parametrizations(module, "weight")
