"""The five rows of the listening loop's verdict table, each with the cases that make it go wrong, and their conflicts.

The rule table as such is tested in test_moves.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest

from finished_run import CONSTANT, DECAY, HOT, KEY, SETTLED, TIMID, Story
from judged_run import adopted, evidence_of, heard, trials
from tts_train.review.decision.confidence import Confidence
from tts_train.review.decision.conflicts import CAUTION, Conflict
from tts_train.review.decision.ears import Ears, ears_of
from tts_train.review.decision.evidence import Evidence
from tts_train.review.decision.moves import Decision, decide, load_moves
from tts_train.review.record.trials import Judgement
from tts_train.review.record.verdicts import CATEGORIES, HARM, Verdict

FLAT, FALLING = (2.51, 2.50, 2.52, 2.51, 2.50, 2.51), (2.8, 2.7, 2.6, 2.5, 2.4, 2.3)
PAST = {1: 0.3, 2: 0.7, 3: 1.0, 4: 1.5, 5: 1.6, 6: 1.8}
"""t of foot_strut: on target at epoch 3, past it from epoch 4 on."""


def decided(evidence: Evidence, *verdicts: Verdict, blind: Sequence[Judgement] = ()) -> Decision:
    return decide(evidence, ears_of(verdicts, blind, KEY, ("Lancashire", "Bolton")))


def quoted(decision: Decision, kind: str) -> str:
    return " ".join(quote.text for quote in decision.evidence if quote.kind == kind)


# Row 1: no discernible difference from the baseline.


def test_a_flat_loss_after_a_schedule_that_decayed_is_not_taken_for_converged():
    decision = decided(evidence_of(DECAY, loss=FLAT), heard(6, "no-difference"))
    assert (decision.move, decision.also, decision.epoch) == ("remove-decay", (), 6)
    assert "decayed to nothing" in decision.diagnosis
    assert "8.40e-05" in decision.because
    assert "2.70e-03" in decision.because
    assert "from 2.510 to 2.510; a flat loss alone does not tell" in quoted(decision, "training")


def test_the_same_flat_loss_at_a_constant_rate_asks_for_another_move():
    assert decided(evidence_of(TIMID, loss=FLAT), heard(6, "no-difference")).move == "raise-lr"
    assert decided(evidence_of(CONSTANT, loss=FLAT, steps=4), heard(6, "no-difference")).move == "add-epochs"


def test_a_falling_loss_is_no_sign_of_a_difference():
    for loss in (FLAT, FALLING):
        assert decided(evidence_of(DECAY, loss=loss), heard(6, "no-difference")).move == "remove-decay"


# Row 2: the accent is right, but words are mangled, dropped or cut.


@pytest.mark.parametrize("story", [CONSTANT, SETTLED, HOT], ids=["improving", "settled", "hot"])
@pytest.mark.parametrize("loss", [FLAT, FALLING], ids=["flat", "falling"])
@pytest.mark.parametrize("words", [{}, {"cup": "dropped"}], ids=["no-words", "words"])
def test_worse_output_is_never_trained_on_however_the_loss_falls(story: Story, loss: Sequence[float], words: dict):
    decision = decided(evidence_of(story, loss=loss), heard(6, "good", "mangled", words=words))
    assert decision.move in ("rewind", "lower-lr-continue")
    assert decision.epoch < 6


def test_a_falling_loss_beside_worse_output_is_said():
    broken = replace(CONSTANT, wer=(0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.40))
    falling = decided(evidence_of(broken, loss=FALLING), heard(6, "mangled"))
    assert "a falling loss is no reason to train more" in quoted(falling, "training")
    assert "a falling loss" not in quoted(decided(evidence_of(broken, loss=FLAT), heard(6, "mangled")), "training")
    assert "a falling loss" not in quoted(decided(evidence_of(CONSTANT, loss=FALLING), heard(6, "good")), "training")


def test_accent_right_but_words_mangled_goes_back_or_begins_again_lower():
    back = decided(evidence_of(CONSTANT), heard(6, "good", "mangled", words={"cup": "dropped"}))
    assert (back.move, back.epoch, back.confirmed) == ("rewind", 5, False)
    assert "cup: dropped" in quoted(back, "verdict")
    lower = decided(evidence_of(HOT), heard(6, "good", "mangled"))
    assert (lower.move, lower.epoch) == ("lower-lr-continue", 0)
    assert "too high" in lower.diagnosis


# Row 3: wrong direction.


@pytest.mark.parametrize("others", [(), ("mangled",), ("feature-missing",), ("overshot",), ("good",)])
def test_a_wrong_direction_is_a_question_to_the_data(others: tuple[str, ...]):
    for story in (CONSTANT, DECAY, TIMID, HOT):
        decision = decided(evidence_of(story), heard(6, "wrong-direction", *others), heard(3, "good"))
        assert decision.move == "audit-data"
        assert decision.also == ()
        assert "clips" in decision.diagnosis


# Row 4: one feature is still missing.


@pytest.mark.parametrize("story", [CONSTANT, DECAY, TIMID, HOT, SETTLED])
@pytest.mark.parametrize("epoch", [1, 3, 6])
@pytest.mark.parametrize("marked", ["heard", "marker", "both"])
def test_one_missing_feature_never_raises_the_rate(story: Story, epoch: int, marked: str):
    markers = {"FACE": "baseline", "STRUT": "target"} if marked != "heard" else {}
    others = ("good",) if marked == "both" else ()
    decision = decided(evidence_of(story), heard(epoch, "feature-missing", *others, markers=markers))
    assert decision.move == "train-more"
    assert decision.also == ()
    assert ("FACE still as in the base" in decision.diagnosis) is bool(markers)


# Row 5: drifted past the target.


def test_the_epoch_before_the_drift_is_picked_not_the_one_before_the_last():
    decision = decided(evidence_of(CONSTANT, places=PAST), heard(6, "overshot"))
    assert (decision.move, decision.epoch) == ("rewind", 3)
    assert decision.rule == "drifted past the target"
    assert "foot_strut t 1.50 [1.40, 1.60]" in quoted(decision, "measure")


def test_an_epoch_marked_overshot_is_not_before_the_drift():
    verdicts = [heard(4, "good", markers={"STRUT": "overshot"}), heard(6, "overshot")]
    decision = decided(evidence_of(CONSTANT), *verdicts)
    assert (decision.move, decision.epoch) == ("rewind", 5)
    both = decided(evidence_of(CONSTANT), heard(5, "feature-missing", markers={"STRUT": "overshot"}), *verdicts)
    assert (both.move, both.epoch) == ("rewind", 3)


def test_ears_overrule_the_measured_place_of_an_earlier_epoch():
    decision = decided(evidence_of(CONSTANT, places=PAST), heard(5, "good"), heard(6, "overshot"))
    assert (decision.move, decision.epoch, decision.confirmed) == ("rewind", 5, True)
    assert any(item.epoch == 5 and item.kind == "measures" for item in decision.conflicts)


def test_a_drift_from_the_first_epoch_on_leaves_nothing_to_go_back_to():
    everywhere = dict.fromkeys(range(1, 7), 1.6)
    decision = decided(evidence_of(CONSTANT, places=everywhere), heard(6, "overshot"))
    assert (decision.move, decision.epoch) == ("lower-lr-continue", 0)


def test_a_base_that_lies_past_the_target_itself_is_no_drift():
    everywhere = dict.fromkeys(range(7), 1.6)
    assert decided(evidence_of(SETTLED, places=everywhere)).move == "ship"


def test_a_measured_drift_alone_asks_for_ears():
    decision = decided(evidence_of(SETTLED, places=PAST))
    assert (decision.move, decision.epoch, decision.basis, decision.confirmed) == ("rewind", 3, "evidence", False)
    assert decision.confidence.level == "low"
    on_target = {**PAST, 4: 1.0, 5: 1.1, 6: 1.2}
    assert decided(evidence_of(SETTLED, places=on_target)).move == "ship"


# Conflicts: shown with who said what, and what decides.


@pytest.mark.parametrize(("one", "other"), list(combinations(CATEGORIES, 2)))
def test_two_listeners_are_never_averaged(one: str, other: str):
    """The move is that of the more cautious verdict alone; both are quoted; what cannot both hold is a conflict."""
    evidence = evidence_of(CONSTANT)
    verdicts = [heard(6, one), heard(6, other, listener="bob")]
    decision = decided(evidence, *verdicts)
    cautious = min(one, other, key=CAUTION.index)
    if {one, other} == {"no-difference", "good"}:
        assert decision.rule == "some hear nothing, others hear it good"
    else:
        assert decision.move == decided(evidence, heard(6, cautious)).move
    assert {verdict.quoted() for verdict in verdicts} <= {quote.text for quote in decision.evidence}
    among = [item for item in decision.conflicts if item.kind == "listeners"]
    together = ({one, other} <= HARM and "wrong-direction" not in (one, other)) or {one, other} in (
        {"no-difference", "feature-missing"},
        {"wrong-direction", "mangled"},
    )
    assert bool(among) is not together
    for conflict in among:
        assert conflict.said == (("ann", one), ("bob", other))
        assert cautious in conflict.decided
        assert conflict.told() in decision.why
    assert decided(evidence, *reversed(verdicts)).move == decision.move


@pytest.mark.parametrize(
    ("marks", "told", "move"),
    [
        ({"markers": {"STRUT": "overshot"}}, "STRUT marked overshot", "rewind"),
        ({"markers": {"STRUT": "mangled"}}, "STRUT marked mangled", "rewind"),
        ({"words": {"cup": "dropped"}}, "“cup” dropped", "rewind"),
        ({"words": {"cup": "stretched"}}, None, "ship"),
        ({"markers": {"STRUT": "baseline"}}, None, "ship"),
    ],
)
def test_a_good_sheet_with_a_mark_of_harm_contradicts_itself(marks: dict, told: str | None, move: str):
    decision = decided(evidence_of(CONSTANT), heard(6, "good", **marks))
    assert decision.move == move
    within = [item.told() for item in decision.conflicts if item.kind == "verdict"]
    assert len(within) == (1 if told else 0)
    assert told is None or told in within[0]
    assert decision.confidence.level == ("low" if told else "medium")


def test_the_example_of_a_full_sheet_is_no_conflict():
    """What `verdict --help` shows: some features there, one not yet."""
    sheet = heard(6, "good", "feature-missing", markers={"STRUT": "target", "FACE": "baseline"})
    assert decided(evidence_of(CONSTANT), sheet).conflicts == ()
    mangled = heard(6, "good", "mangled", markers={"STRUT": "target"}, words={"cup": "dropped"})
    assert [item.kind for item in decided(evidence_of(CONSTANT), mangled).conflicts] == ["measures"]


def test_categories_that_exclude_each_other_in_one_sheet_are_shown():
    decision = decided(evidence_of(CONSTANT), heard(6, "no-difference", "mangled"))
    assert decision.move == "rewind"
    assert "no-difference and mangled" in decision.conflicts[0].told()


def test_a_native_against_one_who_is_not_is_named_so_and_not_outvoted():
    native = heard(6, "wrong-direction", region="Bolton, Lancashire")
    others = [heard(6, "good", listener=name, region="Kent") for name in ("bob", "cy", "di")]
    decision = decided(evidence_of(CONSTANT), native, *others)
    assert decision.move == "audit-data"
    told = [item for item in decision.conflicts if item.kind == "listeners"]
    assert len(told) == 3
    assert told[0].what == "a native listener and one who is not disagree"
    assert told[0].said[0] == ("ann (native)", "wrong-direction")
    assert "bob (not native)" in told[0].told()


def test_marks_of_two_people_on_one_marker_are_compared():
    one = heard(6, "feature-missing", markers={"STRUT": "target", "FACE": "baseline", "KIT": "not-heard"})
    other = heard(
        6, "feature-missing", listener="bob", markers={"STRUT": "baseline", "FACE": "baseline", "KIT": "target"}
    )
    (conflict,) = decided(evidence_of(CONSTANT), one, other).conflicts
    assert conflict.what == "two listeners disagree about STRUT"
    assert conflict.said == (("ann", "target"), ("bob", "baseline"))


def test_a_mark_that_its_contrast_excludes_is_a_conflict_with_the_measures():
    evidence = evidence_of(CONSTANT, places=PAST)
    said = {6: "baseline", 1: "target", 2: "overshot", 3: "target"}
    verdicts = [heard(epoch, "feature-missing", markers={"STRUT": mark}) for epoch, mark in said.items()]
    found = [item for item in decided(evidence, *verdicts).conflicts if item.kind == "measures"]
    assert [(item.epoch, item.said[0][1]) for item in found] == [
        (1, "STRUT marked target"),
        (2, "STRUT marked overshot"),
        (6, "STRUT marked baseline"),
    ]
    assert all(item.decided == "Verdicts outrank measures." for item in found)


# Blind trials.


def test_blind_trials_that_hear_a_difference_contradict_a_sheet_that_does_not():
    for story, move in ((DECAY, "remove-decay"), (TIMID, "raise-lr"), (CONSTANT, "train-more")):
        decision = decided(evidence_of(story), heard(6, "no-difference"), blind=trials(6, 19, of=20, listener="bob"))
        assert decision.move == move
        (conflict,) = [item for item in decision.conflicts if item.kind == "trials"]
        assert conflict.said[1] == ("blind ABX", "19 of 20 correct, so the difference is heard")
        assert decision.confidence.level == "low"
        assert "ABX, epoch 6 against 0" in quoted(decision, "trials")


@pytest.mark.parametrize(
    ("categories", "move"),
    [(("good",), "train-more"), (("mangled",), "rewind"), (("wrong-direction",), "audit-data")],
)
def test_blind_trials_that_hear_nothing_doubt_a_sheet_but_never_excuse_harm(categories: tuple[str, ...], move: str):
    decision = decided(evidence_of(SETTLED), heard(6, *categories), blind=trials(6, 10, of=20))
    assert decision.move == move
    assert [item.kind for item in decision.conflicts if item.kind == "trials"] == ["trials"]


def test_blind_trials_alone_can_say_that_nothing_changed():
    decision = decided(evidence_of(DECAY), blind=trials(6, 10, of=20))
    assert (decision.move, decision.basis) == ("remove-decay", "verdicts")
    assert "blind trials decide" in quoted(decision, "verdict")
    early = decided(evidence_of(CONSTANT), blind=trials(2, 10, of=20))
    assert (early.move, early.epoch) == ("add-epochs", 6)


def test_blind_trials_alone_that_hear_a_difference_do_not_say_how_good_it_is():
    improving = decided(evidence_of(CONSTANT), blind=trials(6, 20, of=20))
    assert (improving.move, improving.basis, improving.rule) == ("train-more", "evidence", "still improving")
    still = replace(CONSTANT, similarity=(0.62,) * 7, mel=(1.5,) * 7)
    assert decided(evidence_of(still)).move == "raise-lr"
    faint = decided(evidence_of(still), blind=trials(6, 20, of=20))
    assert (faint.move, faint.basis) == ("train-more", "verdicts")


@pytest.mark.parametrize("more", [{"blind": False}, {"closed": False}, {"render_key": "fedcba9876543210"}])
def test_answers_that_do_not_count_decide_nothing_and_are_named(more: dict):
    decision = decided(evidence_of(CONSTANT), blind=trials(6, 10, of=20, **more))
    assert decision.basis == "evidence"
    assert "do not count: 20 " in quoted(decision, "trials")


def test_too_few_trials_are_quoted_as_undecided():
    decision = decided(evidence_of(CONSTANT), blind=trials(6, 6, of=6))
    assert decision.basis == "evidence"
    assert "undecided" in quoted(decision, "trials")


@pytest.mark.parametrize("kind", ["ab", "xab"])
def test_choices_against_the_base_are_counted_and_contradict_a_good_sheet(kind: str):
    lost = decided(evidence_of(SETTLED), heard(6, "good"), blind=trials(6, 1, of=12, kind=kind, same=3))
    assert "1 times, the base 11 times, no difference 3 times" in quoted(lost, "trials")
    assert [item.what for item in lost.conflicts] == ["a sheet against blind choices"]
    assert lost.confidence.level == "low"
    won = decided(evidence_of(SETTLED), heard(6, "good"), blind=trials(6, 11, of=12, kind=kind))
    assert won.conflicts == ()
    few = decided(evidence_of(SETTLED), heard(6, "good"), blind=trials(6, 0, of=5, kind=kind))
    assert few.conflicts == ()


# Confidence.


def sure(
    *verdicts: Verdict, story: Story = CONSTANT, blind: Sequence[Judgement] = (), measured: bool = True
) -> Confidence:
    return decided(evidence_of(story, measured=measured), *verdicts, blind=blind).confidence


def two(*categories: str, **more: object) -> list[Verdict]:
    return [
        heard(6, *categories, **{"blind": True, "region": "Bolton", **more}),
        heard(6, *categories, listener="bob", **{"blind": True, "region": "Kent", **more}),
    ]


def test_high_takes_two_blind_listeners_who_agree_one_native_and_measures_that_do_not_object():
    found = sure(*two("good"))
    assert found.level == "high"
    assert found.because == (
        "2 listeners (ann, bob)",
        "native: ann",
        "blind",
        "they agree",
        "measures do not contradict",
    )


@pytest.mark.parametrize(
    ("level", "why", "confidence"),
    [
        ("medium", "1 listener (ann)", lambda: sure(two("good")[0])),
        ("medium", "sighted", lambda: sure(*two("good", blind=False))),
        ("medium", "partly blind", lambda: sure(two("good")[0], heard(6, "good", listener="bob"))),
        ("medium", "none of them native", lambda: sure(*two("good", region="Kent"))),
        ("medium", "whether any is native is not known", lambda: sure(*two("good", region=""))),
        ("high", "none of them native", lambda: sure(*two("no-difference", region="Kent"), story=DECAY)),
        ("medium", "epoch 6 was not measured", lambda: sure(*two("good"), measured=False)),
        ("medium", "measures say otherwise", lambda: sure(*two("good"), story=HOT)),
        ("low", "measures say otherwise", lambda: sure(two("good")[0], story=HOT)),
        ("low", "1 conflict among", lambda: sure(two("good")[0], heard(6, "mangled", listener="bob"))),
        ("low", "unsure by their own account", lambda: sure(heard(6, "good", confidence=2))),
        ("medium", "1 listener (ann)", lambda: sure(heard(6, "good", confidence=3))),
        ("low", "nobody has judged", sure),
        (
            "medium",
            "2 listeners (ann, bob)",
            lambda: sure(heard(6, "good"), blind=trials(6, 20, of=20, listener="bob")),
        ),
        (
            "high",
            "blind",
            lambda: sure(*two("no-difference")[:1], blind=trials(6, 10, of=20, listener="bob"), story=DECAY),
        ),
    ],
)
def test_what_is_lacking_for_more_confidence_is_said(level: str, why: str, confidence):
    found = confidence()
    assert found.level == level
    assert why in "; ".join(found.because)


def test_a_move_that_hangs_on_settings_not_on_record_is_a_guess():
    guess = decided(adopted(evidence_of(CONSTANT)), *two("no-difference"))
    assert guess.confidence.level == "low"
    assert "not on record" in guess.confidence.because[-1]
    assert decided(adopted(evidence_of(CONSTANT)), *two("good")).confidence.level == "high"


def test_regions_are_compared_as_words():
    def natives(*places: str) -> dict:
        verdicts = [heard(6, "good", listener=place, region=place) for place in places]
        return dict(ears_of(verdicts, (), KEY, ("Lancashire", "Greater Manchester")).native)

    assert natives("bolton, LANCASHIRE", "Greater Manchester", "Manchester", "Lancashires") == {
        "bolton, LANCASHIRE": True,
        "Greater Manchester": True,
        "Manchester": False,
        "Lancashires": False,
    }
    assert ears_of([heard(6, "good", region="Bolton")], (), KEY, ()).native == {}


def test_every_decision_has_a_diagnosis_and_conflicts_have_a_json_form():
    for categories in combinations(CATEGORIES, 2):
        decision = decided(evidence_of(CONSTANT), heard(6, *categories), heard(6, "good", listener="bob"))
        assert decision.diagnosis.endswith(".")
        assert all(set(item.as_json()) == {*Conflict.__dataclass_fields__} for item in decision.conflicts)
    assert len({rule.diagnosis for rule in load_moves().rules}) == len(load_moves().rules)
    assert Ears().good == []
