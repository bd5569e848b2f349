"""The web page for the agent: in a real browser, with a real shop, and a provider whose tuned model is right."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from flows.page import page as application
from tasks.core.config import Profile, load_profile
from tasks.report import write_report
from tests import runs
from tests.browser import a_page, picture, violations
from tests.fake_finetuning import FakeFinetuning
from tests.loop import model_of
from tests.ports import free_port
from tests.receiving import receiving
from tests.worlds import served
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.seed import generate_shop
from zava_mcp.snapshot import save_snapshot

expect.set_options(timeout=60_000)  # in milliseconds; a busy machine is slow
NOAH = "I am Noah Brown, zip 80279, change my address to 415 Maple Avenue, Apt 203, Denver, CO 80202, USA"


class Open(NamedTuple):
    """A page that is served, with what stands behind it."""

    address: str
    profile: Profile
    provider: FakeFinetuning
    sandboxes: Sandboxes


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    shop = generate_shop(7, customers=3, products=3, orders=4)
    save_snapshot(shop, tmp_path / "shop.json")
    write_report(runs.a_summary(tmp_path), tmp_path / "workspace" / "runs" / "m1")
    (tmp_path / "workspace" / "champion.json").write_text(runs.a_champion("ft:base:retail").model_dump_json())
    sandboxes = Sandboxes(shop)
    with FakeFinetuning(chat=model_of(tmp_path)) as provider, served(build_app(sandboxes)) as (mcp, _):
        port = free_port()
        profile = load_profile(
            "local",
            (
                f"workspace={tmp_path}/workspace",
                f"provider.base_url={provider.base_url}",
                f"world.snapshot={tmp_path}/shop.json",
                f"replay.folder={tmp_path}/replay",
                f"services.shop_port={mcp.split(':')[2].removesuffix('/mcp')}",
                f"services.page_port={port}",
            ),
        )
        with receiving(application(lambda: profile, port), port) as address:
            yield Open(address, profile, provider, sandboxes)


def say(page: Page, words: str) -> None:
    said = page.locator(".said")
    before = said.count()
    page.get_by_label("Your message to the agent").fill(words)
    page.keyboard.press("Enter")
    expect(said).to_have_count(before + 1)
    expect(page.locator("#thinking")).to_be_hidden()


def drawn(page: Page, name: str, folder: Path) -> None:
    """Draw the page; with ZAVA_PICTURES where the documentation keeps its pictures."""
    picture(page, Path(os.environ.get("ZAVA_PICTURES", folder)) / f"{name}.png")


def test_a_person_talks_with_the_champion_and_sees_what_it_changes(opened: Open, tmp_path: Path) -> None:
    with a_page(height=860) as (page, foreign):
        page.goto(opened.address)
        expect(page.get_by_role("radio", name="champion")).to_be_checked()
        assert violations(page) == []
        say(page, NOAH)
        expect(page.locator(".spoke")).to_have_text("I will set your address. Do you confirm (yes/no)?")
        names = page.locator(".called code").all_inner_texts()
        assert [name.split()[-1] for name in names] == ["find_user_id_by_name_zip", "get_user_details"]
        expect(page.locator(".changed")).to_have_count(0)
        page.get_by_text("get_user_details").click()
        expect(page.get_by_role("region", name="Result of get_user_details")).to_contain_text("noah_brown_6181")
        page.get_by_text("get_user_details").click()
        say(page, "Yes, please.")
        expect(page.locator(".changed")).to_contain_text("415 Maple Avenue")
        expect(page.get_by_role("complementary", name="The shop")).to_contain_text("Customer noah_brown_6181")
        expect(page.locator("#announcer")).to_have_text("Agent: Your address is updated. Anything else?")
        drawn(page, "chat-1280", tmp_path)
        assert violations(page) == []
        page.emulate_media(color_scheme="dark")
        assert violations(page) == []
        drawn(page, "chat-1280-dark", tmp_path)
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="light")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        drawn(page, "chat-390", tmp_path)
        assert foreign == []


def test_the_base_answers_when_it_is_chosen_and_a_bad_conversation_is_kept(opened: Open) -> None:
    with a_page() as (page, _):
        page.goto(opened.address)
        say(page, NOAH)
        page.get_by_role("radio", name="base zava-base").check(force=True)
        say(page, "Yes, please.")
        expect(page.locator(".spoke").last).to_have_text("I cannot help with that.")
        expect(page.locator(".model")).to_have_text("From here on zava-base answers.")
        page.get_by_role("button", name="Keep it as a test").click()
        expect(page.locator("#note")).to_contain_text("Kept in the replay pack as recorded/chat-")
        told = page.locator("#turns > li").all_inner_texts()
        page.reload()
        expect(page.locator("#turns > li")).to_have_text(told, use_inner_text=True)
        page.get_by_role("button", name="New conversation").click()
        expect(page.locator("#turns > li")).to_have_count(0)
    (member,) = opened.profile.replay.folder.glob("*.jsonl")
    kept = json.loads(member.read_text())
    assert kept["part"] == {**kept["part"], "opening": NOAH, "turns": ["Yes, please."]}
    assert list(kept["world"]["users"]) == ["noah_brown_6181"]
    assert len(list((opened.profile.workspace / "failing").iterdir())) == 1


def test_a_model_server_that_is_down_is_told_in_words_and_the_words_can_be_said_again(opened: Open) -> None:
    opened.provider.fail("POST", "/chat/completions", status=404, message="no such model is loaded")
    with a_page() as (page, _):
        page.goto(opened.address)
        say(page, NOAH)
        expect(page.locator(".failed")).to_contain_text("no such model is loaded")
        say(page, NOAH)
        expect(page.locator(".spoke")).to_contain_text("Do you confirm")


def test_the_agent_can_be_stopped_and_spoken_to_again(opened: Open) -> None:
    opened.provider.hold("POST /chat/completions")
    with a_page(width=390) as (page, _):
        page.goto(opened.address)
        page.get_by_label("Your message to the agent").fill(NOAH)
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(page.get_by_role("button", name="Send")).to_be_hidden()
        assert violations(page) == []
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".halted")).to_have_text("You stopped the agent. What it did stays done.")
        expect(page.locator("#announcer")).to_have_text("You stopped the agent. What it did stays done.")
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        expect(page.get_by_label("Your message to the agent")).to_be_focused()
        assert violations(page) == []
        told = page.locator("#turns > li").all_inner_texts()
        page.reload()
        expect(page.locator("#turns > li")).to_have_text(told, use_inner_text=True)
        opened.provider.let_go()
        say(page, "Please do.")
        expect(page.locator(".spoke")).to_have_text("I will set your address. Do you confirm (yes/no)?")


def test_a_fault_that_nobody_foresaw_is_told_on_the_page(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the moon is down")

    monkeypatch.setattr("tasks.talk._trace_headers", broken)
    with a_page() as (page, _):
        page.goto(opened.address)
        say(page, NOAH)
        expect(page.locator(".failed")).to_contain_text("RuntimeError: the moon is down")
        expect(page.locator(".failed")).to_contain_text("Say it again")
        assert violations(page) == []
