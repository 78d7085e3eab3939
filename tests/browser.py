"""A real browser for tests of a page: Debian's chromium behind its own driver, by the W3C's WebDriver protocol."""

import base64
import json
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("chromium", "chromedriver")


def missing():
    """The programs that are not there."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Page:
    """A page in the browser.

    Attributes:
        downloads: the folder in which what it saves ends.
    """

    def __init__(self, address, downloads):
        self._address, self.downloads = address, downloads
        self.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def _post(self, path, **values):
        return _ask(f"{self._address}/{path}", values)

    def devtools(self, command, **values):
        return self._post("goog/cdp/execute", cmd=command, params=values)

    def look(self, width, height=900, *, dark=False, medium=""):
        """Sets the window's width and height in pixels, and what the page is told of its surroundings."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", media=medium, features=[scheme])

    def open(self, file, *, scripts=True):
        """Opens a file; everything in it has been loaded and painted when this returns."""
        self.devtools("Emulation.setScriptExecutionDisabled", value=not scripts)
        self._post("url", url=Path(file).absolute().as_uri())

    def run(self, script, *arguments):
        """What a script returns; ``await`` is allowed in it."""
        return self._post("execute/sync", script=f"return (async () => {{ {script} }})()", args=list(arguments))

    def move(self, x, y):
        """Moves the pointer to a place in the window."""
        step = {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0}
        self._post("actions", actions=[{"type": "pointer", "id": "mouse", "actions": [step]}])

    def complaints(self):
        """What the console has said since the last call."""
        return [entry["message"] for entry in self._post("se/log", type="browser")]

    def picture(self, file, *, whole=False):
        """Saves what is seen, or all of the page, as a PNG."""
        taken = self.devtools(
            "Page.captureScreenshot", captureBeyondViewport=whole, **({"clip": self._all()} if whole else {})
        )
        Path(file).write_bytes(base64.b64decode(taken["data"]))

    def _all(self):
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}


def _ask(address, values, method="POST"):
    request = urllib.request.Request(
        address, json.dumps(values).encode(), {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["value"]["message"]) from error


@contextmanager
def browser(folder):
    """A browser without a window, whose profile and downloads lie in a folder; it is ended with the block."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in driver.stdout if "was started successfully on port" in line)
        address = f"http://127.0.0.1:{line.split()[-1].rstrip('.')}/session"
        flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"]
        wanted = {
            "goog:chromeOptions": {"args": flags, "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = _ask(address, {"capabilities": {"alwaysMatch": wanted}})
        (folder / "downloads").mkdir()
        try:
            yield Page(f"{address}/{session['sessionId']}", folder / "downloads")
        finally:
            _ask(f"{address}/{session['sessionId']}", {}, method="DELETE")
    finally:
        driver.terminate()
        driver.wait()
