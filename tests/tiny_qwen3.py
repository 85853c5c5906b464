"""A Qwen3-TTS Base small enough for tests, made through the real classes: random weights, real file format.

All ids below 2148 and the layout of the codec vocabulary are the published models'. Text ids are not: the vocabulary is
trained here on a few sentences. Two things would make every test blind if they were left at the library's defaults:
codebooks of zeros (every code is 0) and a decoder so small that it decodes to silence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CORPUS = """The quick brown fox jumps over the lazy dog. She said she would be here by noon.
Arthur the Rat said he would go down to London in the sunshine, but the bath was full of grass and the path was muddy.
one two three four five six seven eight nine ten. Hello there, how are you today? assistant user system
"""
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>")
LANGUAGES = {
    "chinese": 2055,
    "english": 2050,
    "german": 2053,
    "italian": 2070,
    "portuguese": 2071,
    "spanish": 2054,
    "japanese": 2058,
    "korean": 2064,
    "french": 2061,
    "russian": 2069,
}
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
HIDDEN = {"0b6": 64, "1b7": 128}
"""Of the talker. Text is 128 wide and the code predictor 64, so text and talker differ in one size as in 0.6B, talker
and code predictor in the other as in 1.7B."""


def build(
    folder: Path, size: str = "0b6", seed: int = 0, layers: int = 2, predictor_layers: int = 1, vocab: int = 512
) -> Path:
    """Write a whole base into `folder` (about 12 MB), which is returned. The same arguments give the same bytes."""
    import torch
    from qwen_tts.core.models import Qwen3TTSConfig, Qwen3TTSForConditionalGeneration
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tokens = _text_tokenizer(folder, vocab)
    config = _config(size, layers, predictor_layers, tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3TTSForConditionalGeneration(Qwen3TTSConfig(**config))
        weights = {name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        _codec(folder / "speech_tokenizer", seed)
    published = {
        "architectures": ["Qwen3TTSForConditionalGeneration"],
        "dtype": "bfloat16",
        "transformers_version": "4.57.3",
    }
    _write(folder / "config.json", {**config, **published})
    sampling = {"temperature": 0.9, "top_p": 1.0, "top_k": 50}
    generation = {"do_sample": True, "repetition_penalty": 1.05, **sampling, "subtalker_dosample": True}
    generation |= {f"subtalker_{name}": value for name, value in sampling.items()}
    _write(folder / "generation_config.json", {**generation, "max_new_tokens": 8192})
    return folder


def _text_tokenizer(folder: Path, vocab: int) -> dict[str, int]:
    """vocab.json, merges.txt and tokenizer_config.json of a byte-level BPE cut like Qwen's. Returns token → id."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([CORPUS] * 12 + ["assistant"] * 50, trainer)
    bpe = json.loads(tokenizer.to_str())["model"]
    first = len(bpe["vocab"])
    specials = {token: first + place for place, token in enumerate(SPECIALS)}
    _write(folder / "vocab.json", bpe["vocab"])
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in bpe["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "processor_class": "Qwen3TTSProcessor",
            "added_tokens_decoder": {str(number): {"content": token, **flags} for token, number in specials.items()},
            "add_bos_token": False,
            "add_prefix_space": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "errors": "replace",
            "model_max_length": 131072,
            "split_special_tokens": False,
            "clean_up_tokenization_spaces": False,
        },
    )
    return {**bpe["vocab"], **specials}


