"""Several arms side by side."""

import pytest

from tasks.core.config import ArmConfig, EvaluationConfig
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import Score
from tasks.core.standings import ArmOutcome, standings
from tests.core.test_metrics import CONFIG, METAS, inventing, report, right, silent

SCORES: dict[str, list[Score]] = {
    "base": [silent(m) for m in METAS],
    "tuned": [right(m) for m in METAS],
    "short": [inventing(m) if m.conversation_id < "c14" else right(m) for m in METAS],
}


def test_every_arm_is_compared_with_base_and_tuned_and_corrected_for_all() -> None:
    reports = [report(arm, scores) for arm, scores in SCORES.items()]
    others = [
        ArmOutcome(arm="short", model_id="s", report=reports[2], note="examples as turns"),
        ArmOutcome(arm="teacher", model_id="t", skipped="does not apply"),
    ]
    ranked = standings(reports, SCORES, METAS, CONFIG, others)
    pairs = [(one.arm, one.against) for one in ranked.contrasts]
    assert pairs == [("tuned", "base"), ("short", "base"), ("short", "tuned")]
    gain, _, loss = ranked.contrasts
    assert (gain.difference.difference, loss.difference.difference) == (1.0, pytest.approx(-6 / 40))
    for one in ranked.contrasts:
        assert one.difference.p_clustered is not None
        assert one.difference.p_clustered <= one.p_holm <= 3 * one.difference.p_clustered
    assert [one.arm for one in ranked.skipped] == ["teacher"]
    assert ranked.notes == {"short": "examples as turns"}


def test_arms_of_other_sets_or_of_one_name_are_refused() -> None:
    reports = [report("base", SCORES["base"]), report("tuned", SCORES["tuned"], "c" * 64)]
    with pytest.raises(EvaluationError, match="different decision sets"):
        standings(reports, SCORES, METAS, CONFIG)
    with pytest.raises(EvaluationError, match="Two arms have one name: base, base"):
        standings([reports[0], reports[0]], SCORES, METAS, CONFIG)


def test_a_profile_with_two_arms_of_one_name_is_refused() -> None:
    with pytest.raises(ValueError, match="two arms are named 'tuned'"):
        EvaluationConfig(arms=(ArmConfig(name="tuned"),))
