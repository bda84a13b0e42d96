"""Templates to answers that allow no script or style from other hosts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # without one, browsers send forms from Origin null
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
}
_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, values: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:  # Any: what it shows
    """Return the page that a template renders from some values."""
    return HTMLResponse(_templates.get_template(template).render(values), status_code=status, headers=HEADERS)
