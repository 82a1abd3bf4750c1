#!/usr/bin/env python3
"""Opens a report.html in headless Chromium, without network, and checks what a reader would see.

    tests/browser/check_report.py RUN/report.html [--traces 3] [--images 32]

The page must draw that many curves and show that many images (any number but 0 where it is not given), all of them
loaded, with an enlargement that keeps pixels sharp; it must report no error and ask for nothing outside of its file.
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

# What is on the page, as one JSON value.
LOOK = """JSON.stringify({
  traces: document.querySelectorAll('.scatterlayer .trace').length,
  points: [...document.querySelectorAll('.scatterlayer .trace')].map((t) => t.querySelectorAll('.points path').length),
  lines: [...document.querySelectorAll('.scatterlayer .trace')].map((t) => t.querySelectorAll('.lines path').length),
  names: [...document.querySelectorAll('.legendtext')].map((text) => text.textContent),
  images: [...document.querySelectorAll('.images img')].map((image) => ({
    width: image.naturalWidth, sharp: getComputedStyle(image).imageRendering })),
  titles: [...document.querySelectorAll('.images li')].map((tile) => tile.innerText),
  wide: document.documentElement.scrollWidth > innerWidth,
})"""


class Browser:
    """Chromium, spoken to through a pair of pipes in the DevTools protocol."""

    def __init__(self, program, profile):
        to_browser, self.requests = os.pipe()
        self.answers, from_browser = os.pipe()
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
            ready, _, _ = select.select([self.answers], [], [], max(0, until - time.monotonic()))
            if not ready:
                return None
            piece = os.read(self.answers, 1 << 16)
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
            answer = self.read(LIMIT_SECONDS)
            if answer and answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if answer:
                self.events.append(answer)
        raise RuntimeError(f"{method}: no answer in {LIMIT_SECONDS} s")

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


def look(program, page, traces):
    """What the page shows once its curves are drawn, and the events that came up to then."""
    # The browser may still write to its profile while it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            target = browser.call("Target.createTarget", url="about:blank")["targetId"]
            attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
            browser.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                browser.call(f"{domain}.enable")
            browser.call("Page.navigate", url=page)
            for _ in range(40):
                browser.wait(0.5)
                seen = json.loads(browser.call("Runtime.evaluate", expression=LOOK)["result"]["value"])
                if seen["traces"] >= traces and all(image["width"] for image in seen["images"]):
                    break
            # Whatever the page asks for later than that.
            browser.wait(1)
            return seen, browser.events
        finally:
            browser.close()


def faults(page, seen, events, traces, images):
    """Every way in which the page is not as it should be."""
    if seen["traces"] != traces:
        yield f"{seen['traces']} traces, expected {traces}: {seen['names']}"
    if not all(seen["points"]) or not all(seen["lines"]):
        yield f"a trace lacks its markers {seen['points']} or its line {seen['lines']}"
    count = len(seen["images"])
    if count != images if images is not None else count == 0:
        yield f"{count} images, expected {'some' if images is None else images}"
    broken = sum(image["width"] == 0 for image in seen["images"])
    if broken:
        yield f"{broken} images did not load"
    if any(image["sharp"] != "pixelated" for image in seen["images"]):
        yield "images are smoothed"
    for title in seen["titles"]:
        if "true: " not in title or "pre: " not in title:
            yield f"an image's title is {title!r}"
    if seen["wide"]:
        yield "the page is wider than its window"
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
    parser.add_argument("--traces", type=int, default=3)
    parser.add_argument("--images", type=int)
    arguments = parser.parse_args()
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program or not arguments.report.is_file():
        print(f"check_report: {'no such file: ' + str(arguments.report) if program else 'no Chromium found'}")
        return 2
    page = arguments.report.resolve().as_uri()
    try:
        seen, events = look(program, page, arguments.traces)
    except RuntimeError as error:
        print(f"check_report: {error}")
        return 2
    found = list(faults(page, seen, events, arguments.traces, arguments.images))
    for fault in found:
        print(f"check_report: {fault}")
    if not found:
        print(f"check_report: {', '.join(seen['names'])}; {len(seen['images'])} images; no error, no request")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
