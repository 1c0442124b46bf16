import html.parser
import os
import re
import xml.dom.minidom

import jinja2
import pytest

from tfmedcai.reports.document import (
    Body,
    Column,
    Facts,
    Paragraph,
    Picture,
    Pictures,
    Preformatted,
    Report,
    Section,
    Table,
)
from tfmedcai.reports.html import anchor, render, write_report
from tfmedcai.reports.style import INK, empty_axes

EVIL = '<script>alert(1)</script> & "quoted"'


class Page(html.parser.HTMLParser):
    """Collects what the tests look at: tags with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def picture(**more):
    figure, axes = empty_axes(2.0, 1.5)
    axes.plot([1, 2], [3, 4], color=INK)
    axes.set_title("a < b -- c", parse_math=False)
    return Picture(figure, "a caption", 'the "alt" text', **more)


def everything(text="text"):
    table = Table(text, [Column(text), Column("n", number=True, group=text)], [Body([[text, 1], [None, 2.5]], text)])
    parts = [Paragraph(text), Facts([(text, text)], code=(text,)), table, Preformatted(text, text)]
    parts.append(Pictures([picture(), picture(bitmap=True), picture(paper=True)]))
    return Report(text, [Section(text, parts)], text)


def test_all_text_is_escaped():
    page = render(everything(EVIL))
    assert EVIL not in page
    assert len(Page(page).all("script")) == 1
    assert page.count("&lt;script&gt;alert(1)") >= 12


def test_nothing_is_fetched():
    text = render(everything())
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest", text)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_headings_tables_and_figures_serve_a_screen_reader():
    page = Page(render(everything()))
    assert page.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)] == ["h1", "h2"]
    assert all("scope" in attributes for attributes in page.all("th"))
    assert {a["scope"] for a in page.all("th")} == {"col", "row", "colgroup", "rowgroup"}
    assert [svg["aria-label"] for svg in page.all("svg")] == ['the "alt" text'] * 2
    assert [img["alt"] for img in page.all("img")] == ['the "alt" text']


def test_drawings_are_well_formed_and_share_no_names():
    text = render(everything())
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    names = []
    for drawing in drawings:
        parsed = xml.dom.minidom.parseString(drawing)
        ids = [e.getAttribute("id") for e in parsed.getElementsByTagName("*") if e.hasAttribute("id")]
        names += ids
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing)) <= set(ids)
    assert len(names) == len(set(names)) > 10


def test_figures_follow_the_ink_of_the_page_unless_on_paper():
    first, second = re.findall(r"<svg.*?</svg>", render(everything()), flags=re.DOTALL)
    assert "currentColor" in first and INK not in first
    assert INK in second


def test_the_same_report_gives_the_same_bytes():
    assert render(everything()) == render(everything())


def test_the_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(jinja2.UndefinedError):
        write_report(path, Report("title", [Section("one", [object()])]))
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["report.html"])
    assert write_report(path, Report("title")) == path
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert os.listdir(tmp_path) == ["report.html"]
    assert path.stat().st_mode & 0o444 == 0o444


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        write_report(tmp_path / "report.html", Report("title"))
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Create it first"):
        write_report(tmp_path / "absent" / "report.html", Report("title"))


def test_anchors():
    assert anchor("Best block (SNAP)") == "best-block-snap"
    assert anchor("±") == "section"
