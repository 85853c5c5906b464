"""The training target: proven by parity with generation and by memorising. A falling loss proves nothing."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tts_train.backends.qwen3 import checkpoint, layout, parts, text
from tts_train.backends.qwen3.base import describe
from tts_train.backends.qwen3.layout import Batch, SpecialIds, collate, utterance
from tts_train.backends.qwen3.objective import Objective
from tts_train.config import LoraSettings
from tts_train.errors import ConfigError, InputUnusable

TEXTS = (
    "Hello there, how are you today?",
    "The quick brown fox jumps over the lazy dog.",
    "She said she would be here by noon.",
    "one two three four five",
)
LENGTHS = (8, 10, 12, 14)
VOICE, SLOT = "voice", 3000
GREEDY = {"do_sample": False, "subtalker_dosample": False, "repetition_penalty": 1.0}


# --- What goes wrong in trainers of this model, one mistake each ------------------------------------------------------


class ShiftedTwice(Objective):
    """Labels are shifted before a loss that shifts them again: a state learns the code after the next."""

    def talker_predictions(self, hidden, batch):
        return self.talker.codec_head(hidden[batch.target_positions - 1]), batch.targets


class Leaked(Objective):
    """The predictor sees the state that has already read the frame it is to predict."""

    def hidden_before(self, hidden, batch):
        return hidden[batch.frame_positions]


class ShiftedPredictor(Objective):
    """Each head learns the next head's group."""

    def predictor_predictions(self, before, codes, frames):
        logits, targets = super().predictor_predictions(before, codes, frames)
        return logits[:, :-1], targets[:, 1:]


class Unprojected(Objective):
    """Text is embedded and not projected: on 1.7B, where the sizes fit, nothing complains."""

    def embed(self, batch, codes):
        projection, self.talker.text_projection = self.talker.text_projection, torch.nn.Identity()
        try:
            return super().embed(batch, codes)
        finally:
            self.talker.text_projection = projection


class Official(ShiftedTwice, Leaked, ShiftedPredictor):
    """The official trainer's loss at 022e286, its text projection repaired."""


# --- Models and batches -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def load_stock(folder: Path, dtype: torch.dtype = torch.float32, attention: str = "sdpa") -> Any:
    """The published wrapper, nothing of ours in it."""
    from qwen_tts import Qwen3TTSModel

    return Qwen3TTSModel.from_pretrained(str(folder), dtype=dtype, attn_implementation=attention)


@pytest.fixture(scope="module")
def bases(tiny_base: Path, tiny_base_17: Path) -> dict[str, Any]:
    """Both shapes, with a voice in its slot so that `generate` speaks as a custom voice. Not to be changed."""
    loaded = {"0b6": load_stock(tiny_base), "1b7": load_stock(tiny_base_17)}
    for wrapper in loaded.values():
        talker = wrapper.model.config.talker_config
        talker.spk_id, talker.spk_is_dialect = {VOICE: SLOT}, {VOICE: False}
    return loaded


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> text.TextTokenizer:
    return text.load_tokenizer(tiny_base)


@pytest.fixture(scope="module")
def ids(tiny_base: Path) -> SpecialIds:
    return SpecialIds.from_config(json.loads((tiny_base / "config.json").read_text()))


@pytest.fixture(scope="module")
def clips() -> list[Any]:
    """Random codes: there is nothing in them to guess, only to remember."""
    draw = np.random.default_rng(3)
    return [draw.integers(0, 2048, (frames, layout.GROUPS)).astype(np.int16) for frames in LENGTHS]


@pytest.fixture(scope="module")
def rows(tokenizer: text.TextTokenizer, ids: SpecialIds, clips: list[Any]) -> list[layout.Row]:
    return [utterance(tokenizer.prompt_ids(words), codes, ids, 2050) for words, codes in zip(TEXTS, clips, strict=True)]


