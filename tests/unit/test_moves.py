"""The rules: every row of the listening loop, conflicts between listeners, and ears against measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finished_run import CONSTANT, DECAY, HOT, SETTLED, TIMID, Story
from judged_run import adopted, evidence_of, heard, trials
from tts_train.review.decision import moves
from tts_train.review.decision.ears import ears_of
from tts_train.review.decision.evidence import EpochEvidence, Evidence
from tts_train.review.decision.measured import Gate, Measures
from tts_train.review.decision.moves import Decision, load_moves
from tts_train.review.record.verdicts import CATEGORIES, Verdict

MOVES = {
    "raise-lr",
    "remove-decay",
    "add-epochs",
    "train-more",
    "rewind",
    "lower-lr-continue",
    "audit-data",
    "ship",
}


def decide(evidence: Evidence, verdicts: Sequence[Verdict]) -> Decision:
    return moves.decide(evidence, ears_of(verdicts))


def why(decision: Decision) -> str:
    return " ".join(decision.why)


LINEAR = replace(DECAY, changes={"lr": 4e-5, "schedule": {"shape": "linear"}})
TIMID_LINEAR = replace(TIMID, changes={"lr": 1e-5, "schedule": {"shape": "linear"}})

TABLE = {
    "no difference after decay": (DECAY, [heard(6, "no-difference")], "remove-decay", 6),
    "no difference, linear decay over the run": (LINEAR, [heard(6, "no-difference")], "remove-decay", 6),
    "no difference at a low constant rate": (TIMID, [heard(6, "no-difference")], "raise-lr", 6),
    "no difference at the recipe's rate": (CONSTANT, [heard(6, "no-difference")], "raise-lr", 6),
    "no difference early, more training is there": (CONSTANT, [heard(2, "no-difference")], "add-epochs", 6),
    "no difference early, later epochs decayed to nothing": (DECAY, [heard(2, "no-difference")], "remove-decay", 2),
    "no difference early, later epochs are broken": (HOT, [heard(1, "no-difference")], "add-epochs", 1),
    "mangled late": (CONSTANT, [heard(6, "mangled")], "rewind", 5),
    "right accent but mangled": (CONSTANT, [heard(6, "good", "mangled")], "rewind", 5),
    "mangled late, an early epoch was good": (CONSTANT, [heard(6, "mangled"), heard(3, "good")], "rewind", 3),
    "mangled at 6 and 5": (CONSTANT, [heard(6, "mangled"), heard(5, "mangled")], "rewind", 4),
    "mangled, none passes": (HOT, [heard(6, "mangled")], "lower-lr-continue", 0),
    "mangled right after one that lacks": (
        CONSTANT,
        [heard(5, "feature-missing"), heard(6, "mangled")],
        "lower-lr-continue",
        5,
    ),
    "mangled, after one that is good but lacks something": (
        CONSTANT,
        [heard(4, "good", "feature-missing"), heard(5, "mangled"), heard(6, "mangled")],
        "lower-lr-continue",
        4,
    ),
    "mangled at epoch 1": (CONSTANT, [heard(1, "mangled")], "lower-lr-continue", 0),
    "past the target": (CONSTANT, [heard(5, "overshot")], "rewind", 4),
    "past the target, nothing before": (CONSTANT, [heard(1, "overshot")], "lower-lr-continue", 0),
    "wrong direction": (CONSTANT, [heard(6, "wrong-direction")], "audit-data", 6),
    "wrong direction and mangled": (CONSTANT, [heard(6, "wrong-direction", "mangled")], "audit-data", 6),
    "one feature missing": (CONSTANT, [heard(6, "feature-missing")], "train-more", 6),
    "one feature missing at a low rate": (TIMID, [heard(6, "feature-missing")], "train-more", 6),
    "good but one feature missing": (CONSTANT, [heard(6, "good", "feature-missing")], "train-more", 6),
    "feature missing early": (CONSTANT, [heard(3, "feature-missing")], "train-more", 6),
    "good": (CONSTANT, [heard(6, "good")], "ship", 6),
    "good twice at 4, once at 6": (
        CONSTANT,
        [heard(4, "good"), heard(4, "good", listener="bob"), heard(6, "good")],
        "ship",
        4,
    ),
    "good, then the same listener hears it mangled": (CONSTANT, [heard(6, "good"), heard(6, "mangled")], "rewind", 5),
    "mangled, then the same listener takes it back": (CONSTANT, [heard(6, "mangled"), heard(6, "good")], "ship", 6),
    "good to one, mangled to the other": (
        CONSTANT,
        [heard(6, "good"), heard(6, "mangled", listener="bob")],
        "rewind",
        5,
    ),
    "good to one, nothing to the other": (
        TIMID,
        [heard(6, "good"), heard(6, "no-difference", listener="bob")],
        "train-more",
        6,
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_verdicts_lead_to_moves(case: str):
    story, verdicts, move, epoch = TABLE[case]
    decision = decide(evidence_of(story), verdicts)
    assert (decision.move, decision.epoch) == (move, epoch)
    assert decision.basis == "verdicts"
    assert verdicts[-1].quoted() in decision.why


def test_a_low_rate_that_decayed_gets_both():
    decision = decide(evidence_of(TIMID_LINEAR), [heard(6, "no-difference")])
    assert (decision.move, decision.also) == ("raise-lr", ("remove-decay",))
    assert "2.70e-03" in why(decision)


def test_decay_is_removed_only_if_that_restores_half_of_what_is_missing():
    """lr at 80 % and 50 % of the recipe's, both with linear decay: the same fault, on either side of the half."""
    for lr, move in ((3.2e-5, "remove-decay"), (2e-5, "raise-lr")):
        story = replace(DECAY, changes={"lr": lr, "schedule": {"shape": "linear", "warmup_steps": 10}})
        evidence = evidence_of(story)
        bound = evidence.sum_lr(6)
        assert bound.restored == pytest.approx((bound.without_decay - bound.actual) / (bound.recipe - bound.actual))
        assert (bound.restored >= 0.5) is (move == "remove-decay")
        assert decide(evidence, [heard(6, "no-difference")]).move == move


