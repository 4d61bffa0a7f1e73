"""Pages as a browser lays them out, in headless Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_HARNESS = """<!doctype html><title>widths</title><body><pre id="found"></pre><script>
const pages = %s, screens = %s, found = [];
async function measure() {
  for (const screen of screens) for (const page of pages) {
    const frame = document.createElement("iframe");
    frame.style = `width: ${screen}px; height: 800px; border: 0`;
    const loaded = new Promise(done => frame.onload = done);
    frame.src = page;
    document.body.append(frame);
    await loaded;
    found.push([page, screen, frame.contentDocument.documentElement.scrollWidth]);
    frame.remove();
  }
  document.getElementById("found").textContent = JSON.stringify(found);
}
measure();
</script>"""


def chromium() -> str:
    """The program; the test is skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("needs Chromium, to lay pages out: on Debian apt install chromium")


def widths(folder: Path, screens: Sequence[int], scratch: Path) -> dict[tuple[str, int], int]:
    """How wide every page of a folder becomes on screens of so many pixels: (page, screen) -> pixels.

    Args:
        scratch: an empty folder for the browser.
    """
    program = chromium()
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    harness = folder / "widths.htm"
    harness.write_text(_HARNESS % (json.dumps(pages), json.dumps(list(screens))), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    options += [f"--user-data-dir={scratch / 'profile'}", "--virtual-time-budget=3600000", "--dump-dom"]
    try:
        done = subprocess.run(
            [program, *options, harness.as_uri()], capture_output=True, text=True, timeout=600, check=True
        )
    finally:
        harness.unlink()
    match = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert match, f"the browser measured nothing: {done.stderr[-2000:]}"
    return {(page, screen): wide for page, screen, wide in json.loads(html.unescape(match[1]))}