def vector(hidden: int) -> torch.Tensor:
    return torch.randn(hidden, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def batch(rows: list[layout.Row]) -> Batch:
    return collate(rows, [vector(64)] * len(rows))


def objective_of(wrapper: Any, kind: type[Objective] = Objective, **options: Any) -> Objective:
    """An objective with weights of its own."""
    return kind(SimpleNamespace(talker=copy.deepcopy(wrapper.model.talker)), **options)


def of_width(batch: Batch, hidden: int) -> Batch:
    return replace(batch, speakers=torch.stack([vector(hidden)] * len(batch.text)))


# --- Parity with generation -------------------------------------------------------------------------------------------


class Said:
    """One greedy utterance of stock generation, with every embedding that the talker read on the way."""

    def __init__(self, wrapper: Any, words: str, language: str) -> None:
        read: list[torch.Tensor] = []
        watch = wrapper.model.talker.model.register_forward_pre_hook(
            lambda _module, _args, given: read.append(given["inputs_embeds"].clone()), with_kwargs=True
        )
        prompt = wrapper._tokenize_texts([wrapper._build_assistant_text(words)])
        try:
            codes, _ = wrapper.model.generate(
                prompt, languages=[language], speakers=[VOICE], non_streaming_mode=True, max_new_tokens=14, **GREEDY
            )
        finally:
            watch.remove()
        self.codes = codes[0].numpy().astype(np.int16)
        self.prefill, self.read = read[0], torch.cat(read, dim=1)


@pytest.fixture(scope="module", params=["0b6", "1b7"])
def size(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["Auto", "English"])
def generated(size: str, bases: dict[str, Any], tokenizer: Any, ids: SpecialIds, request: Any) -> SimpleNamespace:
    """What was said, as a training batch of the same text, language and voice."""
    wrapper, language = bases[size], request.param
    said = Said(wrapper, TEXTS[0], language)
    row = utterance(tokenizer.prompt_ids(TEXTS[0]), said.codes, ids, {"Auto": None, "English": 2050}[language])
    speaker = wrapper.model.talker.model.codec_embedding.weight[SLOT].detach()
    return SimpleNamespace(wrapper=wrapper, said=said, row=row, batch=collate([row], [speaker]))


@torch.no_grad()
def agreement(objective: Objective, batch: Batch) -> dict[str, float]:
    """Share of teacher-forced first choices that are what generation said."""
    got = objective.predictions(batch)
    spoken = got.talker_targets < 2048  # generation was cut off; the end was not its choice
    first = got.talker[spoken, :2048].argmax(-1)  # it may choose no control token
    return {
        "talker": (first == got.talker_targets[spoken]).float().mean().item(),
        "code_predictor": (got.predictor.argmax(-1) == got.predictor_targets).float().mean().item(),
    }


def test_teacher_forcing_agrees_with_generation_everywhere(generated):
    assert len(np.unique(generated.said.codes[:, 0])) > len(generated.said.codes) / 2  # or any shift would agree

    assert agreement(Objective(generated.wrapper.model), generated.batch) == {"talker": 1.0, "code_predictor": 1.0}
    some = Objective(generated.wrapper.model, subtalker_frames=0.5).train()
    assert agreement(some, generated.batch) == {"talker": 1.0, "code_predictor": 1.0}


@pytest.mark.parametrize(
    ("mistake", "term"),
    [(ShiftedTwice, "talker"), (Leaked, "code_predictor"), (ShiftedPredictor, "code_predictor")],
)
def test_parity_sees_each_misalignment(generated, mistake, term):
    assert agreement(mistake(generated.wrapper.model), generated.batch)[term] < 0.9


def test_the_official_mistakes_are_the_library_s_own(generated):
    """The loss that the library computes from the official script's inputs is the one that `Official` stands for."""
    model, batch = generated.wrapper.model, generated.batch
    objective, talker, row = Objective(model), model.talker, generated.row
    with torch.no_grad():
        # One more position than ours, for the end; its input is cut off again, its label is not.
        read = objective.embed(batch, objective.embed_frames(batch.frames))
        labels = torch.full((1, read.shape[1] + 1), -100)
        labels[0, row.first_frame :] = row.targets
        attention = torch.ones(read.shape[:2], dtype=torch.long)
        said = talker(inputs_embeds=read, attention_mask=attention, labels=labels[:, 1:], output_hidden_states=True)
        after = said.hidden_states[0][-1][0, row.first_frame :]
        _, predictor = talker.forward_sub_talker_finetune(batch.frames, after)

    ours = terms(Official(model, predictor_weight=1.0), batch)
    assert ours == pytest.approx({"talker": said.loss.item(), "code_predictor": predictor.item()}, rel=1e-5)
    right = terms(Objective(model, predictor_weight=1.0), batch)
    assert all(abs(ours[name] - right[name]) > 0.05 for name in ours)


def test_parity_sees_unprojected_text(generated, size):
    broken = Unprojected(generated.wrapper.model)
    if size == "0b6":
        with pytest.raises(RuntimeError, match="size of tensor"):
            agreement(broken, generated.batch)
    else:
        assert agreement(broken, generated.batch)["talker"] < 0.9


def test_the_layout_is_what_generation_reads(generated):
    objective, said = Objective(generated.wrapper.model), generated.said
    with torch.no_grad():
        ours = objective.embed(generated.batch, objective.embed_frames(generated.batch.frames))

    assert generated.row.first_frame == said.prefill.shape[1]
    both = min(ours.shape[1], said.read.shape[1])
    assert both >= generated.row.first_frame + generated.row.frames - 1
    torch.testing.assert_close(ours[:, :both], said.read[:, :both], rtol=1e-5, atol=1e-6)


def test_lengths_are_known_before_an_utterance_is_built(tokenizer, ids, clips):
    for codes, language in zip(clips, (None, 2050, None, 2050), strict=True):
        prompt = tokenizer.prompt_ids("The lazy fox said hello to the rat")
        row = utterance(prompt, codes, ids, language)

        assert len(row.text) == len(row.codec) == layout.length(len(prompt), len(codes), tagged=language is not None)
        assert row.targets.tolist() == [*codes[:, 0].tolist(), ids.eos]


def test_ids_come_from_the_config_alone(tiny_base, ids):
    config = json.loads((tiny_base / "config.json").read_text())
    assert (ids.pad, ids.bos, ids.eos, ids.think) == (2148, 2149, 2150, 2154)
    del config["talker_config"]["codec_think_id"], config["tts_pad_token_id"]

    with pytest.raises(InputUnusable, match="tts_pad_token_id, codec_think_id"):
        SpecialIds.from_config(config)


def test_a_batch_moves_as_a_whole(batch):
    moved = batch.to("meta")

    assert {getattr(moved, field.name).device.type for field in fields(moved)} == {"meta"}


@pytest.mark.parametrize("shape", [(0, 16), (4, 15), (16,)])
def test_codes_of_another_shape_are_refused(tokenizer, ids, shape):
    with pytest.raises(InputUnusable, match="frames, 16"):
        utterance(tokenizer.prompt_ids("hello"), np.zeros(shape, np.int16), ids, None)


# --- Memorising -------------------------------------------------------------------------------------------------------


def train(objective: Objective, batch: Batch, steps: int, lr: float, **autocast: Any) -> Iterator[float]:
    """A plain loop; yields the loss of each step before its update."""
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parts.param_groups(objective, 0.01), lr=lr)
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, **{"enabled": False, **autocast}):
            loss = sum(objective(batch).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        yield loss.item()


def speak(folder: Path) -> list[Any]:
    """Codes of all four sentences, greedily, through the published programs alone."""
    stock, spoken = load_stock(folder), []
    generate = stock.model.generate

    def watched(**given):
        spoken.append(generate(**given))
        return spoken[-1]

    stock.model.generate = watched
    for words in TEXTS:
        stock.generate_custom_voice(text=words, speaker=VOICE, language="English", max_new_tokens=18, **GREEDY)
    return [codes[0].numpy() for codes, _ in spoken]


@pytest.mark.parametrize("kind", [Objective, Official])
def test_what_was_learnt_is_what_stock_generation_says(kind, tiny_base, batch, clips, tmp_path):
    """Four clips by heart, their ends included; the official loss falls as low and teaches nothing of the sort."""
    wrapper = load_stock(tiny_base)
    objective = objective_of(wrapper, kind)
    losses = list(train(objective, batch, steps=120, lr=3e-3))
    checkpoint.write(
        tmp_path,
        base=describe(tiny_base, "tiny"),
        weights=parts.merged_state(objective),
        speaker=VOICE,
        vector=vector(64),
        voice={},
        encoder=wrapper.model.speaker_encoder.state_dict(),
        dtype="float32",
    )

    spoken = speak(tmp_path)

    assert losses[0] > 9
    assert losses[-1] < 0.1
    lengths = [len(codes) for codes in spoken]
    right = [
        (said[: len(codes)] == codes[: len(said)]).mean() if len(said) else 0.0
        for said, codes in zip(spoken, clips, strict=True)
    ]
    if kind is Objective:
        assert lengths == list(LENGTHS)
        assert right == [1.0] * 4
    else:
        assert lengths != list(LENGTHS)
        assert max(right) < 0.2


# --- The loss itself --------------------------------------------------------------------------------------------------


@torch.no_grad()
def terms(objective: Objective, batch: Batch) -> dict[str, float]:
    return {name: value.item() for name, value in objective(batch).items()}


def test_padding_changes_nothing_and_every_frame_weighs_the_same(bases, rows, batch):
    objective = Objective(bases["0b6"].model)
    single = [terms(objective, collate([row], [vector(64)])) for row in rows]
    frames = np.array(LENGTHS)

    together = terms(objective, batch)

    talker = np.average([row["talker"] for row in single], weights=frames + 1)
    predictor = np.average([row["code_predictor"] for row in single], weights=frames)
    assert together == pytest.approx({"talker": talker, "code_predictor": predictor}, abs=1e-5)
    assert together["talker"] != pytest.approx(np.mean([row["talker"] for row in single]), abs=1e-5)


def test_what_stands_in_the_padding_is_never_read(bases, batch):
    objective = Objective(bases["0b6"].model)
    last = batch.target_positions[torch.tensor(LENGTHS).add(1).cumsum(0) - 1] % batch.text.shape[1]
    padded = torch.arange(batch.text.shape[1]) > last.unsqueeze(1)
    assert padded.sum() > 5

    noisy = replace(batch, text=batch.text.masked_fill(padded, 77), codec=batch.codec.masked_fill(padded, 99))

    assert terms(objective, noisy) == terms(objective, batch)


def test_the_attention_chosen_does_not_matter(bases, tiny_base, batch):
    """No mask is given: each implementation has to look back only, of itself."""
    eager = load_stock(tiny_base, attention="eager")
    assert eager.model.talker.model.config._attn_implementation == "eager"

    assert terms(Objective(eager.model), batch) == pytest.approx(terms(Objective(bases["0b6"].model), batch), abs=1e-5)


def test_each_row_speaks_with_its_own_vector(bases, rows):
    objective = Objective(bases["0b6"].model)
    other = -vector(64)

    mixed = terms(objective, collate(rows[:2], [vector(64), other]))

    alone = [
        terms(objective, collate([row], [given])) for row, given in zip(rows[:2], [vector(64), other], strict=True)
    ]
    expected = np.average([row["talker"] for row in alone], weights=np.array(LENGTHS[:2]) + 1)
    assert mixed["talker"] == pytest.approx(expected, abs=1e-5)
    assert mixed["talker"] != pytest.approx(terms(objective, collate(rows[:2], [vector(64)] * 2))["talker"], abs=1e-4)


def test_the_predictor_s_weight_is_a_factor(bases, batch):
    light = terms(Objective(bases["0b6"].model), batch)
    heavy = terms(Objective(bases["0b6"].model, predictor_weight=0.6), batch)

    assert heavy["talker"] == light["talker"]
    assert heavy["code_predictor"] == pytest.approx(2 * light["code_predictor"])


def test_all_frames_draw_nothing(bases, batch):
    objective = Objective(bases["0b6"].model).train()
    torch.manual_seed(1)
    before = torch.get_rng_state()

    assert terms(objective, batch) == terms(objective, batch)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_quarter_of_the_frames_is_drawn_by_the_global_generator_and_means_the_same(bases, batch):
    whole = terms(Objective(bases["0b6"].model), batch)
    objective = Objective(bases["0b6"].model, subtalker_frames=0.25).train()
    with torch.no_grad():
        assert len(objective.predictions(batch).predictor) == round(0.25 * sum(LENGTHS))

    draws = []
    for seed in [*range(40), 0]:
        torch.manual_seed(seed)
        draws.append(terms(objective, batch))

    values = np.array([draw["code_predictor"] for draw in draws])
    assert values[-1] == values[0]
    assert len(set(values[:-1])) > 30
    error = values[:-1].std() / np.sqrt(len(values) - 1)
    assert abs(values[:-1].mean() - whole["code_predictor"]) < 4 * error
    assert {draw["talker"] for draw in draws} == {whole["talker"]}
    assert terms(objective.eval(), batch) == whole  # validation has no luck in it


# --- Numbers ----------------------------------------------------------------------------------------------------------


def drift(folder: Path, batch: Batch, dtype: torch.dtype, **autocast: Any) -> float:
    """How far ten small steps move the weights."""
    objective = objective_of(load_stock(folder, dtype))
    before = parts.merged_state(objective)
    list(train(objective, batch, steps=10, lr=2e-6, **autocast))
    after = parts.merged_state(objective)
    return torch.stack([(after[name] - before[name]).norm() for name in before]).norm().item()


def test_bfloat16_weights_lose_small_updates_and_bfloat16_arithmetic_does_not(tiny_base, batch):
    whole = drift(tiny_base, batch, torch.float32)

    assert drift(tiny_base, batch, torch.bfloat16) / whole < 0.5
    assert drift(tiny_base, batch, torch.float32, enabled=True) / whole == pytest.approx(1.0, abs=0.1)


# --- What is trained and what is published ----------------------------------------------------------------------------

LORA = LoraSettings(rank=4, alpha=8.0)


def trainable(objective: Objective) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in objective.named_parameters() if weight.requires_grad}


