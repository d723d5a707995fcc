"""The page around a figure: complete, safe, small, and the same each time."""

import base64
import gzip
import json
import re

import pytest
from plotly.offline import get_plotlyjs

from tradingbot_exp.reporting.figures import feature_importance, training_history
from tradingbot_exp.reporting.html import figure_html, plotly_gzip_base64, write_figure

HOSTILE = "</script><script>alert(1)</script><!--<b>&\u2028"


@pytest.fixture(scope="module")
def figure():
    return training_history([0.3, 0.2], [0.4, 0.25], 2, HOSTILE)


def json_of(page):
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return found


def test_plotly_is_packed_without_loss_and_once_a_process():
    assert gzip.decompress(base64.b64decode(plotly_gzip_base64())).decode() == get_plotlyjs()
    assert plotly_gzip_base64() is plotly_gzip_base64()


def test_page_holds_the_whole_figure_and_weighs_about_two_megabytes(figure):
    page = figure_html(figure, "Training history")
    assert json.loads(json_of(page)) == json.loads(figure.to_json())
    assert plotly_gzip_base64() in page
    assert len(page.encode()) < 2_050_000


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
    assert "default-src 'none'" in page
    own = page.replace(plotly_gzip_base64(), "").replace(json_of(page), "")
    assert not re.search(r"https?:|src=|href=", own)


def test_heading_stands_only_where_it_says_more_than_the_figure(figure):
    assert "<h1>" not in figure_html(figure, "Training history")
    assert "<h1>mlp-ibm &amp; co</h1>" in figure_html(figure, "mlp-ibm & co")


def test_the_same_figure_gives_the_same_file(figure, tmp_path):
    first = write_figure(figure, tmp_path / "plots" / "a.html", "A")
    second = write_figure(figure, str(tmp_path / "b.html"), "A")
    assert first.read_bytes() == second.read_bytes()
