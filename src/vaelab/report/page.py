"""Rendering of a report as one html file without external resources.

All values of a run are escaped. The content security policy of the page allows only its own script,
by its hash, and only images that are embedded as data URLs.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vaelab.report.numbers import (
    format_duration,
    format_number,
    format_rounded,
    format_with_error,
)
from vaelab.runtime.files import atomic_write

TEMPLATE_FOLDER = Path(__file__).parent / "page"
REPORT_FILE = "report.html"


def render_page(folder: Path, template: str, **values: Any) -> Path:
    """Write report.html of a folder, and return its path.

    Arguments:
        template: The name of a file in TEMPLATE_FOLDER.
        values: The variables of the template.
    """
    path = folder / REPORT_FILE
    text = _make_environment().get_template(template).render(**values)
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
    script = (TEMPLATE_FOLDER / "page.js").read_text(encoding="utf-8")
    style = (TEMPLATE_FOLDER / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "style": Markup(style), "digest": digest}
    environment.filters |= {
        "format_number": format_number,
        "format_rounded": format_rounded,
        "format_with_error": format_with_error,
        "format_duration": format_duration,
    }
    return environment