def same_weights(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def official(wrapper: Any) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in wrapper.model.state_dict().items() if name.startswith("talker.")}


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("freeze", [(), ("text_embedding",)])
def test_every_trainable_weight_is_in_one_group(bases, lora, freeze):
    objective = objective_of(bases["1b7"])
    parts.prepare(objective, freeze, lora)

    groups = parts.param_groups(objective, 0.1)

    listed = [id(weight) for group in groups for weight in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(weight) for weight in trainable(objective).values()}
    names = {id(weight): name for name, weight in objective.named_parameters()}
    decay = {group["name"]: {names[id(weight)] for weight in group["params"]} for group in groups}
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        name: {"decay": 0.1, "no-decay": 0.0}[name] for name in decay
    }
    if lora is None:
        spared = {name for name in trainable(objective) if "norm" in name or "embedding" in name or "bias" in name}
        assert decay["no-decay"] == spared
        assert len(spared) > 20
    again = parts.param_groups(objective, 0.1)
    assert [[id(weight) for weight in group["params"]] for group in again] == [
        [id(weight) for weight in group["params"]] for group in groups
    ]


@pytest.mark.parametrize("lora", [None, LORA])
def test_every_trainable_weight_gets_a_gradient(bases, batch, lora):
    """Data-parallel training waits for a gradient of each."""
    objective = objective_of(bases["1b7"], subtalker_frames=0.25).train()
    parts.prepare(objective, [], lora)

    sum(objective(of_width(batch, 128)).values()).backward()

    assert [name for name, weight in trainable(objective).items() if weight.grad is None] == []


