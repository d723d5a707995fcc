"""The pages around a figure and a report: complete, safe, small, and the same each time."""

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from tradingbot_exp import plots
from tradingbot_exp.plots import style
from tradingbot_exp.plots.feature_importance import feature_importance
from tradingbot_exp.plots.html import figure_html, plotly_gzip_base64, write_figure
from tradingbot_exp.plots.style import TEMPLATE
from tradingbot_exp.plots.training_history import training_history
from tradingbot_exp.reporting.comparison.compared import COLORS
from tradingbot_exp.reporting.page.html import page_html, write_page
from tradingbot_exp.reporting.page.page import (
    Cell,
    Code,
    Column,
    Details,
    Facts,
    Figure,
    Notice,
    Page,
    Paragraph,
    Section,
    Table,
    Tile,
    Tiles,
)

HOSTILE = "</script><script>alert(1)</script><!--<b>&\u2028"


@pytest.fixture(scope="module")
def figure():
    return training_history(((1, 2), (0.3, 0.2)), ((1, 2), (0.4, 0.25)), 2, HOSTILE)


def json_of(page):
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return found


def test_plotly_is_packed_without_loss_and_once_a_process():
    assert gzip.decompress(base64.b64decode(plotly_gzip_base64())).decode() == get_plotlyjs()
    assert plotly_gzip_base64() is plotly_gzip_base64()


def test_page_holds_the_whole_figure_and_weighs_about_two_megabytes(figure, tmp_path):
    page = figure_html(figure, "Training history")
    assert json.loads(json_of(page)) == json.loads(figure.to_json())
    assert plotly_gzip_base64() in page
    assert len(page.encode()) < 2_050_000
    assert "<h1>" not in page  # the figure's own title says as much
    assert "<h1>mlp-ibm &amp; co</h1>" in figure_html(figure, "mlp-ibm & co")
    first = write_figure(figure, tmp_path / "plots" / "a.html", "A")
    assert first.read_bytes() == write_figure(figure, str(tmp_path / "b.html"), "A").read_bytes()


def test_no_text_can_break_out_of_the_page():
    fig = feature_importance([HOSTILE], [1.0], [0.1])
    fig.update_layout(meta={"note": HOSTILE})
    page = figure_html(fig, HOSTILE)
    assert "alert(1)</script>" not in page
    assert not set("<>&\u2028") & set(json_of(page))
    assert json.loads(json_of(page))["layout"]["meta"]["note"] == HOSTILE
    assert "<title>&lt;/script&gt;&lt;script&gt;alert(1)" in page


def test_page_forbids_requests_and_names_its_language_and_viewport(figure):
    page = figure_html(figure, "x")
    assert '<html lang="en">' in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'"):
        assert rule in page
    own = page.replace(plotly_gzip_base64(), "").replace(json_of(page), "")
    assert not re.search(r"https?:|src=|href=", own)


def page_of(*blocks, anchor="only", **given):
    described = {"title": "A run", "kind": "Training report", "facts": [], "made": "Made today"}
    return Page(**{**described, **given}, sections=[Section(anchor, "A section", blocks)])


