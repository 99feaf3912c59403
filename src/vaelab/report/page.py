"""From values to one html file that asks for nothing else.

Everything that comes from a run is escaped, and the page's own policy lets no script run but its
own, whose hash it names, and no picture come from elsewhere.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vaelab.report.numbers import duration, format_number, rounded, with_error
from vaelab.runtime.files import atomic_write

FILES = Path(__file__).parent / "page"
NAME = "report.html"


def render_page(folder: Path, template: str, **values: Any) -> Path:
    """Write the page of a folder; where it is."""
    path = folder / NAME
    text = _environment().get_template(template).render(**values)
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (FILES / "page.js").read_text(encoding="utf-8")
    style = (FILES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "style": Markup(style), "digest": digest}
    environment.filters |= {
        "tell": format_number,
        "rounded": rounded,
        "with_error": with_error,
        "duration": duration,
    }
    return environment