def _config(size: str, layers: int, predictor_layers: int, tokens: dict[str, int]) -> dict[str, Any]:
    hidden = HIDDEN[size]
    attention = {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": None,
    }
    predictor = {
        "model_type": "qwen3_tts_talker_code_predictor",
        "vocab_size": 2048,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": predictor_layers,
        "num_code_groups": 16,
        "rope_scaling": None,
        "max_position_embeddings": 65536,
        **attention,
    }
    talker = {
        "model_type": "qwen3_tts_talker",
        "vocab_size": 3072,
        "text_vocab_size": len(tokens),
        "hidden_size": hidden,
        "text_hidden_size": 128,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_code_groups": 16,
        "rope_scaling": {"interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default", "type": "default"},
        "max_position_embeddings": 32768,
        "position_id_per_seconds": 13,
        "attention_bias": False,
        "attention_dropout": 0,
        "initializer_range": 0.02,
        "codec_pad_id": 2148,
        "codec_bos_id": 2149,
        "codec_eos_token_id": 2150,
        "codec_think_id": 2154,
        "codec_nothink_id": 2155,
        "codec_think_bos_id": 2156,
        "codec_think_eos_id": 2157,
        "codec_language_id": LANGUAGES,
        "spk_id": {},
        "spk_is_dialect": {},
        "code_predictor_config": predictor,
        **attention,
    }
    encoder = {
        "enc_dim": hidden,
        "sample_rate": 24000,
        "mel_dim": 128,
        "enc_channels": [32, 32, 32, 32, 96],
        "enc_res2net_scale": 4,
        "enc_se_channels": 16,
        "enc_attention_channels": 16,
    }
    return {
        "model_type": "qwen3_tts",
        "tokenizer_type": "qwen3_tts_tokenizer_12hz",
        "tts_model_size": size,
        "tts_model_type": "base",
        "assistant_token_id": tokens["assistant"],
        "im_start_token_id": tokens["<|im_start|>"],
        "im_end_token_id": tokens["<|im_end|>"],
        "tts_pad_token_id": tokens["<tts_pad>"],
        "tts_bos_token_id": tokens["<tts_text_bos>"],
        "tts_eos_token_id": tokens["<tts_text_eod>"],
        "speaker_encoder_config": encoder,
        "talker_config": talker,
    }


def _codec(folder: Path, seed: int) -> None:
    """The speech tokenizer: a Mimi encoder and Qwen's decoder, 24 kHz, 1920 samples a frame."""
    import torch
    from qwen_tts.core import Qwen3TTSTokenizerV2Config, Qwen3TTSTokenizerV2Model
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    encoder = {
        "sampling_rate": 24000,
        "frame_rate": 12.5,
        "audio_channels": 1,
        "hidden_size": 32,
        "num_filters": 4,
        "num_residual_layers": 1,
        "upsampling_ratios": [8, 6, 5, 4],
        "codebook_size": 2048,
        "codebook_dim": 8,
        "vector_quantization_hidden_dimension": 8,
        "num_quantizers": 16,
        "num_semantic_quantizers": 1,
        "upsample_groups": 32,
        "num_hidden_layers": 1,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "use_cache": False,
        "use_causal_conv": True,
        "sliding_window": 250,
        "compress": 2,
    }
    decoder = {
        "codebook_size": 2048,
        "codebook_dim": 16,
        "hidden_size": 32,
        "latent_dim": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 72,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_quantizers": 16,
        "upsample_rates": [8, 5, 4, 3],
        "upsampling_ratios": [2, 2],
        "decoder_dim": 32,
        "max_position_embeddings": 8000,
        "rope_theta": 10000,
    }
    config = {
        "model_type": "qwen3_tts_tokenizer_12hz",
        "encoder_config": encoder,
        "decoder_config": decoder,
        "encoder_valid_num_quantizers": 16,
        "input_sample_rate": 24000,
        "output_sample_rate": 24000,
        "decode_upsample_rate": 1920,
        "encode_downsample_rate": 1920,
    }
    model = Qwen3TTSTokenizerV2Model(Qwen3TTSTokenizerV2Config(**config))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*model.named_buffers(), *model.named_parameters()):
            if name.endswith(("embed_sum", "embedding_sum")):
                scale = 0.05 if "encoder" in name else 1.0
                value.copy_(scale * torch.randn(value.shape, generator=generator))
            elif name.endswith("cluster_usage"):
                value.fill_(1.0)
        for name, value in model.decoder.named_parameters():
            if value.dim() >= 2 and "embedding_sum" not in name:
                value.copy_(torch.randn(value.shape, generator=generator) / _fan_in(name, value) ** 0.5)
        model.decoder.decoder[-1].conv.weight.mul_(0.1)
    weights = {name: value.to(torch.float32).contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    published = {"architectures": ["Qwen3TTSTokenizerV2Model"], "dtype": "float32", "transformers_version": "4.57.3"}
    _write(folder / "config.json", {**config, **published})
    _write(
        folder / "preprocessor_config.json",
        {
            "feature_extractor_type": "EncodecFeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": 24000,
            "chunk_length_s": None,
            "overlap": None,
        },
    )
    _write(folder / "configuration.json", {})


def _fan_in(name: str, weight: Any) -> int:
    if "upsample" in name and weight.dim() == 3 and weight.shape[0] == weight.shape[1]:  # a transposed convolution
        return int(weight.shape[0] * weight.shape[2])
    return int(weight[0].numel())


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
