"""Each report, opened by a real browser from a file, with the network cut: drawn, safe, and usable by everybody."""

import math

import plotly.graph_objects as go
import pytest
from axe_playwright_python.sync_playwright import Axe
from panel_records import panel_forecasts_of, panel_record
from support import in_ci, wait_until

from tradingbot_exp.reporting.page.html import write_page
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
from tradingbot_exp.reporting.training.report import training_page

KINDS = ["training", "study", "comparison", "panel"]
DRAWN = "document.documentElement.dataset.drawn !== undefined"
TONES = ("plain", "good", "bad", "warning", "muted")
NUMBERS = [3.5, None, -2.0, math.inf, 10.0, 3.5, -math.inf, math.nan, 1e-7]


@pytest.fixture(scope="module", params=KINDS)
def report(request, offline_page, reports, tmp_path_factory):
    """A report, opened in a wide, light window, with all its figures drawn; that of a panel is made by hand."""
    if request.param == "panel":
        made = training_page(panel_record(*panel_forecasts_of(symbols=60)))
        path = write_page(made, tmp_path_factory.mktemp("panel") / "panel.html")
    else:
        path = reports[request.param]
    with offline_page() as page:
        page.goto(path.as_uri())
        wait_until(page, DRAWN)
        yield page


@pytest.fixture
def resized(report):
    """The report, whose window and colours are put back after the test."""
    yield report
    report.set_viewport_size({"width": 1200, "height": 800})
    report.emulate_media(color_scheme="light", media="screen")


def names(cells):
    return [cell.strip() for cell in cells.all_text_contents()]


def violations(page, without=".none"):
    """Scan a page with axe-core for what shuts people out."""
    return [
        (each["id"], each["impact"], node["html"][:200])
        for each in Axe().run(page, {"exclude": [[without]]}).response["violations"]
        for node in each["nodes"]
        if each["impact"] in ("serious", "critical")
    ]


def test_every_figure_is_drawn_and_told_in_words(report):
    figures = report.locator("[data-figure]").count()
    assert figures >= 3
    assert report.evaluate("document.documentElement.dataset.drawn") == str(figures)
    assert report.locator("[data-figure].js-plotly-plot .main-svg:first-child").count() == figures
    assert all(names(report.locator("figcaption"))) and report.locator("figcaption").count() == figures
    assert all(names(report.locator("figure h3")))


def test_every_link_within_leads_somewhere_and_no_two_elements_share_an_id(report):
    targets = report.locator("a[href^='#']").evaluate_all("links => links.map(link => link.hash.slice(1))")
    ids = report.locator("main [id], main, body > :not(script)").evaluate_all(
        "all => all.map(one => one.id).filter(Boolean)"
    )
    assert len(targets) > 5
    assert set(targets) <= set(ids)
    sections = report.locator("main > section").evaluate_all("all => all.map(one => one.id)")
    assert len(set(sections)) == len(sections) > 4
    report.locator("nav a").last.click()
    assert report.evaluate("location.hash") == f"#{sections[-1]}"


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1200, "light"),
        (390, "dark"),
        pytest.param(1200, "dark", marks=in_ci),
        pytest.param(390, "light", marks=in_ci),
    ],
)
def test_nothing_overflows_and_nobody_is_shut_out(resized, width, scheme):
    resized.set_viewport_size({"width": width, "height": 800})
    resized.emulate_media(color_scheme=scheme)
    paper = "rgb(20, 24, 29)" if scheme == "dark" else "rgb(255, 255, 255)"
    last = "[...document.querySelectorAll('.js-plotly-plot')].at(-1)"
    wait_until(resized, f"{last}.querySelector('.main-svg').style.background === '{paper}'")
    wait_until(resized, f"{last}.querySelector('.main-svg').clientWidth <= {width}")
    assert resized.evaluate("document.scrollingElement.scrollWidth") <= width
    assert violations(resized) == []


def test_on_paper_figures_are_light_whole_and_within_the_margins(resized):
    resized.emulate_media(color_scheme="dark")
    resized.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    resized.emulate_media(color_scheme="light", media="print")
    plots = resized.locator(".js-plotly-plot > .plot-container > .svg-container")
    boxes = plots.evaluate_all("all => all.map(one => one.getBoundingClientRect()).map(box => [box.width, box.height])")
    assert boxes and all(670 < width < 690 and height < 950 for width, height in boxes)  # of 688 by 1,017 px
    papers = resized.locator(".main-svg:first-child").evaluate_all("all => all.map(one => one.style.background)")
    assert set(papers) == {"rgb(255, 255, 255)"}
    assert resized.locator("details.fold:not([open])").count() == 0
    assert not any(resized.locator(hidden).first.is_visible() for hidden in ("nav", ".copy", ".skip"))
    resized.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert resized.locator("details.fold[open]").count() == 0


