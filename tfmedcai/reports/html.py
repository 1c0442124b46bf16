"""Writes a report as one HTML file that needs nothing else: no network, no server, no other file."""

import base64
import io
import os
import re
import tempfile
from importlib import resources
from pathlib import Path

import jinja2
import matplotlib
from markupsafe import Markup
from PIL import Image

from tfmedcai.reports.document import Picture, Report, Stack, cell_text
from tfmedcai.reports.style import INK

BITMAP_DPI = 130
STACK_QUALITY = 82  # of WebP, which takes a tenth of PNG: a stack has many pictures
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def write_report(path: str | os.PathLike, report: Report) -> Path:
    """Writes `report` to `path`; the file appears whole or not at all.

    Args:
        path: the HTML file; its folder must exist.
        report: what to write.

    Returns:
        The path of the file.

    Raises:
        FileNotFoundError: if the folder of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"`path` must lie in an existing folder. Received {str(path)!r}; "
            f"there is no folder {str(path.parent)!r}. Create it first."
        )
    text = render(report)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(beside, 0o644)  # mkstemp lets only the owner read
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    return path


def render(report: Report) -> str:
    """Returns the HTML text of `report`; all its texts are escaped.

    >>> "<b>" in render(Report("a <b> title"))
    False
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cell"] = cell_text
    environment.filters["drawn"] = _Drawer()
    environment.filters["anchor"] = anchor
    template = (resources.files("tfmedcai.reports") / "report.html.jinja").read_text("utf-8")
    return environment.from_string(template).render(report=report)


def anchor(title: str) -> str:
    """Returns a heading as the name of a place in the page.

    >>> anchor("Best block (SNAP)")
    'best-block-snap'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


class _Drawer:
    """Turns pictures into markup; counts them, so that no two SVGs in a page share the names of their parts."""

    def __init__(self):
        self.count = 0

    def __call__(self, picture: Picture | Stack) -> Markup:
        if isinstance(picture, Stack):
            return _stack(picture)
        self.count += 1
        if picture.bitmap:
            return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(_png(picture), picture.alt)
        return _svg(picture, f"f{self.count}-")


def _stack(stack: Stack) -> Markup:
    images = []
    for number, (image, label) in enumerate(zip(stack.images, stack.labels, strict=True)):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="WEBP", quality=STACK_QUALITY)
        data, (height, width, _) = base64.b64encode(stream.getvalue()).decode("ascii"), image.shape
        element = Markup('<img src="data:image/webp;base64,{}" alt="{}" width="{}" height="{}" data-label="{}"{}>')
        hidden = Markup("" if number == stack.start else " hidden")
        images.append(element.format(data, f"{stack.alt} {label}", width, height, label, hidden))
    return Markup("").join(images)


def _png(picture: Picture) -> str:
    stream = io.BytesIO()
    picture.figure.savefig(stream, format="png", dpi=BITMAP_DPI, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _svg(picture: Picture, prefix: str) -> Markup:
    stream = io.StringIO()
    tight = {"bbox_inches": "tight"} if picture.paper else {}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfmedcai"}):
        picture.figure.savefig(stream, format="svg", metadata=NO_METADATA, transparent=True, **tight)
    text = stream.getvalue()
    text = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{prefix}", text)
    if not picture.paper:
        text = text.replace(INK, "currentColor")
    head = Markup('<svg role="img" aria-label="{}" ').format(picture.alt)
    return head + Markup(text.removeprefix("<svg "))
