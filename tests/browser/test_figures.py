"""Each figure's page, opened by a real browser from a file, with the network cut."""

import html

import numpy as np
import pandas as pd
import pytest
from support import wait_until

from tradingbot_exp.plots.feature_distributions import feature_histograms
from tradingbot_exp.plots.html import figure_html, write_figure
from tradingbot_exp.plots.kept import KEPT
from tradingbot_exp.plots.prediction_vs_actual import prediction_vs_actual
from tradingbot_exp.plots.training_history import training_history


@pytest.fixture(scope="module")
def logged():
    """What a run logs, of the usual size, by the source of its plots."""
    rng = np.random.default_rng(0)
    actual, forecast = rng.normal(0, 0.015, 484), rng.normal(0, 0.002, 484)
    loss = 1e-3 * np.exp(-np.arange(50) / 20)
    features = [f"feature_{i}" for i in range(10)]
    histograms = feature_histograms(features, rng.normal(size=(2264, 10)), rng.normal(size=(484, 10)))
    return {
        "losses": ((range(1, 51), loss), (range(1, 51), loss * 1.1), 50, "mse"),
        "forecasts": (pd.bdate_range("2010-01-01", periods=484), actual, forecast, "log return, 1 bar", None),
        "features": (histograms,),
        "importance": (features, rng.normal(1e-5, 1e-5, 10), np.full(10, 2e-6)),
    }


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.artifact)
def test_a_kept_plot_is_drawn_from_a_file_and_fits_a_phone(page, logged, tmp_path, kept):
    fig = kept.draw(*logged[kept.source])
    page.goto(write_figure(fig, tmp_path / kept.artifact, "A title").as_uri())
    page.wait_for_selector(".main-svg")
    assert page.locator(".gtitle").text_content() == fig.layout.title.text
    assert page.locator("[role=status]").count() == 0
    traces = page.evaluate("document.querySelector('.js-plotly-plot').calcdata.length")
    assert traces == len(fig.data)
    assert page.locator("[data-title^='Share']").count() == 0  # plotly's own offer to upload the data
    wide = page.evaluate("document.querySelector('.main-svg').clientWidth")

    page.set_viewport_size({"width": 390, "height": 800})
    wait_until(page, "document.querySelector('.main-svg').clientWidth <= 390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert wide > 1000


def test_narrow_screen_stacks_what_stands_side_by_side(page, logged, tmp_path):
    page.goto(write_figure(prediction_vs_actual(*logged["forecasts"]), tmp_path / "a.html", "A").as_uri())
    page.wait_for_selector(".main-svg")
    domain = "document.querySelector('.js-plotly-plot')._fullLayout.xaxis.domain[1]"
    assert page.evaluate(domain) == 0.58
    page.set_viewport_size({"width": 390, "height": 800})
    wait_until(page, f"{domain} === 1")
    page.set_viewport_size({"width": 1200, "height": 800})
    wait_until(page, f"{domain} === 0.58")


def test_figure_is_drawn_in_a_sandboxed_frame_as_in_the_tracking_ui(page, logged, tmp_path):
    inner = html.escape(figure_html(training_history(*logged["losses"]), "A"))
    outer = tmp_path / "ui.html"
    outer.write_text(f'<iframe sandbox="allow-scripts" width="900" height="600" srcdoc="{inner}"></iframe>')
    page.goto(outer.as_uri())
    page.frame_locator("iframe").locator(".main-svg").first.wait_for()


def test_dark_page_repaints_ink_and_blue(page, logged, tmp_path):
    page.emulate_media(color_scheme="dark")
    page.goto(write_figure(prediction_vs_actual(*logged["forecasts"]), tmp_path / "a.html", "A").as_uri())
    page.wait_for_selector(".main-svg")
    line = "document.querySelector('.js-plotly-plot')._fullData[1].line.color"
    assert page.evaluate(line) == "#56b4e9"
    page.emulate_media(color_scheme="light")
    wait_until(page, f"{line} === '#0072b2'")


def test_browser_that_cannot_inflate_is_told_so(page, logged, tmp_path):
    page.add_init_script("delete window.DecompressionStream")
    page.goto(write_figure(training_history(*logged["losses"]), tmp_path / "a.html", "A").as_uri())
    status = page.locator("[role=status]")
    status.filter(has_text="too old to draw the figure").wait_for()
