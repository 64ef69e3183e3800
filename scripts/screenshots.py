"""Takes a picture of every page of the dashboard at both widths and in both themes, of a demonstration that is served.

asahi demo --serve
.venv/bin/python scripts/screenshots.py http://127.0.0.1:8000 "$(cat data/demo/admin.key)" /tmp/pictures [page …]
"""

import sys
from pathlib import Path

from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.browsing import BEHIND, browsing, log_in

WIDTHS = (1440, 360)
#: Pages that show more after a query or a click.
FURTHER = tuple(
    f"{page}/?tab={tab}"
    for page, tabs in {
        "alerts": ("all", "recommendations", "rules"),
        "settings": ("cache", "routing", "keys", "sessions"),
    }.items()
    for tab in tabs
)


def shoot(page: Page, path: str, folder: Path) -> None:
    """One page, whole, four times."""
    page.goto(f"/{path}" if path.endswith("/") or "?" in path or not path else f"/{path}/")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_load_state("networkidle")
    name = path.strip("/").replace("/", "-").replace("?", "-").replace("=", "-") or "landing"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", theme == "dark")
            page.wait_for_timeout(400)
            page.screenshot(path=folder / f"{name}-{width}-{theme}.png", full_page=True)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def main(url: str, key: str, folder: str, *wanted: str) -> None:
    """All pages, or those that are named."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with browsing() as browser:
        context = browser.new_context(
            base_url=url, viewport={"width": WIDTHS[0], "height": 900}, reduced_motion="reduce"
        )
        page = context.new_page()
        if not wanted or "login" in wanted or "" in wanted:
            for path in ("", "login"):
                shoot(page, path, Path(folder))
        log_in(page, key)
        page.wait_for_url("**/dashboard/**")
        for path in [each for each in wanted if each not in {"", "login"}] or (*BEHIND, *FURTHER):
            query = "&" if "?" in path else "/?"
            ranged = (
                path if path in {"inference", "models"} or path.startswith("settings") else f"{path}{query}range=30d"
            )
            shoot(page, ranged, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
