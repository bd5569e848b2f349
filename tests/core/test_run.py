"""The verdict of a run and how its numbers are told."""

from pathlib import Path

import pytest

from tasks.core.run import Cost, cost_text, interval, metric_rows, verdict
from tests import runs


@pytest.mark.parametrize(
    ("base", "tuned", "better", "words"),
    [
        (0.3, 0.9, True, "The tuned model is better"),
        (0.9, 0.3, False, "The tuned model is worse"),
        (0.5, 0.52, False, "No clear difference"),
    ],
)
def test_the_verdict_follows_the_interval_of_the_difference(
    tmp_path: Path, base: float, tuned: float, better: bool, words: str
) -> None:
    judged = verdict(runs.a_comparison(tmp_path, base, tuned))
    assert judged.better is better
    assert judged.sentence.startswith(words)
    assert f"{100 * tuned:.1f} %" in judged.sentence


def test_an_unmeasured_headline_is_no_verdict(tmp_path: Path) -> None:
    compared = runs.a_comparison(tmp_path).model_copy(update={"differences": ()})
    assert not verdict(compared).better
    assert verdict(compared).sentence.startswith("Undecided")


def test_rows_come_in_the_order_of_measurement_also_where_an_arm_lacks_one(tmp_path: Path) -> None:
    compared = runs.a_comparison(tmp_path)
    base = compared.base.model_copy(
        update={"metrics": {"invented_argument_rate": compared.base.metrics["invented_argument_rate"]}}
    )
    rows = metric_rows(compared.model_copy(update={"base": base}))
    assert [row.name for row in rows] == ["next_tool_call_accuracy", "invented_argument_rate"]
    assert rows[0].base is None
    assert interval(rows[0].base) == "-"
    assert interval(rows[0].tuned) == "90.0 (85.0..94.0)"


def test_an_unknown_price_is_said_so() -> None:
    assert cost_text(Cost(amount=None)) == "not known: no price"
    assert cost_text(Cost(amount=0.0, cpu_minutes=1.25)) == "0.00 USD, 1.2 CPU minutes of this machine"