def test_a_frozen_part_stays(bases, batch):
    objective = objective_of(bases["0b6"])
    parts.prepare(objective, ["text_embedding"], None)
    before = parts.merged_state(objective)
    list(train(objective, batch, steps=1, lr=1e-3))

    after = parts.merged_state(objective)

    stayed = {name for name in before if torch.equal(before[name], after[name])}
    assert stayed == {"talker.model.text_embedding.weight"}


def test_freezing_what_is_not_there_is_refused(bases):
    with pytest.raises(ConfigError, match="text_encoder"):
        parts.prepare(objective_of(bases["0b6"]), ["text_encoder"], None)


def test_adapters_alone_are_trained_and_published_merged(bases, batch, size):
    wrapper = bases[size]
    hidden = wrapper.model.talker.config.hidden_size
    given = of_width(batch, hidden)
    objective = objective_of(wrapper)
    parts.prepare(objective, [], LORA)

    assert all(".lora_" in name for name in trainable(objective))
    adapted = {name.split(".lora_")[0] for name in trainable(objective)}
    assert len(adapted) == 7 * (2 + 1)  # layers of talker and code predictor
    assert same_weights(parts.merged_state(objective), official(wrapper))

    list(train(objective, given, steps=3, lr=1e-2))
    live = {name: weight.clone() for name, weight in objective.state_dict().items()}
    merged = parts.merged_state(objective)

    plain = objective_of(wrapper)
    parts.load_merged(plain, merged)
    with torch.no_grad():
        ours, theirs = objective.predictions(given), plain.predictions(given)
        base = Objective(wrapper.model).predictions(given)
    torch.testing.assert_close(theirs.talker, ours.talker, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs.predictor, ours.predictor, rtol=1e-4, atol=1e-4)
    assert (base.talker - ours.talker).abs().max() > 0.05
    assert same_weights(dict(objective.state_dict()), live)
    changed = {name for name, weight in official(wrapper).items() if not torch.equal(weight, merged[name])}
    assert changed == {f"{name}.weight" for name in adapted}