def test_the_reasons_quote_the_sums_with_and_without_decay():
    decision = decide(evidence_of(DECAY), [heard(6, "no-difference", note="same as before")])
    text = why(decision)
    assert "8.40e-05" in text
    assert "2.70e-03" in text
    assert "100%" in text
    assert "“same as before”" in text


def test_too_few_steps_ask_for_epochs_not_for_a_higher_rate():
    few = decide(evidence_of(CONSTANT, steps=4), [heard(6, "no-difference")])
    assert few.move == "add-epochs"
    assert "24 optimizer steps (4 per epoch)" in why(few)
    assert decide(evidence_of(CONSTANT, steps=2), [heard(6, "no-difference")]).move == "add-epochs"


def test_weights_that_did_not_move_are_said():
    evidence = evidence_of(CONSTANT)
    still = tuple(replace(item, drift=1e-7) for item in evidence.epochs)
    assert "no movement at all" in why(decide(replace(evidence, epochs=still), [heard(6, "no-difference")]))
    assert "no movement at all" not in why(decide(evidence, [heard(6, "no-difference")]))


@pytest.mark.parametrize(
    ("story", "move", "epoch"),
    [
        (DECAY, "remove-decay", 6),
        (TIMID, "raise-lr", 6),
        (HOT, "lower-lr-continue", 0),
        (CONSTANT, "train-more", 6),
        (SETTLED, "ship", 4),
    ],
    ids=["decay", "timid", "hot", "constant", "settled"],
)
def test_without_verdicts_measures_decide_and_say_so(story: Story, move: str, epoch: int):
    decision = decide(evidence_of(story), [])
    assert (decision.move, decision.epoch, decision.basis) == (move, epoch, "evidence")
    assert not decision.confirmed
    assert decision.why[0].startswith("No listener has judged this run")


def test_measures_that_break_late_rewind_to_the_passing_epoch_most_like_the_target():
    story = replace(CONSTANT, wer=(0.02, 0.02, 0.02, 0.02, 0.02, 0.30, 0.40))
    decision = decide(evidence_of(story), [])
    assert (decision.move, decision.epoch, decision.confirmed) == ("rewind", 4, False)
    assert "grossly mangled" in why(decision)


def test_a_candidate_has_to_pass_the_gate_on_words():
    best_is_mangled = replace(SETTLED, wer=(0.02, 0.02, 0.02, 0.02, 0.20, 0.03, 0.03))
    decision = decide(evidence_of(best_is_mangled), [])
    assert (decision.move, decision.epoch) == ("ship", 5)


