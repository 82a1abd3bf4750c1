#!/usr/bin/env python3
"""Opens a report.html in headless Chromium, without network, and checks what a reader would see.

    tests/browser/check_report.py RUN/report.html --panel loss=train,test --panel accuracy=train,test [--images 24]

The page must have these panels, each with these curves, drawn in their colors and named in its legend, and show that
many predictions (any number but 0 where it is not given), with an enlargement that keeps pixels sharp, and all of its
images loaded. It must report no error, ask for nothing outside of its file, and be no wider than its window, on a screen
and on a phone.
The exit status is 1 where it does not, 2 where the check itself cannot run. Needs Chromium and Python, no packages.
"""

import argparse
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

LIMIT_SECONDS = 60

# What is on the page, as one JSON value. A curve's color is that of the mark before its name; `ink` counts the pixels of
# the chart that have it.
LOOK = """JSON.stringify({
  panels: [...document.querySelectorAll('#curves > div')].map((panel) => {
    const canvas = panel.querySelector('canvas');
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return {
      metric: panel.querySelector('h3').textContent,
      curves: [...panel.querySelectorAll('.u-label span')].map((name) => {
        const [red, green, blue] = getComputedStyle(name, '::before').color.match(/\\d+/g).map(Number);
        let ink = 0;
        for (let at = 0; at < pixels.length; at += 4)
          ink += pixels[at] === red && pixels[at + 1] === green && pixels[at + 2] === blue && pixels[at + 3] === 255;
        return { split: name.textContent, ink };
      }),
    };
  }),
  images: [...document.querySelectorAll('.images:not(.mistakes) img')].map((image) => ({
    width: image.naturalWidth, sharp: getComputedStyle(image).imageRendering })),
  titles: [...document.querySelectorAll('.images:not(.mistakes) li')].map((tile) => tile.innerText),
  broken: [...document.images].filter((image) => !image.naturalWidth).length,
  wide: document.documentElement.scrollWidth > innerWidth,
})"""

# Widths of the windows in which the page is opened, in CSS pixels.
WIDTHS = {"a screen": 1200, "a phone": 390}


class Browser:
    """Chromium, spoken to through a pair of pipes in the DevTools protocol."""

    def __init__(self, program, profile):
        to_browser, self.requests = os.pipe()
        self.replies, from_browser = os.pipe()
        arguments = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-default-apps", "--window-size=1200,1600",
            "--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
            "--remote-debugging-pipe", "about:blank",
        ]
        # Chromium reads from 3 and writes to 4.
        shell = ["sh", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "sh", *arguments]
        self.process = subprocess.Popen(
            shell, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.last, self.events, self.session = b"", 0, [], None
        self.deadline = time.monotonic() + LIMIT_SECONDS

    def read(self, seconds):
        """The next message, or None where there is none for a while."""
        until = min(self.deadline, time.monotonic() + seconds)
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.replies], [], [], max(0, until - time.monotonic()))
            if not ready:
                return None
            piece = os.read(self.replies, 1 << 16)
            if not piece:
                raise RuntimeError("the browser has ended")
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        """Sends a command and waits for its result; events on the way are kept."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.requests, json.dumps(message).encode() + b"\0")
        while time.monotonic() < self.deadline:
            reply = self.read(LIMIT_SECONDS)
            if reply and reply.get("id") == self.last:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']['message']}")
                return reply["result"]
            if reply:
                self.events.append(reply)
        raise RuntimeError(f"{method}: no reply in {LIMIT_SECONDS} s")

    def wait(self, seconds):
        """Collects events for a while."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            event = self.read(left)
            if event:
                self.events.append(event)

    def close(self):
        self.process.terminate()
        self.process.wait(10)


def look(program, page, panels):
    """What the page shows once its curves are drawn, for each width of the window, and the events that came up to then."""
    # The browser may still write to its profile while it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            target = browser.call("Target.createTarget", url="about:blank")["targetId"]
            attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
            browser.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                browser.call(f"{domain}.enable")
            seen = {}
            for name, width in WIDTHS.items():
                browser.call("Emulation.setDeviceMetricsOverride", width=width, height=1600, deviceScaleFactor=2,
                             mobile=width < 600)
                browser.call("Page.navigate", url=page)
                for _ in range(40):
                    browser.wait(0.25)
                    result = browser.call("Runtime.evaluate", expression=LOOK)["result"]
                    seen[name] = json.loads(result["value"]) if "value" in result else None
                    if seen[name] and len(seen[name]["panels"]) >= panels and not unfinished(seen[name]):
                        break
                if seen[name] is None:
                    raise RuntimeError(f"the page cannot be read: {result.get('description', result)}")
            # Whatever the page asks for later than that.
            browser.wait(1)
            return seen, browser.events
        finally:
            browser.close()


def unfinished(seen):
    """Whether an image is not loaded yet or a curve not drawn."""
    drawn = all(curve["ink"] for panel in seen["panels"] for curve in panel["curves"])
    return not drawn or seen["broken"]


def faults_of_page(seen, panels, images):
    """Every way in which the page does not show what it should."""
    found = {panel["metric"]: [curve["split"] for curve in panel["curves"]] for panel in seen["panels"]}
    if found != panels:
        yield f"the panels are {found}, expected {panels}"
    for panel in seen["panels"]:
        for curve in panel["curves"]:
            if curve["ink"] < 20:
                yield f"{panel['metric']}: the curve of {curve['split']} has {curve['ink']} pixels"
    count = len(seen["images"])
    if count != images if images is not None else count == 0:
        yield f"{count} images, expected {'some' if images is None else images}"
    if seen["broken"]:
        yield f"{seen['broken']} images did not load"
    if any(image["sharp"] != "pixelated" for image in seen["images"]):
        yield "images are smoothed"
    for title in seen["titles"]:
        if "true: " not in title or "pred: " not in title:
            yield f"an image's title is {title!r}"
    if seen["wide"]:
        yield "the page is wider than its window"


def faults_of_events(page, events):
    """Every error and every request."""
    for event in events:
        what = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                details = what["exceptionDetails"]
                yield f"exception: {details.get('exception', {}).get('description', details['text'])}"
            case "Runtime.consoleAPICalled" if what["type"] in ("error", "assert"):
                yield f"console error: {[value.get('value', value.get('description')) for value in what['args']]}"
            case "Log.entryAdded" if what["entry"]["level"] == "error":
                yield f"error: {what['entry']['text']}"
            case "Network.requestWillBeSent":
                url = what["request"]["url"]
                if url != page and not url.startswith(("data:", "blob:")):
                    yield f"request: {url}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--panel", action="append", default=[], metavar="METRIC=SPLITS",
                        help="a metric and the curves of its panel, such as loss=train,test")
    parser.add_argument("--images", type=int, help="the number of images")
    arguments = parser.parse_args()
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program or not arguments.report.is_file():
        print(f"check_report: {'no such file: ' + str(arguments.report) if program else 'no Chromium found'}")
        return 2
    page = arguments.report.resolve().as_uri()
    panels = {metric: splits.split(",") for metric, splits in (panel.split("=") for panel in arguments.panel)}
    try:
        seen, events = look(program, page, len(panels))
    except RuntimeError as error:
        print(f"check_report: {error}")
        return 2
    found = [f"on {name}: {fault}" for name in seen for fault in faults_of_page(seen[name], panels, arguments.images)]
    found += faults_of_events(page, events)
    for fault in found:
        print(f"check_report: {fault}")
    if not found:
        print(f"check_report: {', '.join(panels)}; {len(seen['a screen']['images'])} images; no error, no request")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