def body(page):
    """Return what a page shows, without its scripts and styles."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", page_html(page), flags=re.DOTALL)


def test_every_text_of_a_report_is_escaped(figure):
    column = Column(HOSTILE, hint=HOSTILE)
    every = Cell(HOSTILE, sort=HOSTILE, href=f"https://x/{HOSTILE}")
    blocks = [
        Paragraph(HOSTILE),
        Notice(HOSTILE),
        Tiles([Tile(HOSTILE, HOSTILE, HOSTILE)]),
        Facts([(HOSTILE, every)]),
        Table(HOSTILE, [column], [[every]], sortable=True, filterable=True),
        Figure(figure, HOSTILE),
        Code(HOSTILE, HOSTILE),
        Details(HOSTILE, [Paragraph(HOSTILE)]),
    ]
    made = Page(HOSTILE, HOSTILE, [(HOSTILE, every)], [Section("a", HOSTILE, blocks)], HOSTILE)
    text = page_html(made)
    assert "<script>alert" not in text and "<b>" not in text and text.count("<!--") == 1  # the mark
    assert text.count("&lt;script&gt;alert(1)") >= 25
    assert text.count("</script>") == 4  # of the figure, the page, and plotly.js in two


def test_no_text_of_a_report_holds_a_secret_that_somebody_recorded(figure):
    said = "see api_token=abcd1234efgh"
    blocks = [Paragraph(said), Notice(said), Tiles([Tile(said, said, said)]), Code(said, said), Figure(figure, said)]
    cell = Cell(said)
    table = Table(said, [Column(said, hint=said)], [[cell]], sortable=True, filterable=True)
    made = Page(said, said, [(said, cell)], [Section("a", said, [*blocks, Facts([(said, cell)]), table])], said)
    assert "abcd1234efgh" not in page_html(made)


@pytest.mark.parametrize(
    ("href", "leads"),
    [
        ("#quality", True),
        ("http://localhost:5000/#/experiments/1", True),
        ("https://example.org/?a=1", True),
        ("javascript:alert(1)", False),
        ("JavaScript:alert(1)", False),
        (" https://example.org", False),
        ("//example.org", False),
        ("file:///etc/passwd", False),
        ("data:text/html,x", False),
        ("", False),
    ],
)
def test_only_anchors_and_websites_become_links(href, leads):
    text = body(page_of(Facts([("name", Cell("there", href=href))])))
    assert ('rel="noreferrer">there</a>' in text) == leads
    assert ">there<" in text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.1 + 0.2, "0.30000000000000004"),
        (np.float64(1e-300), "1e-300"),
        (7, "7.0"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (float("nan"), ""),
        ("2026-11-24", "2026-11-24"),
    ],
)
def test_cells_carry_what_they_are_sorted_by_with_all_its_digits(value, written):
    text = body(page_of(Table("t", [Column("n", numeric=True)], [[Cell("x", sort=value)]], row_header=False)))
    assert f'<td class="number word" data-sort="{written}">x</td>' in text


def test_a_table_names_itself_its_columns_and_rows_and_weighs_little_and_a_notice_names_its_colour():
    text = body(page_of(Table("Some rows", [Column("a"), Column("b", numeric=True, hint="a year")], [[Cell("x")] * 2])))
    assert "<caption><span>Some rows</span></caption>" in text
    assert '<th scope="col"><span>a</span></th>' in text
    assert '<th scope="col" class="number"><span>b</span> <small>a year</small></th>' in text
    assert '<th scope="row" class="word">x</th>' in text
    assert 'tabindex="0" role="region" aria-label="Table: Some rows"' in text
    row = [Cell(f"{i / 7:.4f}", sort=i / 7, tone="good") for i in range(15)]
    many = Table("many", [Column("n", numeric=True)] * 15, [row] * 1000, sortable=True, filterable=True)
    assert len(page_html(page_of(many)).encode()) < 1_300_000
    words = {tone: re.search(r"<strong>(\w+)", body(page_of(Notice("x", tone))))[1] for tone in ("bad", "warning")}
    assert words == {"bad": "Problem", "warning": "Caution"}


def test_a_report_without_figures_comes_without_plotly(figure):
    small = page_html(page_of(Paragraph("nothing to draw")))
    assert len(small) < 40_000 and 'data-drawn="0"' in small
    large = page_html(page_of(Details("more", [Figure(figure, "two losses")] * 3)))
    assert large.count('id="plotly-gzip-base64"') == 1
    assert len(large.encode()) < 2_100_000
    assert "<figcaption>two losses</figcaption>" in large


def test_a_report_forbids_requests_and_has_the_landmarks_of_a_page():
    text = page_html(page_of(Paragraph("x"), anchor="what"))
    for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'"):
        assert rule in text
    assert '<html lang="en"' in text
    for landmark in ("<header>", '<nav aria-label="Contents">', '<main id="content"', "<footer>"):
        assert text.count(landmark) == 1
    assert text.count("<h1>") == 1 and '<a href="#what">A section</a>' in text
    assert not re.search(r"(src|href|url)=?[\"'(]*(https?:|//)", text)


def test_a_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "folder" / "report.html"
    assert write_page(page_of(Paragraph("first ü")), path) == path
    assert "first ü" in path.read_text(encoding="utf-8")

    def full(self, text, **_):
        with self.open("w") as file:
            file.write(text[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_page(page_of(Paragraph("second")), path)
    monkeypatch.undo()
    assert "first ü" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_report_goes_where_a_link_leads_and_a_folder_is_refused(tmp_path):
    (tmp_path / "kept.html").write_text("old")
    (tmp_path / "link.html").symlink_to(tmp_path / "kept.html")
    write_page(page_of(Paragraph("new")), tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink() and "new" in (tmp_path / "kept.html").read_text()
    with pytest.raises(IsADirectoryError):
        write_page(page_of(Paragraph("x")), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def luminance(colour):
    """Relative luminance of ``#rrggbb`` by WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_what_is_drawn_can_be_told_from_the_paper_by_day_and_by_night():
    source = (Path(plots.__file__).parent / "templates" / "plotly.html.j2").read_text()
    night = dict(re.findall(r'"(#[0-9a-f]{6})": "(#[0-9a-f]{6})"', source))
    ink = {TEMPLATE.layout.font.color, TEMPLATE.layout.title.subtitle.font.color, style.MARK, style.VALIDATION}
    for colour in {*ink, style.ACTUAL, style.FORECAST, style.TRAIN, style.GOOD, style.WHISKER, *COLORS}:
        least = 4.5 if colour in ink else 3.0  # of text and of graphics, success criteria 1.4.3 and 1.4.11
        assert contrast(colour, "#ffffff") >= least, colour
        assert contrast(night.get(colour, colour), night["#ffffff"]) >= least, colour