def test_a_voice_that_moves_away_asks_for_an_audit():
    story = replace(CONSTANT, similarity=(0.62, 0.60, 0.58, 0.56, 0.55, 0.54, 0.53))
    assert decide(evidence_of(story), []).move == "audit-data"


def test_a_gate_that_the_base_fails_too_is_no_fault_of_training():
    evidence = evidence_of(SETTLED)

    def slow(number: int) -> Evidence:
        def spoiled(item: EpochEvidence) -> EpochEvidence:
            gates = {**item.measures.gates, "too-long": Gate(item.epoch < number)}
            return replace(item, measures=replace(item.measures, gates=gates))

        return replace(evidence, epochs=tuple(spoiled(item) for item in evidence.epochs))

    assert decide(slow(0), []).move == "ship"
    assert (decide(slow(6), []).move, decide(slow(6), []).epoch) == ("rewind", 4)


@pytest.mark.parametrize(
    ("story", "verdict", "told"),
    [
        (HOT, heard(6, "good"), "the gate on words fails"),
        (CONSTANT, heard(6, "mangled"), "the gate on words passes"),
        (CONSTANT, heard(6, "no-difference"), "speaker similarity changed by +0.209"),
    ],
)
def test_ears_outrank_measures_and_the_contradiction_is_said(story: Story, verdict: Verdict, told: str):
    decision = decide(evidence_of(story), [verdict])
    assert decision.basis == "verdicts"
    assert any(told in text and "Verdicts outrank" in text for text in decision.contradictions)
    assert set(decision.contradictions) <= set(decision.why)
    assert not decide(evidence_of(CONSTANT), [heard(6, "good")]).contradictions


def test_a_verdict_against_the_measures_moves_by_the_verdict():
    assert decide(evidence_of(HOT), [heard(6, "good")]).move == "ship"
    assert decide(evidence_of(SETTLED), [heard(6, "mangled")]).move == "rewind"


def test_confirmed_means_that_somebody_judged_that_very_epoch_good():
    assert decide(evidence_of(CONSTANT), [heard(6, "good")]).confirmed
    assert not decide(evidence_of(CONSTANT), [heard(6, "mangled")]).confirmed
    assert decide(evidence_of(CONSTANT), [heard(6, "mangled"), heard(4, "good")]).confirmed


def test_disagreement_is_shown_and_the_more_cautious_reading_decides():
    verdicts = [heard(6, "good"), heard(6, "mangled", listener="bob")]
    decision = decide(evidence_of(CONSTANT), verdicts)
    assert all(verdict.quoted() in decision.why for verdict in verdicts)
    assert "Epoch 6, two listeners disagree: ann: good; bob: mangled. The more cautious reading decides" in why(
        decision
    )


def test_a_verdict_on_the_base_alone_is_no_verdict_on_the_training():
    assert decide(evidence_of(SETTLED), [heard(0, "mangled")]).basis == "evidence"


def test_without_a_target_speaker_the_sum_of_rates_still_speaks():
    def untargeted(story: Story) -> Evidence:
        evidence = evidence_of(story)
        bare = Measures(wer=0.02, gates={"wer": Gate(passed=True)})
        return replace(evidence, epochs=tuple(replace(item, measures=bare) for item in evidence.epochs))

    assert decide(untargeted(DECAY), []).move == "remove-decay"
    assert decide(untargeted(TIMID), []).move == "raise-lr"
    assert decide(untargeted(CONSTANT), []).move == "train-more"
    assert "Σlr alone says" in why(decide(untargeted(TIMID), []))


def test_an_unmeasured_run_goes_back_to_the_epoch_before_the_fault():
    decision = decide(evidence_of(CONSTANT, measured=False), [heard(6, "mangled")])
    assert (decision.move, decision.epoch) == ("rewind", 5)
    assert "not measured" in why(decision)


def test_inherited_training_counts_in_the_sum():
    late = replace(evidence_of(TIMID), inherited_steps=720, inherited_sum_lr=3.5e-2)
    assert decide(late, [heard(6, "no-difference")]).move == "raise-lr"
    assert "what is left to try" in why(decide(late, [heard(6, "no-difference")]))


