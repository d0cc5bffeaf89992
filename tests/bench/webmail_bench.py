#!/usr/bin/env python3
"""Webmail's figures: what pages weigh, in how many requests, and how soon they are there; 10,000 messages.

    webmail_bench.py BIN [--messages N]

Weights and the login are Chromium's (tests/webmail), times those of a client on a kept connection by TLS. Prints a table.
"""
import argparse
import gzip
import http.client
import os
import random
import re
import ssl
import statistics
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "webmail"))
from driver import until  # noqa: E402
from host import Host  # noqa: E402
from letters import in_mbox, plain, with_both, with_files  # noqa: E402

WORDS = "harbour pier tide boat minutes invoice friday lunch office december tables weather north south anchor rope".split()


def filled(messages):
    """A mailbox as a delivery program would leave it."""
    rng = random.Random(7)
    for number in range(messages):
        subject, text = " ".join(rng.choices(WORDS, k=5)), "\n".join(" ".join(rng.choices(WORDS, k=12)) for _ in range(20)) + "\n"
        make = [plain, plain, plain, with_both, with_files][number % 5]
        yield in_mbox(make(subject, text) if make is plain else make(subject), time.time() - 60 * (messages - number))


class Client:
    def __init__(self, host):
        self.line = http.client.HTTPSConnection("localhost", host.https, context=ssl._create_unverified_context(), timeout=60)
        self.line.connect()
        body = urllib.parse.urlencode({"name": "alice", "password": "secret"})
        self.line.request("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self.line.getresponse()
        answer.read()
        self.fields = {"Cookie": answer.getheader("Set-Cookie").split(";")[0], "Accept-Encoding": "gzip"}

    def get(self, path):
        """The body as it came, and the seconds to its first byte and to its last."""
        begun = time.monotonic()
        self.line.request("GET", path, headers=self.fields)
        answer = self.line.getresponse()
        first = time.monotonic() - begun
        body = answer.read()
        assert answer.status == 200, (path, answer.status)
        return body, first, time.monotonic() - begun


def requests(host):
    with open(host.home + "/log", errors="replace") as log:
        return len(re.findall(r" http request method=Get ", log.read()))


def weighed(host, browser, go):
    """Requests of a step, and the bytes of their answers."""
    before = requests(host)
    go()
    until("the page", lambda: browser.run("return document.readyState") == "complete")
    time.sleep(1)  # For what a browser asks for when all is there: an icon.
    count = requests(host) - before  # What is asked for below is ours.
    sizes = browser.run("return performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource')).map(e => e.transferSize)")
    icon = browser.run("const icon = document.querySelector('link[rel=icon]'); return icon ? fetch(icon.href, {cache: 'force-cache'}).then(a => a.arrayBuffer()).then(a => a.byteLength) : 0")
    return count, sum(sizes) + icon


def log_in(host):
    """Milliseconds from the press of the button to the list, whole."""
    browser = host.browser()
    try:
        browser.go("/login")
        browser.type("input[name=name]", "alice")
        browser.type("input[name=password]", "secret")
        browser.click("button.first")
        return browser.run("return performance.getEntriesByType('navigation')[0].duration")
    finally:
        browser.close()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("programs")
    options.add_argument("--messages", type=int, default=10_000)
    options = options.parse_args()
    rows = []

    def row(what, got, goal):
        rows.append("| %s | %s | %s |" % (what, got, goal))

    with Host(options.programs, b"".join(filled(options.messages))) as host:
        client = Client(host)
        until("the index", lambda: b"of %d" % options.messages in gzip.decompress(client.get("/m/INBOX")[0]))
        browser = host.browser()
        try:
            count, weight = weighed(host, browser, lambda: browser.go("/"))
            row("login page, new browser", "%.1f KiB in %d" % (weight / 1024, count), "15 KiB in 3")
            browser.type("input[name=name]", "alice")
            browser.type("input[name=password]", "secret")
            count, weight = weighed(host, browser, lambda: browser.click("button.first"))
            row("first list", "%.1f KiB in %d" % (weight / 1024, count), "60 KiB in 5")
            for path, goal in browser.run("return [...document.querySelectorAll('link[rel=stylesheet]')].map(l => [l.getAttribute('href'), '12 KiB'])"
                                          ".concat([...document.scripts].map(s => [s.getAttribute('src'), '15 KiB']))"):
                row(re.sub("-[0-9a-f]+", "", path), "%.1f KiB" % (len(client.get(path)[0]) / 1024), goal)
        finally:
            browser.close()
        row("next list", "%.1f KiB" % (len(client.get("/m/INBOX?p=2")[0]) / 1024), "20 KiB")
        lists = [client.get("/m/INBOX?p=%d" % (1 + turn % 100))[1] * 1000 for turn in range(300)]
        row("list, first byte, median", "%.1f ms" % statistics.median(lists), "20 ms")
        row("the same, p95", "%.1f ms" % sorted(lists)[int(len(lists) * .95)], "100 ms")
        names = re.findall(rb'href="(/m/INBOX/[^"]+)"', b"".join(gzip.decompress(client.get("/m/INBOX?p=%d" % page)[0]) for page in range(1, 5)))
        opened = [client.get(name.decode().replace("&amp;", "&"))[2] * 1000 for name in names]
        row("message, first opening, median of %d" % len(opened), "%.1f ms" % statistics.median(opened), "50 ms")
        found = [client.get("/m/INBOX?q=" + query)[1] * 1000 for query in ["from:bob", "subject:harbour+is:unread", "anchor"]]
        row("search: from, subject and flag, text", ", ".join("%.0f ms" % took for took in found), "")
        row("login to list, median of 5", "%.0f ms" % statistics.median(log_in(host) for _ in range(5)), "300 ms")
    print("| figure | here | goal |\n| --- | --- | --- |\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
