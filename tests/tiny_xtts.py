"""An XTTS-v2 small enough for tests, made through coqui-tts's real classes: random weights, the published file format.

The GPT's sizes come from config.json, so it is small by itself. Those of the vocoder, the speaker encoder and the DVAE
are fixed in coqui-tts: `shrink` makes their classes build small ones, in this process, until it is left. A process that
cannot be patched takes a base with `dvae="true"` and `decoder="true"`: the published sizes, still small on disk because
the big tensors are views of one small storage.

Three things would make tests blind if they were left at random: a vocoder that whispers, a DVAE that gives one code for
everything, and the output projections that the GPT starts at zero.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
from collections.abc import Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

LANGUAGES = ["en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi"]
SPECIALS = ["[STOP]", "[UNK]", "[SPACE]", *(f"[{language}]" for language in LANGUAGES), "[START]"]
CHARACTERS = "abcdefghijklmnopqrstuvwxyzäöüéèàñç0123456789!\"'(),-.:;?/"
PAIRS = [
    "th",
    "he",
    "in",
    "er",
    "an",
    "re",
    "on",
    "at",
    "en",
    "nd",
    "st",
    "es",
    "or",
    "te",
    "of",
    "ed",
    "is",
    "it",
    "al",
]
MEL_STATS = 5.0
"""Divisor of every log-mel band."""
_DVAE = {
    "channels": 80,
    "normalization": None,
    "positional_dims": 1,
    "num_tokens": 1024,
    "codebook_dim": 512,
    "hidden_dim": 512,
    "num_resnet_blocks": 3,
    "kernel_size": 3,
    "num_layers": 2,
    "use_transposed_convs": False,
}
"""As coqui's GPTTrainer builds it."""
_SMALL_DVAE = {"codebook_dim": 32, "hidden_dim": 32}
_SMALL_DECODER = {"upsample_initial_channel_decoder": 32}
_SMALL_ENCODER = {"layers": [1, 1, 1, 1], "num_filters": [4, 8, 8, 16]}
_POOL = 65536
"""Numbers that the tensors of one magnitude share in a base of published sizes."""


@contextlib.contextmanager
def shrink(*, dvae: bool = True, decoder: bool = True) -> Iterator[None]:
    """Let coqui's classes build small vocoders, speaker encoders and DVAEs, whoever imported them, inside the block."""
    from TTS.tts.layers.xtts import hifigan_decoder
    from TTS.tts.layers.xtts.dvae import DiscreteVAE

    small: list[tuple[Any, Mapping[str, Any]]] = [(DiscreteVAE, _SMALL_DVAE)] if dvae else []
    if decoder:
        small += [(hifigan_decoder.HifiDecoder, _SMALL_DECODER), (hifigan_decoder.ResNetSpeakerEncoder, _SMALL_ENCODER)]
    with contextlib.ExitStack() as stack:
        for kind, sizes in small:
            stack.callback(setattr, kind, "__init__", kind.__init__)
            kind.__init__ = _with(kind.__init__, sizes)
        yield


