"""Rendering of a report as one html file without external resources.

All values of a run are escaped. The content security policy of the page allows only its own script
and the charting library, by their hashes, and only images that are embedded as data URLs.

Vega-Lite draws the charts. Its published builds lie in the folder vega, so that neither the writing
nor the opening of a page needs a network or another package.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vaelab.figures.draw.style import PALETTE, STAGE_COLOURS
from vaelab.report.numbers import (
    format_duration,
    format_number,
    format_rounded,
    format_with_error,
)
from vaelab.runtime.files import atomic_write
from vaelab.runtime.language import Translate

TEMPLATE_FOLDER = Path(__file__).parent / "page"
LIBRARY_FOLDER = Path(__file__).parent / "vega"
LIBRARY = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
REPORT_FILE = "report.html"


def render_page(folder: Path, template: str, translate: Translate, **values: Any) -> Path:
    """Write report.html of a folder, and return its path.

    Arguments:
        template: The name of a file in TEMPLATE_FOLDER.
        translate: The function `t` of the template.
        values: The variables of the template.
    """
    path = folder / REPORT_FILE
    text = _make_environment().get_template(template).render(t=translate, **values)
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


@cache
def _make_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (
        (TEMPLATE_FOLDER / name).read_text(encoding="utf-8") for name in ("page.js", "style.css")
    )
    library = read_library()
    environment.globals |= {
        "script": Markup(script),
        "library": Markup(library),
        "style": Markup(style.replace("/* palette */", _format_palette())),
        "digests": [compute_digest(library), compute_digest(script)],
    }
    environment.filters |= {
        "format_number": format_number,
        "format_rounded": format_rounded,
        "format_with_error": format_with_error,
        "format_duration": format_duration,
    }
    return environment


def read_library() -> str:
    """Return the scripts of Vega, Vega-Lite and Vega-Embed in the order of their dependencies."""
    return "\n".join((LIBRARY_FOLDER / name).read_text(encoding="utf-8") for name in LIBRARY)


def _format_palette() -> str:
    """Return the colours of the figures as variables of style.css."""
    colours = {f"c{number}": colour for number, colour in enumerate(PALETTE[:6], 1)}
    return " ".join(f"--{name}: {colour};" for name, colour in (colours | STAGE_COLOURS).items())


def compute_digest(script: str) -> str:
    """Return the digest of a script as in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
