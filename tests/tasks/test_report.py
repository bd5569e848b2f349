"""The report: whole, self-contained, and safe against what models write."""

import json
import re
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks import report
from tasks.charts import Line, line_chart
from tasks.core.run import RunSummary, Story
from tests import cases, runs
from tests.measured import a_measured_run
from tests.pages import Page

DASH = "\N{EN DASH}"


def html_of(summary: RunSummary, folder: Path) -> str:
    return report.write_report(summary, folder).html.read_text(encoding="utf-8")


def page_of(summary: RunSummary, folder: Path) -> Page:
    return Page(html_of(summary, folder))


def test_the_report_says_at_once_whether_why_and_what_next(tmp_path: Path) -> None:
    page = page_of(runs.a_summary(tmp_path), tmp_path)
    for text in (
        "The tuned model is better.",
        "The right next tool call in 90.0 % of 260 decisions, against 30.0 % before (+60.0 points, 55.0 to 65.0).",
        "Which arguments: +33.9 points of all decisions; 182 went wrong, now 26.",
        "0.00 USD, 12.3 CPU minutes of this machine, 2,500,000 tokens trained; 10.2 minutes in all",
        "Look at invented id: 26 of the 36 decisions that it still gets wrong. "
        "Its weakest tool is get_user_details, 90.0 % of 260.",
        "A true difference of 6.1 % or more",
        "it would take 387 decisions",
        "base, next_tool_call_accuracy: 32.0 % at best, 30.0 % at worst",
        "large, next_tool_call_accuracy: 32.0 % at best, 30.0 % at worst",
        "user_id 'noah_brown_<80279>'",
        "The address is not changed.",
    ):
        assert text in page.text


def test_every_figure_stands_with_its_interval_and_its_sample_size(tmp_path: Path) -> None:
    page = page_of(runs.a_summary(tmp_path), tmp_path)
    [headline] = [row for row in page.rows if row and row[0].startswith("next tool call accuracy")]
    assert headline[0].endswith("n = 260")
    assert headline[1:4] == [f"30.0 25.0{DASH}34.0", f"90.0 85.0{DASH}94.0", "+60.0 +55.0 to +65.0"]
    assert page.row("invented argument rate")[0].endswith("n = 260; less is better")
    assert page.row("cancel")[:3] == ["cancel n = 260", f"30.0 25.0{DASH}34.0", f"90.0 85.0{DASH}94.0"]
    assert page.row("large base-large; 2 examples as turns")[-2] == "+60.0 points, 55.0 to 65.0, p = 0.25"
    assert page.row("base-examples")[1] == "does not apply: no <system> prompt"
    assert page.row("fine-tuning")[1:] == ["1.0", "(there already)"]


def test_the_waterfall_goes_from_base_to_tuned(tmp_path: Path) -> None:
    page = page_of(runs.a_summary(tmp_path), tmp_path)
    start = next(place for place, row in enumerate(page.rows) if row[:1] == ["step"])
    falls = [[row[0], *row[2:]] for row in page.rows[start + 1 : start + 5]]
    assert falls == [
        ["base", "58.3", ""],
        ["answer", "+0.0", "10 → 10"],
        ["which arguments", "+33.9", "182 → 26"],
        ["tuned", "92.2", ""],
    ]


def test_base_and_tuned_stand_side_by_side_with_the_source_of_every_argument(tmp_path: Path) -> None:
    page = page_of(a_measured_run(tmp_path), tmp_path)
    arguments = [row for row in page.rows if row[:1] == ["user_id"]]
    # Right, base and tuned of the first of four invented ids.
    assert arguments[:3] == [
        ["user_id", '"ann_lee_1000"', "find_user_id_by_email, message 3"],
        ["user_id", '"ann_lee_80279" differs', "nobody gave it"],
        ["user_id", '"ann_lee_1000"', "find_user_id_by_email, message 3"],
    ]
    assert "What is your <b>email</b>?" in page.text
    assert "4 shown of 8" in page.text


def test_a_run_whose_decisions_are_gone_has_a_report_that_says_so(tmp_path: Path) -> None:
    run = a_measured_run(tmp_path)
    Path(run.decisions.path).unlink()
    page = page_of(run, tmp_path)
    assert "The decisions themselves cannot be shown. Cannot read" in page.text
    assert page.row("invented id")[2] == "8 → 0"


def test_the_replay_family_is_a_table_with_what_went_wrong(tmp_path: Path) -> None:
    families = (runs.a_family("base", False, True, False), runs.a_family("tuned", True, False, True))
    page = page_of(runs.a_summary(tmp_path, families=families), tmp_path)
    assert page.row("id near zip") == ["id near zip", "2", "0", "2"]
    assert page.row("email") == ["email", "1", "1", "0"]
    assert ["all", "3", "1", "2"] in page.rows
    assert "Right with base and wrong with tuned: email/1." in page.text
    assert "get_user_details was called with '<b>'" in page.text
    markdown = (tmp_path / "report.md").read_text()
    assert (
        "| replay family | n | base, right | tuned, right |\n|---|---|---|---|\n| id near zip | 2 | 0 | 2 |\n"
        in markdown
    )


