import random
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tasks.core import phrases as module
from tasks.core.errors import ConfigError
from tasks.core.phrases import is_held_out, load_phrases
from tasks.core.scenario import Intent
from tests.worlds import ROOT, phrases

GRAMMAR = ROOT / "configs" / "scenarios" / "retail.yaml"


def grammar() -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load(GRAMMAR.read_text(encoding="utf-8"))
    return raw


def written(path: Path, raw: object) -> Path:
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def test_every_intent_has_thirty_requests_and_every_act_of_talk_twenty() -> None:
    book = phrases()
    for intent in get_args(Intent):
        assert len(book.customer[f"request.{intent}"]) >= 30
        assert len(book.customer[f"do.{intent}"]) >= 15
    for act, templates in book.customer.items():
        if not act.startswith(("do.", "option")):
            assert len(templates) >= 20, act


def test_the_grammar_covers_exactly_the_intents() -> None:
    assert set(module._REQUEST_SLOTS) == set(get_args(Intent))


def test_a_fifth_of_each_act_is_held_out_and_no_split_speaks_the_others_templates() -> None:
    book = phrases()
    for act, templates in book.customer.items():
        seen, held_out = book.templates(act, "train"), book.templates(act, "heldout")
        assert len(held_out) == len(templates) // 5
        assert not {text for _, text in seen} & {text for _, text in held_out}
        assert len(seen) + len(held_out) == len(templates)
        assert seen == book.templates(act, "valid")


def test_template_ids_say_whether_they_are_held_out() -> None:
    assert is_held_out("request.cancel.5")
    assert is_held_out("do.return.10")
    assert not is_held_out("request.cancel.6")


@pytest.mark.parametrize("split", ["train", "valid", "heldout"])
def test_a_request_is_spoken_by_the_templates_of_its_split_and_names_them(split: Any) -> None:
    rng = random.Random(1)
    for _ in range(200):
        spoken = phrases().request("cancel", split, rng, order="#W1234567")
        assert "#W1234567" in spoken.text
        assert all(is_held_out(template_id) == (split == "heldout") for template_id in spoken.template_ids)


def test_a_value_with_braces_is_said_as_it_is() -> None:
    spoken = phrases().request("order_status_by_item", "train", random.Random(2), item="{zip} {0}")
    assert "{zip} {0}" in spoken.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["customer"].pop("yes"), "no templates for yes"),
        (lambda raw: raw["customer"].update({"sing": ["La la."] * 5}), "unknown acts sing"),
        (lambda raw: raw["customer"]["yes"].append("Yes, {order}."), "has slots ['order'], not []"),
        (lambda raw: raw["customer"]["request.cancel"].append("Cancel it."), "has slots [], not ['order']"),
        (lambda raw: raw["customer"]["yes"].append("Yes."), "has the template 'Yes.' twice"),
        (lambda raw: raw["customer"].update({"yes": ["Yes."]}), "has 1 templates and needs at least 5"),
        (lambda raw: raw["agent"].pop("goodbye"), "no templates for goodbye"),
        (lambda raw: raw["words"].pop("payment.paypal"), "no templates for payment.paypal"),
    ],
)
def test_a_grammar_with_a_fault_is_refused_and_the_fault_named(tmp_path: Path, change: Any, message: str) -> None:
    raw = grammar()
    change(raw)
    with pytest.raises(ConfigError, match=r"broken\.yaml") as error:
        load_phrases(written(tmp_path / "broken.yaml", raw))
    assert message in str(error.value)


def test_a_missing_grammar_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_phrases(tmp_path / "nowhere.yaml")
