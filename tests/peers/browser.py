#!/usr/bin/env python3
"""Webmail in a real browser, by WebDriver (Chromium and its driver), over HTTPS.

    browser.py BIN

A daemon of its own with users alice and bob, on free ports. Each tour is made in a wide window, in a narrow one, and without
JavaScript: log in, read, write with a file, answer, search, delete, undo, log out. Nothing may scroll sideways, no page may
break its own policy, and a hostile message must do nothing.
"""
import json
import os
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PATIENCE = 60
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
HOSTILE = """<html><head><style>body{display:none}</style><meta http-equiv=refresh content="0;url=https://127.0.0.1:%d/evil"></head>
<body onload="top.pwned=1"><script>top.pwned=1</script><img src=x onerror="top.pwned=1"><svg onload="top.pwned=1"></svg>
<iframe srcdoc="<script>top.pwned=1</script>"></iframe><form action="/logout" method=post><button>win</button></form>
<img src="https://127.0.0.1:%d/evil.png"><p style="background:#123 url(https://127.0.0.1:%d/evil.png);color:#fff">the words</p>
<table width=600><tr><td>wide</td></tr></table><a href="javascript:top.pwned=1">here</a></body></html>"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


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
        time.sleep(0.05)


class Browser:
    def __init__(self, driver, width, scripts, home):
        self.at, self.width = driver, width
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
                     "--hide-scrollbars", "--user-data-dir=" + tempfile.mkdtemp(dir=home), "--window-size=%d,844" % width]
        options = {"args": arguments, "binary": shutil.which("chromium")}
        if width < 500:
            options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": 844, "pixelRatio": 1.0}}
        if not scripts:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        wanted = {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"}}
        self.at += "/session/" + self.ask("POST", "", {"capabilities": {"alwaysMatch": wanted}}, "/session")["sessionId"]

    def ask(self, method, path, given=None, begins=""):
        data = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(self.at + begins + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:600]) from None

    def go(self, url):
        self.ask("POST", "/url", {"url": url})
        self.look()

    def look(self):
        """What must be so of every page."""
        wide = self.run("return document.documentElement.scrollWidth")
        assert wide <= self.width, "%s is %d wide, in %d" % (self.url(), wide, self.width)
        told = [line for line in self.ask("POST", "/se/log", {"type": "browser"})
                if line["level"] == "SEVERE" and "status of 403" not in line["message"]]
        assert not told, told

    def url(self):
        return self.ask("GET", "/url")

    def run(self, script):
        return self.ask("POST", "/execute/sync", {"script": script, "args": []})

    def text(self):
        return self.run("return document.body.innerText")

    def find(self, how, what):
        return until("%s in %s" % (what, self.url()), lambda: self.ask("POST", "/element", {"using": how, "value": what}))[ELEMENT]

    def click(self, what, how="css selector"):
        """Follows a link or sends a form: until the next page is there."""
        self.run("document.documentElement.id = 'old'")
        self.ask("POST", "/element/%s/click" % self.find(how, what), {})
        until("a page after " + what, lambda: self.run("return document.documentElement.id != 'old' && document.readyState == 'complete'"))
        self.look()

    def tick(self, what):
        self.ask("POST", "/element/%s/click" % self.find("css selector", what), {})

    def type(self, what, text):
        self.ask("POST", "/element/%s/value" % self.find("css selector", what), {"text": text})

    def enter(self, frame):
        self.ask("POST", "/frame", {"id": frame and {ELEMENT: self.find("css selector", frame)}})

    def shows(self, text):
        until("%r at %s" % (text, self.url()), lambda: text in self.text())

    def link(self, text):
        self.click(text, "partial link text")


def tour(browser, site, serial, evil):
    browser.go(site + "/")
    browser.type("input[name=name]", "alice")
    browser.type("input[name=password]", "wrong")
    browser.click("button.first")
    browser.shows("Name or password are wrong.")
    browser.type("input[name=password]", "secret")
    browser.click("button.first")
    assert browser.url() == site + "/m/INBOX", browser.url()
    # A hostile message shows its words, and does nothing.
    browser.link("hostile")
    browser.enter("iframe")
    browser.shows("the words")
    assert browser.run("return getComputedStyle(document.querySelector('p')).backgroundColor") == "rgb(17, 34, 51)"
    assert not browser.run("return document.querySelectorAll('script,svg,iframe,form,meta[http-equiv=refresh]').length")
    browser.enter(None)
    assert browser.run("return typeof window.pwned") == "undefined"
    browser.look()
    # To oneself, with a file.
    subject = "harbour %d, größer" % serial
    browser.go(site + "/compose")
    browser.type("input[name=to]", "alice@here.test")
    browser.type("input[name=subject]", subject)
    browser.type("textarea", "tide and time")
    path = os.path.join(tempfile.gettempdir(), "tide tables %d.txt" % os.getpid())
    with open(path, "w") as file:
        file.write("high water")
    browser.type("input[name=file]", path)
    browser.click("button[value=attach]")
    browser.shows(os.path.basename(path))
    os.remove(path)
    browser.click("button[value=send]")

    def arrived():
        browser.go(site + "/m/INBOX")
        return subject in browser.text()

    until(subject, arrived)
    browser.go(site + "/m/Sent")
    browser.shows(subject)
    # An answer, as far as a draft.
    browser.go(site + "/m/INBOX?q=subject:%d" % serial)
    browser.link(subject)
    browser.shows(os.path.basename(path))
    browser.link("Reply")
    assert browser.run("return document.querySelector('input[name=to]').value").endswith("alice@here.test>") or \
        "alice@here.test" in browser.run("return document.querySelector('input[name=to]').value")
    assert browser.run("return document.querySelector('input[name=subject]').value") == "Re: " + subject
    assert "> tide and time" in browser.run("return document.querySelector('textarea').value")
    browser.click("button[value=save]")
    browser.go(site + "/m/Drafts")
    browser.shows("Re: " + subject)
    # Deleted, and taken back.
    browser.go(site + "/m/INBOX?q=subject:%d" % serial)
    browser.tick("input[name=m]")
    browser.click("button[value=delete]")
    browser.go(site + "/m/INBOX")
    assert subject not in browser.text()
    browser.go(site + "/m/Trash")
    browser.shows(subject)
    browser.tick("input[name=m]")
    browser.click("button[value=archive]")
    browser.shows("Undo")
    browser.click("//button[text()='Undo']", "xpath")
    browser.go(site + "/m/Trash")
    browser.shows(subject)
    browser.go(site + "/setup")
    browser.go(site + "/m/INBOX")
    browser.tick("details.menu summary")
    browser.click("//button[text()='Log out']", "xpath")
    browser.go(site + "/m/INBOX")
    assert browser.url().startswith(site + "/login"), browser.url()
    assert not evil(), "something was asked for: %s" % evil()


def main():
    top = sys.argv[1]
    home = tempfile.mkdtemp(prefix="pillarbox-browser.")
    smtp, https, control, far = (free_port() for _ in range(4))
    config = home + "/pillarbox.conf"
    with open(config, "w") as out:
        out.write('hostname = "localhost"\ndomains = ["here.test"]\nusers = ["users"]\nuser = ""\nspool = "spool"\nmail = "mail"\n'
                  'aliases = ""\npid_file = "pid"\n[[listen]]\naddress = "127.0.0.1:%d"\nprotocol = "smtp"\n'
                  '[[listen]]\naddress = "127.0.0.1:%d"\nprotocol = "http"\n[log]\nto = "stderr"\n' % (smtp, https))
    ours, failed = [], 1
    heard = socket.create_server(("127.0.0.1", far))
    heard.setblocking(False)

    def evil():
        try:
            return heard.accept()
        except BlockingIOError:
            return None

    try:
        subprocess.run([top + "/pillarboxctl", "-f", config, "user", "add", "alice"], input=b"secret\n", check=True)
        with open(home + "/log", "w") as log:
            ours.append(subprocess.Popen([top + "/pillarbox", "-d", "-f", config], stderr=log))
            ours.append(subprocess.Popen([shutil.which("chromedriver"), "--port=%d" % control], stdout=log, stderr=log))

        def send():
            with smtplib.SMTP("127.0.0.1", smtp, local_hostname="client.test", timeout=PATIENCE) as talk:
                html = (HOSTILE % (far, far, far)).replace("\n", "\r\n")
                talk.sendmail("x@far.test", ["alice@here.test"], "From: x@far.test\r\nTo: alice@here.test\r\nSubject: hostile\r\n"
                              "MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n" + html)
            return True

        until("the daemon", send)
        driver = "http://127.0.0.1:%d" % control
        until("the driver", lambda: urllib.request.urlopen(driver + "/status", timeout=5))
        for serial, (width, scripts) in enumerate([(1280, True), (390, True), (1280, False)], 1001):
            browser = Browser(driver, width, scripts, home)
            try:
                tour(browser, "https://localhost:%d" % https, serial, evil)
            finally:
                browser.ask("DELETE", "")
            print("  %d wide, %s scripts: done" % (width, "with" if scripts else "without"))
        failed = 0
    finally:
        for process in reversed(ours):
            process.terminate()
            process.wait()
        if failed:
            with open(home + "/log", errors="replace") as log:
                print("".join(log.readlines()[-15:]))
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
