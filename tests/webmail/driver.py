"""A browser as a person uses it: Chromium by WebDriver."""
import base64
import json
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 30
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def until(what, done):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            told = done()
        except (OSError, AssertionError):
            told = None
        if told:
            return told
        if time.monotonic() > end:
            sys.exit("never came: " + what)
        time.sleep(0.02)


class Browser:
    """`host` is where webmail is; every other host's name leads to its listener, so that no request goes unseen."""

    def __init__(self, host, width=1280, scripts=True, dark=False, height=844):
        self.at, self.site, self.width, self.scripts = host.driver, host.site, width, scripts
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
                     "--hide-scrollbars", "--disable-lcd-text", "--user-data-dir=" + tempfile.mkdtemp(dir=host.home),
                     "--window-size=%d,%d" % (width, height),
                     "--host-resolver-rules=MAP * 127.0.0.1:%d, EXCLUDE localhost" % host.far]
        options = {"args": arguments, "binary": shutil.which("chromium"),
                   "prefs": {"download.default_directory": host.home + "/saved", "download.prompt_for_download": False}}
        # The driver taps a phone by scripts of its own.
        is_phone = width < 500 and scripts
        if is_phone:
            options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1.0}}
        if not scripts:
            options["prefs"]["profile.managed_default_content_settings.javascript"] = 2
        wanted = {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"}}
        self.at += "/session/" + self.ask("POST", "", {"capabilities": {"alwaysMatch": wanted}}, "/session")["sessionId"]
        if dark:
            self.emulate([{"name": "prefers-color-scheme", "value": "dark"}])
        if not is_phone:
            self.resize(width, height)

    def ask(self, method, path, given=None, begins=""):
        data = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(self.at + begins + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:600]) from None

    def tool(self, command, given):
        """A command of the browser's own tools for developers."""
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": given})

    def resize(self, width, height=844):
        self.width = width
        self.tool("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def emulate(self, features, medium=""):
        self.tool("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    def close(self):
        self.ask("DELETE", "")

    def go(self, path):
        self.ask("POST", "/url", {"url": self.site + path if path.startswith("/") else path})
        self.look()

    def look(self):
        """What must be so of every page: it fits, and nothing in it broke its policy. (Nobody else's pictures come from the listener.)"""
        # The source of a message is text without any page around it: phones show it as wide as a desk.
        wide = self.run("return document.contentType == 'text/html' ? document.documentElement.scrollWidth : 0")
        assert wide <= self.width, "%s is %d wide, in %d" % (self.url(), wide, self.width)
        is_far = lambda line: line["source"] == "network" and not line["message"].startswith(self.site)
        told = [line for line in self.log() if line["level"] == "SEVERE" and "status of 403" not in line["message"] and not is_far(line)]
        assert not told, told

    def log(self):
        return self.ask("POST", "/se/log", {"type": "browser"})

    def url(self):
        return self.ask("GET", "/url")

    def run(self, script, *args):
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(args)})

    def text(self):
        return self.run("return document.body.innerText")

    def find(self, how, what):
        return until("%s in %s" % (what, self.url()), lambda: self.ask("POST", "/element", {"using": how, "value": what}))[ELEMENT]

    def click(self, what, how="css selector"):
        """Follows a link or sends a form: until the next page is there."""
        self.run("document.documentElement.id = 'old'")
        self.touch(how, what)
        until("a page after " + what, lambda: self.run("return document.documentElement.id != 'old' && document.readyState == 'complete'"))
        self.look()

    def touch(self, how, what):
        """Clicks. What the page itself has put in another's place meanwhile is looked for again."""
        until("a click on " + what, lambda: self.ask("POST", "/element/%s/click" % self.find(how, what), {}) is None)

    def tick(self, what):
        self.touch("css selector", what)

    def type(self, what, text):
        self.ask("POST", "/element/%s/value" % self.find("css selector", what), {"text": text})

    def fill(self, what, text):
        """Instead of what stands there."""
        self.ask("POST", "/element/%s/clear" % self.find("css selector", what), {})
        self.type(what, text)

    def value(self, what):
        return self.run("return document.querySelector(arguments[0]).value", what)

    def count(self, what):
        return self.run("return document.querySelectorAll(arguments[0]).length", what)

    def style(self, what, name):
        return self.run("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", what, name)

    def set(self, what, value):
        """What a person chooses by a picture of a calendar, or from a list."""
        self.run("document.querySelector(arguments[0]).value = arguments[1]", what, value)

    def back(self):
        # The page that comes may be the very one that was left.
        left = self.url()
        self.ask("POST", "/back", {})
        until("the page before " + left, lambda: self.url() != left and self.run("return document.readyState == 'complete'"))

    def enter(self, frame):
        self.ask("POST", "/frame", {"id": frame and {ELEMENT: self.find("css selector", frame)}})

    def shows(self, text):
        until("%r at %s" % (text, self.url()), lambda: text in self.text())

    def lacks(self, text):
        shown = self.text()
        assert text not in shown, "%r at %s" % (text, self.url())

    def link(self, text):
        self.click(text, "partial link text")

    def press(self, text):
        """A button by what stands on it."""
        self.click("//main//button[normalize-space()='%s']" % text, "xpath")

    def picture(self):
        """The window, as a PNG."""
        return base64.b64decode(self.ask("GET", "/screenshot"))

    def windows(self):
        return len(self.ask("GET", "/window/handles"))

    def log_in(self, user="alice", password="secret"):
        self.go("/login")
        self.type("input[name=name]", user)
        self.type("input[name=password]", password)
        self.click("button.first")
        assert self.url() == self.site + "/m/INBOX", self.url()

    def write(self, **fields):
        """Fills in the form for writing."""
        for name, text in fields.items():
            self.fill("textarea" if name == "text" else "input[name=%s]" % name, text)

    def open(self, subject, folder="INBOX"):
        """Opens the message of that subject, once it is there."""
        def is_there():
            self.go("/m/%s" % folder)
            return subject in self.text()

        until(subject + " in " + folder, is_there)
        self.click("//main//li//a[contains(., \"%s\")]" % subject, "xpath")