@pytest.mark.parametrize("lora", [None, LORA])
def test_published_weights_are_copies_and_come_back(bases, lora):
    objective = objective_of(bases["0b6"])
    parts.prepare(objective, [], lora)
    with torch.no_grad():
        for name, weight in objective.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.01)
    live = {name: weight.clone() for name, weight in objective.state_dict().items()}
    published = parts.merged_state(objective)
    for weight in published.values():
        assert weight.dtype == torch.float32
        weight.add_(1.0)
    assert same_weights(dict(objective.state_dict()), live)

    parts.load_merged(objective, published)

    assert same_weights(parts.merged_state(objective), published)
    assert {id(weight) for weight in trainable(objective).values()} >= {
        id(weight) for name, weight in objective.named_parameters() if "lora_" in name
    }


def test_weights_of_the_other_size_are_refused_and_nothing_is_changed(bases):
    objective = objective_of(bases["0b6"])
    before = parts.merged_state(objective)

    with pytest.raises(InputUnusable, match="another architecture"):
        parts.load_merged(objective, official(bases["1b7"]))

    assert same_weights(parts.merged_state(objective), before)


# --- Words ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_vocabulary(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of more than 100 000 tokens: below that transformers leaves the pattern alone."""
    folder = tmp_path_factory.mktemp("large")
    vocab = json.loads((tiny_base / "vocab.json").read_text())
    vocab["cD"] = len(vocab)  # one token across the place where Mistral's pattern cuts "McDonald"
    vocab |= {f"zzq{number}": len(vocab) + number for number in range(100_500)}
    settings = json.loads((tiny_base / "tokenizer_config.json").read_text())
    specials = settings["added_tokens_decoder"].values()
    settings["added_tokens_decoder"] = {str(len(vocab) + place): token for place, token in enumerate(specials)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text(
        "#version: 0.2\nc D\n" + (tiny_base / "merges.txt").read_text().split("\n", 1)[1]
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    shutil.copy(tiny_base / "config.json", folder)
    return folder


def say_version(folder: Path, version: str | None) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config | ({"transformers_version": version} if version else {})))


