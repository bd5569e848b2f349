"""The report: whole, self-contained, and safe against what models write."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks import report
from tasks.charts import Line, line_chart
from tasks.core.run import RunSummary, Story
from tests import runs

VOID = {"meta"}


class Balance(HTMLParser):
    """Checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed by itself, as in SVG."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def html_of(summary: RunSummary, folder: Path) -> str:
    return report.write_report(summary, folder).html.read_text(encoding="utf-8")


def test_the_report_holds_verdict_numbers_transcripts_and_addresses(tmp_path: Path) -> None:
    html = html_of(runs.a_summary(tmp_path), tmp_path)
    for text in (
        "The tuned model is better",
        "90.0 (85.0..94.0)",
        "intent=cancel",
        "The address is not changed.",
        "http://127.0.0.1:5000/#/experiments/1/runs/m1",
        "0.00 USD, 12.3 CPU minutes",
        "there already",
        "+60.0 points, 55.0 to 65.0, p = 0.0015",
        "does not apply: no &lt;system&gt; prompt",
        "A true difference of 6.1 % or more",
        "it would take 387 decisions",
        "base, next_tool_call_accuracy: 32.0 % at best, 30.0 % at worst",
        "<td>invented_id</td><td>which arguments</td>",
        "user_id &#39;noah_brown_&lt;80279&gt;&#39;",
    ):
        assert text in html
    checker = Balance()
    checker.feed(html)
    assert checker.open == []


def test_the_replay_family_is_a_table_with_what_went_wrong(tmp_path: Path) -> None:
    families = (runs.a_family("base", False, True, False), runs.a_family("tuned", True, False, True))
    summary = runs.a_summary(tmp_path, families=families)
    html = html_of(summary, tmp_path)
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr.*?</tr>", html, re.DOTALL)]
    assert [row for row in rows if row[:1] in (["id"], ["email"], ["all"])][:3] == [
        ["id", "near", "zip", "2", "0", "2"],
        ["email", "1", "1", "0"],
        ["all", "3", "1", "2"],
    ]
    assert "Right with base and wrong with tuned: email/1." in html
    assert "get_user_details was called with &#39;&lt;b&gt;&#39;" in html
    balance = Balance()
    balance.feed(html)
    assert balance.open == []
    markdown = (tmp_path / "report.md").read_text()
    assert (
        "| replay family | n | base, right | tuned, right |\n|---|---|---|---|\n| id near zip | 2 | 0 | 2 |\n"
        in markdown
    )


def test_the_report_asks_nothing_of_the_network(tmp_path: Path) -> None:
    html = html_of(runs.a_summary(tmp_path), tmp_path)
    assert not re.search(r"<(script|link|img|iframe)\b|url\(|@import", html)
    assert "prefers-color-scheme: dark" in html


def test_what_a_model_wrote_is_shown_and_never_run(tmp_path: Path) -> None:
    html = html_of(runs.a_summary(tmp_path), tmp_path)
    assert "noah_brown_&lt;80279&gt;" in html
    assert "<80279>" not in html


def test_the_markdown_is_one_table_row_a_metric(tmp_path: Path) -> None:
    text = report.write_report(runs.a_summary(tmp_path), tmp_path).markdown.read_text()
    assert text.startswith("# retrain local")
    row = "| next_tool_call_accuracy | 30.0 (25.0..34.0) | 90.0 (85.0..94.0) | +60.0 points, 55.0 to 65.0 | 260 |"
    assert row in text.splitlines()


def test_the_points_of_all_kinds_of_failure_add_up_to_the_gain(tmp_path: Path) -> None:
    text = report.write_report(runs.a_summary(tmp_path), tmp_path).markdown.read_text()
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| ([-+.\d]+) \|$", text, re.MULTILINE)
    assert rows == [("no_answer", "10", "10", "+0.0"), ("invented_id", "182", "26", "+33.9")]
    assert "| base-examples | does not apply: no <system> prompt | | |" in text


def test_the_report_of_an_older_run_has_no_arms(tmp_path: Path) -> None:
    assert "All arms" not in html_of(runs.a_summary(tmp_path, standings=None), tmp_path)


def test_the_summary_is_read_back_whole(tmp_path: Path) -> None:
    summary = runs.a_summary(tmp_path)
    written = report.write_report(summary, tmp_path / "out")
    read = RunSummary.model_validate_json(written.summary.read_text())
    assert read == summary.model_copy(update={"report_path": str(written.html)})


def test_a_run_without_a_curve_and_with_a_model_that_never_calls_has_a_report(tmp_path: Path) -> None:
    summary = runs.a_summary(tmp_path, curve=())
    base = summary.comparison.base.model_copy(update={"metrics": {}, "slices": {}})
    summary = summary.model_copy(update={"comparison": summary.comparison.model_copy(update={"base": base})})
    assert "<svg" not in html_of(summary, tmp_path)


def test_a_transcript_is_json_lines_in_the_chat_shape(tmp_path: Path) -> None:
    story: Story = runs.a_story("base", passed=False)
    lines = report.write_transcript(story, tmp_path).read_text().splitlines()
    assert [json.loads(line)["role"] for line in lines] == ["system", "user", "assistant", "tool", "assistant"]


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), max_size=50))
@example([(0.0, 5e-324)])
@settings(deadline=None)
def test_any_points_make_a_chart_whose_marks_lie_inside(points: list[tuple[float, float]]) -> None:
    chart = str(line_chart("t", [Line("a", sorted(points), "a")], x_label="step", y_label="loss"))
    if not points:
        assert chart == ""
        return
    for x, y in re.findall(r'<circle cx="([-\d.e]+)" cy="([-\d.e]+)"', chart):
        assert 0 <= float(x) <= 640
        assert 0 <= float(y) <= 260


def test_a_long_curve_stays_small() -> None:
    points = [(float(step), 1 / (step + 1)) for step in range(100_000)]
    assert len(line_chart("t", [Line("a", points, "a")], x_label="step", y_label="loss")) < 20_000