def test_the_gate_is_a_table_with_the_figure_and_the_bound_of_each_rule(tmp_path: Path) -> None:
    made = cases.a_refusal(tmp_path, "by bob: <b>wrong | refunds</b>")
    html, markdown = (path.read_text() for path in report.write_pages(cases.good_summary(tmp_path), tmp_path, made))
    page = Page(html)
    assert page.row("gain") == ["gain", "passed", "+40.0 points", "at least +5.0 points"]
    assert ["invented arguments", "passed", "0.0 %", "at most 2.0 %"] in page.rows
    assert "is not promoted: the gate refused it for not_rolled_back." in page.text
    assert "The gate refused the model for not rolled back." in page.text
    assert "by bob: <b>wrong | refunds</b>" in page.text
    row = "| not rolled back | **failed** | 1 | at most 0 (by bob: <b>wrong \\| refunds</b>) |"
    assert row in markdown.splitlines()
    assert markdown.count("| rule of the gate |") == 1


def test_the_report_asks_nothing_of_the_network_and_runs_nothing(tmp_path: Path) -> None:
    html = html_of(runs.a_summary(tmp_path), tmp_path)
    assert not re.search(r"<(script|link|img|iframe)\b|url\(|@import|\son\w+=|\sstyle=", html)
    assert "default-src 'none'; style-src 'sha256-" in html
    assert html.count("<style>") == 1


def test_what_a_model_wrote_is_shown_and_never_run(tmp_path: Path) -> None:
    html = html_of(runs.a_summary(tmp_path), tmp_path)
    assert "noah_brown_&lt;80279&gt;" in html
    assert "<80279>" not in html


def test_the_markdown_is_one_table_row_a_metric(tmp_path: Path) -> None:
    text = report.write_report(runs.a_summary(tmp_path), tmp_path).markdown.read_text()
    assert text.startswith("# retrain local")
    row = "| next_tool_call_accuracy | 30.0 (25.0..34.0) | 90.0 (85.0..94.0) | +60.0 points, 55.0 to 65.0 | 260 |"
    assert row in text.splitlines()
    assert "Look at invented id: 26 of the 36 decisions" in text


def test_the_points_of_all_steps_and_kinds_of_failure_add_up_to_the_gain(tmp_path: Path) -> None:
    text = report.write_report(runs.a_summary(tmp_path), tmp_path).markdown.read_text()
    rows = re.findall(r"^\| ([\w ]+) \| (\d+) \| (\d+) \| ([-+.\d]+) \|$", text, re.MULTILINE)
    assert rows == [
        ("answer", "10", "10", "+0.0"),
        ("which arguments", "182", "26", "+33.9"),
        ("no_answer", "10", "10", "+0.0"),
        ("invented_id", "182", "26", "+33.9"),
    ]
    assert "| large (2 examples as turns) | 30.0 (25.0..34.0) | - | +60.0 points, 55.0 to 65.0, p = 0.25 |" in text
    assert "| base-examples | does not apply: no <system> prompt | | |" in text
    assert "to show 5.0 % it would take 387 decisions with a call, against 260." in text


def test_the_report_of_an_older_run_has_no_arms(tmp_path: Path) -> None:
    assert "All arms" not in html_of(runs.a_summary(tmp_path, standings=None), tmp_path)


def test_the_summary_is_read_back_whole(tmp_path: Path) -> None:
    summary = runs.a_summary(tmp_path)
    written = report.write_report(summary, tmp_path / "out")
    read = RunSummary.model_validate_json(written.summary.read_text())
    assert read == summary.model_copy(update={"report_path": str(written.html)})


def test_a_run_without_a_curve_and_with_a_model_that_never_calls_has_a_report(tmp_path: Path) -> None:
    summary = runs.a_summary(tmp_path, curve=())
    base = summary.comparison.base.model_copy(update={"metrics": {}, "slices": {}, "outcomes": {}})
    summary = summary.model_copy(update={"comparison": summary.comparison.model_copy(update={"base": base})})
    assert "The provider told no steps." in page_of(summary, tmp_path).text


def test_a_transcript_is_json_lines_in_the_chat_shape(tmp_path: Path) -> None:
    story: Story = runs.a_story("base", passed=False)
    lines = report.write_transcript(story, tmp_path).read_text().splitlines()
    assert [json.loads(line)["role"] for line in lines] == ["system", "user", "assistant", "tool", "assistant"]


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), max_size=50))
@example([(0.0, 5e-324)])
@settings(deadline=None)
def test_any_points_make_a_chart_whose_marks_lie_inside(points: list[tuple[float, float]]) -> None:
    chart = str(line_chart("t", [Line("a", sorted(points), "a")], x_label="step"))
    if not points:
        assert chart == ""
        return
    for x, y in re.findall(r'<circle cx="([-\d.e]+)" cy="([-\d.e]+)"', chart):
        assert 0 <= float(x) <= 640
        assert 0 <= float(y) <= 260


def test_a_long_curve_stays_small() -> None:
    points = [(float(step), 1 / (step + 1)) for step in range(100_000)]
    assert len(line_chart("t", [Line("a", points, "a")], x_label="step")) < 20_000