def stock_ids(folder: Path) -> list[int]:
    from transformers import AutoProcessor

    prompt = "<|im_start|>assistant\nMcDonald's iPhone<|im_end|>\n<|im_start|>assistant\n"
    return AutoProcessor.from_pretrained(str(folder), fix_mistral_regex=True)(text=prompt)["input_ids"][0]


def test_words_are_cut_by_qwen_s_pattern_whatever_wrote_the_folder(bases, large_vocabulary):
    seen = []
    for version in (text.PINNED_TRANSFORMERS_VERSION, "4.57.3", None, "5.0.0"):
        say_version(large_vocabulary, version)
        loaded = text.load_tokenizer(large_vocabulary)
        pieces = loaded.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("McDonald's iPhone")
        assert [piece for piece, _ in pieces] == ["McDonald", "'s", "ĠiPhone"], version
        seen.append(loaded.prompt_ids("  McDonald's\u00a0iPhone\n"))

    assert seen == [seen[0]] * 4
    say_version(large_vocabulary, text.PINNED_TRANSFORMERS_VERSION)
    assert stock_ids(large_vocabulary) == seen[0]
    say_version(large_vocabulary, "4.57.3")
    assert stock_ids(large_vocabulary) != seen[0]  # what the pin is for


def test_a_pattern_that_was_saved_with_the_tokenizer_is_not_believed(bases, large_vocabulary, tmp_path):
    """save_pretrained writes what fix_mistral_regex made into tokenizer.json, where no version is asked for."""
    from transformers import AutoProcessor

    say_version(large_vocabulary, None)
    AutoProcessor.from_pretrained(str(large_vocabulary), fix_mistral_regex=True).tokenizer.save_pretrained(tmp_path)
    assert r"\\p{Lu}" in (tmp_path / "tokenizer.json").read_text()

    saved, original = text.load_tokenizer(tmp_path), text.load_tokenizer(large_vocabulary)

    assert saved.prompt_ids("McDonald's iPhone") == original.prompt_ids("McDonald's iPhone")

    text.pin_tokenizer(tmp_path)
    config = json.loads((large_vocabulary / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "transformers_version": "4.57.1"}))
    stock = AutoProcessor.from_pretrained(str(tmp_path), fix_mistral_regex=True).tokenizer
    assert stock("McDonald's iPhone")["input_ids"] == original.tokenizer("McDonald's iPhone")["input_ids"]


def test_a_prompt_has_three_tokens_before_the_words_and_five_behind(tokenizer):
    prompt = tokenizer.prompt_ids("1. «so»")

    tokens = tokenizer.tokenizer.convert_ids_to_tokens(prompt)
    assert tokens[:3] == ["<|im_start|>", "assistant", "Ċ"]
    assert tokens[-5:] == ["<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ"]
    assert tokenizer.tokenizer.decode(prompt[3:-5]) == "1. «so»"


def test_nothing_to_speak_and_no_tokenizer_are_refused(tokenizer, tmp_path):
    with pytest.raises(InputUnusable, match="nothing to speak"):
        tokenizer.prompt_ids(" \n")
    with pytest.raises(InputUnusable, match="no text tokenizer"):
        text.load_tokenizer(tmp_path)


def test_control_tokens_in_a_text_are_refused(tiny_base: Path) -> None:
    tokenizer = text.load_tokenizer(tiny_base)
    with pytest.raises(InputUnusable, match=r"control token <\|im_end\|>"):
        tokenizer.prompt_ids("Hello.<|im_end|> And more.")
