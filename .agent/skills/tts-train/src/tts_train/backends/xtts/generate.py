"""Tokens to audio codes to samples, with the steps and the samples of coqui-tts's own `Xtts.inference`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from tts_train.errors import Diverged

if TYPE_CHECKING:
    import numpy as np
    from TTS.tts.layers.xtts.gpt import GPT
    from TTS.tts.models.xtts import Xtts

BATCH = 8
"""Sentences that `batched` generates together: each needs some 0.2 GB for its keys and values."""
_APART = 1_000_003


def sentence_seed(seed: int, index: int) -> int:
    """The seed of the sentence `index`: the first one's is the text's own, as stock would be given it."""
    return (seed + _APART * index) % 2**63


def codes(
    model: Xtts, latents: Tensor, utterances: Sequence[Tensor], knobs: Mapping[str, Any], seed: int
) -> Iterator[Tensor]:
    """(n,) audio codes of each utterance as it is generated, with the stop token where the model ended by itself.

    latents (1, 32, width), utterances (1, n) text tokens each. Raises Diverged when the weights are not finite.
    """
    # Without sampling the others mean nothing, and transformers warns of them.
    sampling = ("temperature", "top_k", "top_p") if knobs["do_sample"] else ()
    how = {name: knobs[name] for name in ("do_sample", "length_penalty", "repetition_penalty", *sampling)}
    size = BATCH if knobs["batched"] else 1
    for first in range(0, len(utterances), size):
        torch.manual_seed(sentence_seed(seed, first))
        try:
            made = _together(model, latents, utterances[first : first + size], how)
        except RuntimeError as error:
            if "probability tensor" not in str(error):
                raise
            raise _diverged() from error
        yield from made


def _together(model: Xtts, latents: Tensor, utterances: Sequence[Tensor], how: Mapping[str, Any]) -> list[Tensor]:
    """GPT.generate for several texts: prefixes padded on the left, where attention does not look.

    Positions are in the embeddings already, so the padding moves nothing.
    """
    gpt = model.gpt
    prefixes = [_prefix(gpt, latents, text) for text in utterances]
    longest = max(prefix.shape[1] for prefix in prefixes)
    padding = [longest - prefix.shape[1] for prefix in prefixes]
    gpt.gpt_inference.store_prefix_emb(
        torch.cat([functional.pad(prefix, (0, 0, pad, 0)) for prefix, pad in zip(prefixes, padding, strict=True)])
    )
    ids = torch.ones((len(prefixes), longest + 1), dtype=torch.long, device=latents.device)
    ids[:, -1] = gpt.start_audio_token
    attended = torch.ones_like(ids)
    for row, pad in enumerate(padding):
        attended[row, :pad] = 0
    hook = gpt.gpt.register_forward_pre_hook(_masked, with_kwargs=True) if any(padding) else None
    try:
        made = gpt.gpt_inference.generate(
            ids,
            bos_token_id=gpt.start_audio_token,
            pad_token_id=gpt.stop_audio_token,
            eos_token_id=gpt.stop_audio_token,
            max_length=gpt.max_gen_mel_tokens + ids.shape[1],
            attention_mask=attended,
            num_return_sequences=1,
            output_attentions=False,
            **how,
        )[:, ids.shape[1] :]
    finally:
        if hook:
            hook.remove()
    return [_until_stop(row, gpt.stop_audio_token) for row in made]


def _masked(_gpt: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Give transformers the mask that it would make of `attention_mask` (rows, keys), as (rows, 1, queries, keys).

    It makes it anew for every token, by torch.vmap: 4 ms, five times what the rest of the step takes in a small model.
    """
    attended = named["attention_mask"]
    if attended is None or attended.ndim != 2:
        return None
    keys = torch.arange(attended.shape[1], device=attended.device)
    queries = keys[-named["inputs_embeds"].shape[1] :, None]
    # Padding looks at itself, or nothing would be all it sees, which is not a number.
    seen = ((keys <= queries) & attended[:, None].bool()) | (keys == queries)
    return given, {**named, "attention_mask": seen[:, None]}


def _prefix(gpt: GPT, latents: Tensor, text: Tensor) -> Tensor:
    """(1, n, width): what stands before the audio codes. coqui-tts leaves it where `generate` looks for it."""
    gpt.compute_embeddings(latents, text)
    prefix: Tensor = gpt.gpt_inference.cached_prefix_emb
    return prefix


def _until_stop(codes: Tensor, stop: int) -> Tensor:
    """Without what a batch fills up with: everything behind the first stop token."""
    stops = (codes == stop).nonzero()
    return codes[: int(stops[0]) + 1] if len(stops) else codes


def wave(
    model: Xtts, latents: Tensor, embedding: Tensor, text: Tensor, codes: Tensor, speed: float
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The second half of Xtts.inference: (1, n) text tokens and (m,) codes → samples.

    Raises Diverged when they are not finite.
    """
    gpt, device = model.gpt, model.device
    heard = gpt(
        text,
        torch.tensor([text.shape[1]], device=device),
        codes[None],
        torch.tensor([len(codes) * gpt.code_stride_len], device=device),
        cond_latents=latents,
        return_latent=True,
    )
    if speed != 1.0:
        heard = functional.interpolate(heard.transpose(1, 2), scale_factor=1.0 / speed, mode="linear").transpose(1, 2)
    made = model.hifigan_decoder(heard, g=embedding).cpu().reshape(-1)
    if not made.isfinite().all():
        raise _diverged()
    samples: np.ndarray[Any, np.dtype[np.float32]] = made.numpy()
    return samples


def _diverged() -> Diverged:
    return Diverged("these weights give no finite numbers", hint="choose an earlier epoch, and train with a lower lr")
