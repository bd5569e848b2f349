import json
from collections.abc import Callable
from typing import Any

import pytest

from tasks.core.dataset import RowMeta, Split
from tasks.core.leakage import LeakCheck, OverlapMeter
from tasks.homes import Homes

Settle = Callable[[tuple[str, str], Split], Split]


def meta(customer_id: str, split: str, *template_ids: str) -> RowMeta:
    return RowMeta(
        row_sha256="0",
        conversation_id="c",
        scenario_id="s",
        customer_id=customer_id,
        split=split,  # type: ignore[arg-type]  # a plain string in tests
        teacher="expert",
        intents=(),
        template_ids=template_ids,
    )


def calling(**arguments: Any) -> list[dict[str, Any]]:
    function = {"name": "act", "arguments": json.dumps(arguments)}
    return [{"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]}]


def says(text: str, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": text}]


@pytest.fixture(params=["in memory", "on disk"])
def settle(request: pytest.FixtureRequest) -> Settle:
    homes: dict[tuple[str, str], Split] = {}
    return homes.setdefault if request.param == "in memory" else Homes().settle


def test_a_customer_in_two_splits_is_a_leak(settle: Settle) -> None:
    check = LeakCheck(lambda template_id: template_id == "yes.5", frozenset(), settle)
    assert check.leak(meta("a", "train", "yes.1"), []) is None
    assert check.leak(meta("b", "heldout", "yes.5"), []) is None
    assert check.leak(meta("a", "heldout", "yes.5"), []) == "customer 'a' is in train and in heldout"


def test_phrasing_of_the_wrong_split_is_a_leak(settle: Settle) -> None:
    check = LeakCheck(lambda template_id: template_id == "yes.5", frozenset(), settle)
    assert "of valid speaks template 'yes.5'" in str(check.leak(meta("a", "valid", "yes.1", "yes.5"), []))
    assert "of heldout speaks template 'yes.1'" in str(check.leak(meta("b", "heldout", "yes.1"), []))


def test_a_held_out_row_in_seen_phrasing_speaks_the_words_of_training_and_no_others(settle: Settle) -> None:
    check = LeakCheck(lambda template_id: template_id == "yes.5", frozenset(), settle)
    seen = {"phrasing": "seen"}
    assert check.leak(meta("a", "train", "yes.1"), []) is None
    assert check.leak(meta("b", "heldout", "yes.1").model_copy(update=seen), []) is None
    told = check.leak(meta("b", "heldout", "yes.5").model_copy(update=seen), [])
    assert told == "conversation 'c' of heldout, in the words of training, speaks template 'yes.5'"
    told = check.leak(meta("a", "heldout", "yes.1").model_copy(update=seen), [])
    assert told == "customer 'a' is in train and in heldout"


@pytest.mark.parametrize("argument", ["order_id", "email"])
def test_an_id_of_a_customer_in_two_splits_is_a_leak_and_one_of_the_catalogue_is_none(
    argument: str, settle: Settle
) -> None:
    check = LeakCheck(lambda _: False, frozenset({"order_id", "email"}), settle)
    assert check.leak(meta("a", "train"), calling(**{argument: "x7", "product_id": "p1"})) is None
    assert check.leak(meta("b", "valid"), calling(product_id="p1", **{argument: "x8"})) is None
    assert check.leak(meta("c", "valid"), calling(**{argument: "x7"})) == f"{argument} 'x7' is in train and in valid"


def test_the_overlap_is_the_share_of_runs_of_eight_words_that_training_holds() -> None:
    meter = OverlapMeter()
    meter.add("train", says("Please be so kind and cancel my last order for me today"))
    meter.add("valid", says("please be so kind and cancel my last order for me"))
    assert meter.share == 0.0
    meter.add("heldout", says("PLEASE, be so kind: and cancel my last order at once"))  # 2 of 4 runs are known
    assert meter.share == pytest.approx(0.5)
    meter.add("heldout", says("please be so kind and cancel my last order", role="assistant"))
    assert meter.share == pytest.approx(0.5)
