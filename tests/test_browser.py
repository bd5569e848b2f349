"""The browser of the tests is a real one: it runs scripts, draws, judges and reaches no other machine."""

from pathlib import Path

from tests.browser import a_page, picture, violations

PAGE = """<!doctype html><html lang="en"><title>Shop</title><main><h1 id="h">Closed</h1>
<img src="http://shop.invalid/logo.png" {alt}></main>
<script>document.getElementById("h").textContent = "Open since " + new Date(0).getUTCFullYear()</script></html>"""


def test_a_page_is_run_judged_and_drawn(tmp_path: Path) -> None:
    with a_page(width=400, height=300) as (page, foreign):
        page.set_content(PAGE.format(alt='alt="Zava"'))
        assert page.get_by_role("heading").inner_text() == "Open since 1970"
        assert violations(page) == []
        drawn = picture(page, tmp_path / "pictures" / "shop.png").read_bytes()
        page.set_content(PAGE.format(alt=""))
        (fault,) = violations(page)
    assert drawn.startswith(b"\x89PNG")
    assert fault.startswith("image-alt (critical)")
    assert foreign == ["http://shop.invalid/logo.png"] * 2
