"""Writes pictures of the pages to BUILD/screenshots: at 1280 and 390 pixels, light and dark. For
test_pages.py."""
import base64

from harness import BUILD

WIDTHS = (1280, 390)
THEMES = ("light", "dark")
PAGES = {
    "fleet": ("/", {}),
    "fleet-groups": ("/", {"group": "environment"}),
    "server": ("/servers/fra-1", {"range": "6h"}),
    "server-checks": ("/servers/ams-1", {}),
    "server-delivery": ("/servers/fra-1", {"range": "6h"}),
    "server-offline": ("/servers/nyc-2", {"range": "6h"}),
    "logs": ("/logs", {"q": "timeout OR refused"}),
    "logs-all": ("/logs", {}),
    "logs-columns": ("/logs", {"columns": "time,level,app,ctx.status,ctx.ms,message", "wrap": "no"}),
    "logs-none": ("/logs", {"q": "nothing-like-this"}),
    "help": ("/help", {}),
    "error": ("/servers/nobody", {}),
}
SCROLLED_TO = {"server-delivery": "h-agents", "server-offline": "h-agents"}


def take(browser, name, width, theme):
    """Open the page, write a picture of the first screen, return the file."""
    path, query = PAGES[name]
    browser.look(width, theme)
    browser.open(path, **query)
    browser.drawn()
    if name in SCROLLED_TO:
        browser.js("document.getElementById(arguments[0]).scrollIntoView(); scrollBy(0, -60)",
                   SCROLLED_TO[name])
    folder = BUILD / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{width}-{theme}.png"
    file.write_bytes(base64.b64decode(browser.cdp("Page.captureScreenshot", format="png")["data"]))
    return file