@pytest.fixture(scope="module")
def hand_made(offline_page, tmp_path_factory):
    """A page with one of each block, and a table of 1,000 rows; its text tries to break out."""
    hostile = "</script><script>document.title = 'broken'</script><img src=x onerror=alert(1)>"
    cells = [
        [
            Cell(f"row {i}", sort=i),
            Cell("–" if value is None else f"{value:.1f}", sort=value),
            Cell(("b", "A", "–", "a10", "a9")[i % 5]),
        ]
        for i, value in enumerate(NUMBERS)
    ]
    columns = [Column("name"), Column("number", numeric=True, hint="in units"), Column("word")]
    long = [[Cell(f"t{i}", sort=i), Cell(f"{i * 7919 % 1000}", sort=float(i * 7919 % 1000))] for i in range(1000)]
    links = [
        Cell("inside", href="#tables"),
        Cell("outside", href="https://example.org/?a=1&b=2"),
        Cell("script", href="javascript:alert(1)"),
        Cell("file", href="file:///etc/passwd"),
        Cell("bare", href="//example.org"),
    ]
    figure = go.Figure(go.Scatter(x=[1, 2], y=[1, 2]), layout={"title": {"text": "Two points"}})
    blocks = [
        Paragraph(hostile),
        *(Notice(hostile, tone) for tone in TONES),
        Tiles([Tile("label", "1.23", "context", tone) for tone in TONES]),
        Facts([("tone", Cell(tone, tone=tone)) for tone in TONES] + [("link", cell) for cell in links]),
        Code("echo 'one' &&\necho two", "Command"),
        Details("More", [Figure(figure, "Two points on a line."), Code("folded")]),
    ]
    tables = [
        Table("Few rows", columns, cells, sortable=True, filterable=True),
        Table("Many rows", [Column("trial"), Column("value", numeric=True)], long, sortable=True, filterable=True),
    ]
    sections = [Section("blocks", hostile, blocks), Section("tables", "Tables", tables)]
    made = Page(hostile, "Training report", [("Status", Cell(hostile))], sections, "Made today")
    path = write_page(made, tmp_path_factory.mktemp("page") / "a b#c.html")
    with offline_page() as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(path.as_uri())
        wait_until(page, DRAWN)
        assert page.title().startswith("</script>")
        yield page


def column_of(page, place, table=0):
    return page.locator("table").nth(table).locator(f"tbody tr:visible > :nth-child({place})").all_text_contents()


def test_a_table_sorts_by_number_with_what_is_missing_last_both_ways(hand_made):
    head = hand_made.get_by_role("columnheader", name="number")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = ["-inf", "-2.0", "0.0", "3.5", "3.5", "10.0", "inf", "–", "nan"]
    assert column_of(hand_made, 2) == up
    assert column_of(hand_made, 1)[3:5] == ["row 0", "row 5"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column_of(hand_made, 2) == ["inf", "10.0", "3.5", "3.5", "0.0", "-2.0", "-inf", "–", "nan"]
    assert column_of(hand_made, 1)[2:4] == ["row 0", "row 5"]  # equal rows keep their order


def test_a_table_sorts_words_by_keyboard(hand_made):
    hand_made.locator("thead button").nth(2).focus()
    hand_made.keyboard.press("Enter")
    assert [word for word in column_of(hand_made, 3) if word != "–"] == ["A", "A", "a9", "a10", "a10", "b", "b"]
    assert column_of(hand_made, 3)[-1] == "–"
    hand_made.keyboard.press("Space")
    assert column_of(hand_made, 3)[0] == "b" and column_of(hand_made, 3)[-1] == "–"
    sorted_by = hand_made.locator("table").first.locator("[aria-sort]")
    assert names(sorted_by.locator("span")) == ["word"]


def test_a_thousand_rows_are_filtered_and_sorted(hand_made):
    field = hand_made.get_by_label("Filter rows of: Many rows")
    status = field.locator("xpath=ancestor::div").last.get_by_role("status")
    assert status.text_content() == "1,000 of 1,000 rows"
    field.fill("T99")
    assert status.text_content() == "11 of 1,000 rows"
    assert len(column_of(hand_made, 1, table=1)) == 11
    field.fill("nothing like it")
    assert status.text_content() == "0 of 1,000 rows"
    assert hand_made.get_by_text("No row matches.").last.is_visible()
    field.fill("")
    hand_made.evaluate("() => document.querySelectorAll('table')[1].querySelectorAll('thead button')[1].click()")
    values = [float(value) for value in column_of(hand_made, 2, table=1)]
    assert values == sorted(values) and len(values) == 1000


def test_only_safe_links_are_links(hand_made):
    facts = hand_made.locator(".facts a")
    assert facts.evaluate_all("all => all.map(one => one.getAttribute('href'))") == [
        "#tables",
        "https://example.org/?a=1&b=2",
    ]
    assert hand_made.locator("main img, main script:not([type='application/json'])").count() == 0


def test_code_is_copied_whole(hand_made):
    hand_made.get_by_role("button", name="Copy: Command").click()
    wait_until(hand_made, "document.querySelector('.code [role=status]').textContent === 'Copied'")
    assert hand_made.evaluate("navigator.clipboard.readText()") == "echo 'one' &&\necho two"


def test_what_is_drawn_while_folded_fits_when_unfolded(hand_made):
    hand_made.locator("summary", has_text="More").click()
    wide = "document.querySelector('main').clientWidth"
    wait_until(hand_made, f"document.querySelector('.main-svg').clientWidth >= {wide}")
    assert violations(hand_made, without=".tall") == []  # a thousand rows take a scan ten seconds


def test_tab_reaches_a_figure_once_and_leaves_it(hand_made):
    hand_made.locator("details.fold").evaluate("details => { details.open = true; }")
    hand_made.locator(".modebar button").first.focus()
    hand_made.keyboard.press("ArrowRight")
    assert hand_made.evaluate("document.activeElement.closest('.modebar') !== null")
    hand_made.keyboard.press("Tab")
    assert hand_made.evaluate("document.activeElement.closest('.modebar') === null")


def test_without_scripts_the_text_is_there(browser, reports):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["training"].as_uri())
    assert page.locator("table:visible").count() >= 2
    assert "scripts are switched off" in page.locator("figure noscript").first.text_content()
    context.close()