SERIES = st.lists(st.floats(0.3, 0.95), min_size=7, max_size=7)
STORIES = st.builds(
    Story,
    similarity=SERIES,
    mel=st.lists(st.floats(0.5, 2.0), min_size=7, max_size=7),
    wer=st.lists(st.sampled_from([0.0, 0.02, 0.04, 0.2, 1.0]), min_size=7, max_size=7),
    changes=st.fixed_dictionaries(
        {
            "lr": st.sampled_from([1e-6, 1e-5, 3e-5, 5e-5, 3e-4]),
            "epochs": st.integers(1, 6),
            "schedule": st.fixed_dictionaries(
                {
                    "shape": st.sampled_from(["constant", "linear", "cosine"]),
                    "warmup_steps": st.sampled_from([0, 5, 500]),
                    "horizon_steps": st.sampled_from([None, 6, 1000]),
                }
            ),
        }
    ),
)
JUDGED = st.lists(
    st.tuples(st.integers(0, 6), st.sets(st.sampled_from(CATEGORIES), min_size=1), st.sampled_from(["ann", "bob"])),
    max_size=5,
)


@settings(max_examples=400, deadline=None)
@given(story=STORIES, judged=JUDGED, measured=st.booleans(), steps=st.sampled_from([1, 12, 200]))
def test_the_rules_are_total(story: Story, judged: list, measured: bool, steps: int):
    evidence = evidence_of(story, measured=measured, steps=steps)
    verdicts = [heard(min(epoch, evidence.last.epoch), *what, listener=who) for epoch, what, who in judged]
    decision = decide(evidence, verdicts)
    assert decision.move in MOVES
    assert len(decision.why) >= 2
    assert all(text.strip() and "{" not in text for text in (*decision.why, *decision.would_change))
    assert decision.would_change
    assert 0 <= decision.epoch <= evidence.last.epoch
    assert decision.basis == ("verdicts" if any(verdict.epoch for verdict in verdicts) else "evidence")
    if decision.move in ("ship", "rewind", "train-more"):
        assert decision.epoch > 0


@settings(max_examples=200, deadline=None)
@given(story=STORIES, epoch=st.integers(1, 6), measured=st.booleans(), good=st.booleans())
def test_a_lone_missing_feature_never_raises_the_rate(story: Story, epoch: int, measured: bool, good: bool):
    evidence = evidence_of(story, measured=measured)
    categories = ("feature-missing", "good") if good else ("feature-missing",)
    decision = decide(evidence, [heard(min(epoch, evidence.last.epoch), *categories)])
    assert decision.move == "train-more"
    assert "raise-lr" not in decision.also


def test_every_set_of_categories_has_one_move_and_harm_is_never_shipped_or_trained_on():
    for size in range(1, len(CATEGORIES) + 1):
        for categories in combinations(CATEGORIES, size):
            decision = decide(evidence_of(CONSTANT), [heard(6, *categories)])
            if {"mangled", "overshot", "wrong-direction"} & set(categories):
                assert decision.move in ("rewind", "lower-lr-continue", "audit-data"), categories
            else:
                assert decision.move in ("ship", "train-more", "raise-lr"), categories


def test_every_rule_can_be_reached():
    decisions = [decide(evidence_of(story), verdicts).rule for story, verdicts, *_ in TABLE.values()]
    decisions += [decide(evidence_of(story), []).rule for story in (SETTLED, CONSTANT)]
    decisions += [
        decide(evidence_of(TIMID_LINEAR), [heard(6, "no-difference")]).rule,
        decide(evidence_of(CONSTANT, steps=4), [heard(6, "no-difference")]).rule,
        decide(evidence_of(CONSTANT, measured=False), []).rule,
    ]
    elsewhere = [(CONSTANT, [heard(6, "no-difference")]), (CONSTANT, [heard(2, "no-difference")])]
    elsewhere.append((HOT, [heard(1, "mangled")]))
    decisions += [decide(adopted(evidence_of(story)), verdicts).rule for story, verdicts in elsewhere]
    told_apart = ears_of([heard(6, "no-difference")], trials(6, 19, of=20))
    decisions.append(moves.decide(evidence_of(CONSTANT), told_apart).rule)
    assert set(decisions) == {rule.name for rule in load_moves().rules}