def build(
    folder: Path,
    seed: int = 0,
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 2,
    max_audio_tokens: int = 110,
    dvae: str = "tiny",
    decoder: str = "tiny",
) -> Path:
    """Write a whole base into `folder` (about 6 MB), which is returned. The same arguments give the same weights.

    max_audio_tokens: codes a clip or an answer can have; 21.5 are a second. dvae, decoder: "tiny", to be read inside
    `shrink`, or "true", the published sizes.
    """
    import torch
    from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
    from TTS.tts.models.xtts import Xtts

    folder.mkdir(parents=True, exist_ok=True)
    write_vocab(folder / "vocab.json")
    sizes = XttsArgs(
        gpt_layers=layers,
        gpt_n_model_channels=width,
        gpt_n_heads=heads,
        decoder_input_dim=width,
        gpt_max_audio_tokens=max_audio_tokens,
        gpt_num_audio_tokens=1026,
        gpt_start_audio_token=1024,
        gpt_stop_audio_token=1025,
        gpt_use_perceiver_resampler=True,
    )
    config = XttsConfig(model_args=sizes, audio=XttsAudioConfig())
    with torch.random.fork_rng(devices=[]), shrink(dvae=dvae == "tiny", decoder=decoder == "tiny"):
        torch.manual_seed(seed)
        model = Xtts(config)
        model.tokenizer = VoiceBpeTokenizer(folder / "vocab.json")
        model.init_models()
        if decoder == "true":
            model.hifigan_decoder = _published(type(model.hifigan_decoder), decoder_input_dim=width)
        model.mel_stats = torch.full((80,), MEL_STATS)
        _awaken(model)
        state = dict(model.state_dict())
        written = config.to_dict()
        written["model_args"]["tokenizer_file"] = ""
        if decoder == "true":
            state |= _shared({name: value for name, value in state.items() if "waveform_decoder" in name}, seed)
            state = {name: value.half() if "speaker_encoder" in name else value for name, value in state.items()}
        torch.save({"model": state, "config": written}, folder / "model.pth")
        torch.save(_dvae_state(dvae, seed), folder / "dvae.pth")
    torch.save(torch.full((80,), MEL_STATS), folder / "mel_stats.pth")
    (folder / "config.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    return folder


def write_vocab(file: Path) -> int:
    """A tokenizer with the published one's special tokens. Returns its number of tokens."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    vocab = {token: number for number, token in enumerate([*SPECIALS, *CHARACTERS, *PAIRS])}
    merges = [(first, second) for first, second in PAIRS]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(file))
    return len(vocab)


def _with(original: Any, fixed: Mapping[str, Any]) -> Any:
    @wraps(original)
    def small(self: Any, *args: Any, **sizes: Any) -> None:
        original(self, *args, **{**sizes, **fixed})

    return small


def _published(kind: Any, **sizes: Any) -> Any:
    """An instance as coqui builds it, `shrink` or not."""
    made = kind.__new__(kind)
    inspect.unwrap(kind.__init__)(made, **sizes)
    return made


def _awaken(model: Any) -> None:
    """Let every weight matter, and the vocoder be heard."""
    import torch

    with torch.no_grad():
        for value in model.gpt.parameters():
            if value.dim() > 1 and not value.any():
                value.normal_(std=0.05)
        # Biases hum: without them what is heard comes from the latents and the voice.
        vocoder = model.hifigan_decoder.waveform_decoder
        for name, value in vocoder.named_parameters():
            if name.endswith("bias"):
                value.zero_()
        latents = torch.randn(1, model.args.gpt_n_model_channels, 100)
        voice = torch.nn.functional.normalize(torch.randn(1, model.args.d_vector_dim, 1), dim=1)
        vocoder.conv_post.weight.mul_(0.1 / vocoder(latents, g=voice).std())


def _dvae_state(sizes: str, seed: int) -> dict[str, Any]:
    """Weights whose codes follow the sound: the encoder's answers are spread as widely as the codebook is."""
    import torch
    from TTS.tts.layers.xtts.dvae import DiscreteVAE

    made = DiscreteVAE(**_DVAE) if sizes == "tiny" else _published(DiscreteVAE, **_DVAE)
    if sizes == "true":
        made.load_state_dict(_shared(made.state_dict(), seed))
    *before, last = made.eval().encoder
    with torch.no_grad():
        said = torch.nn.Sequential(*before)(torch.randn(1, 80, 4000) * 0.5 - 0.9)
        answers = last(said)
        last.weight.div_(answers.std(dim=(0, 2))[:, None, None])
        last.bias.sub_(answers.mean(dim=(0, 2))).div_(answers.std(dim=(0, 2)))
    state = dict(made.state_dict())
    return state if sizes == "tiny" else _shared(state, seed) | {f"encoder.{len(before)}.weight": last.weight.data}


def _shared(state: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The same shapes, with the big tensors as overlapping views of a pool per magnitude: a file holds a pool once."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    pools: dict[int, Any] = {}
    shared = {}
    for name, value in state.items():
        if not value.is_floating_point() or value.numel() <= 4096 or value.dim() < 2:
            shared[name] = value.clone()
            continue
        magnitude = round(math.log2(max(float(value.std()), 1e-8)))
        if magnitude not in pools:
            pools[magnitude] = torch.randn(_POOL, generator=generator) * 2.0**magnitude
        shared[name] = pools[magnitude].as_strided(value.shape, _strides(value.shape))
    return shared


def _strides(shape: Any) -> list[int]:
    """Strides without which two rows would be one, small enough for the pool."""
    room, strides = _POOL - 1, [1] * len(shape)
    for place, step in zip(sorted(range(len(shape)), key=lambda at: shape[at]), (1, 7, 31, 127), strict=False):
        strides[place] = max(1, min(step, room // max(1, 2 * (shape[place] - 1))))
        room -= strides[place] * (shape[place] - 1)
    return strides
