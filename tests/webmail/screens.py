#!/usr/bin/env python3
"""Pictures of the pages, to be looked at by a person.

    screens.py BIN [DIRECTORY]      (tests/webmail/screens)

Login, list, message (plain and formatted), compose and settings; 1280 by 800 and 390 by 844; light and dark.
"""
import os
import sys
import time

import png
from driver import until
from host import Host
from letters import NEWSLETTER, PDF, html, in_mbox, letter, wire

SUBJECTS = ["Minutes of the harbour meeting", "Re: Minutes of the harbour meeting", "Invoice 2026-117", "Grüße aus Kiel",
            "Your parcel has left the depot", "Photos from Sunday", "Re: Dinner on Friday?", "Weekly report", "[pillars] Release 0.1",
            "Keys of the boat house", "A rather long subject line that goes on and on so that we see what becomes of it at the right side"]
SENDERS = ["Bob Baker <bob@far.test>", "Carla Ems <carla@ems.test>", "Zoë <zoe@x.test>", "no-reply@parcels.test",
           "The Harbour Office <office@harbour.test>"]
TEXT = """Dear Alice,

the tide tables for December are in the annex, see https://harbour.test/tides.
Please tell me by Friday whether the boat is free.

> On Monday you wrote:
> Can we have the tables?
> We want to leave on Friday,
> if the weather is with us.

Yours,
Bob
"""
DAY = 86400


def mail():
    now = time.time()
    for number in range(40, 0, -1):
        subject, sender, when = SUBJECTS[number % len(SUBJECTS)], SENDERS[number % len(SENDERS)], now - number * 0.4 * DAY
        made = letter(subject, TEXT, sender, when=when)
        if number % 6 == 0:
            made.add_attachment(PDF, "application", "pdf", filename="tide tables.pdf")
        yield in_mbox(wire(made), when)
    yield in_mbox(html("Harbour news", NEWSLETTER, SENDERS[4]), now - 3600)
    made = letter("Tide tables for December", TEXT, SENDERS[0], Cc="Carla Ems <carla@ems.test>, Zoë <zoe@x.test>")
    made.add_attachment(PDF * 700, "application", "pdf", filename="tide tables.pdf")
    # Sky and sea.
    rows = [b"\0" + bytes([60 + y, 120 + y // 2, 200] if y < 60 else [20, 70, 110]) * 150 for y in range(100)]
    made.add_attachment(png.picture(150, rows), "image", "png", filename="pier.png")
    yield in_mbox(wire(made), now - 60)


def taken(host, width, height, dark, keep):
    browser = host.browser(width=width, height=height, dark=dark)
    try:
        browser.go("/login")
        keep("login", browser)
        browser.log_in()
        browser.go("/m/INBOX")
        keep("list", browser)
        browser.open("Tide tables for December")
        keep("message", browser)
        browser.link("Reply")
        browser.write(cc="carla@ems.test")
        keep("compose", browser)
        browser.open("Harbour news")
        keep("formatted", browser)
        browser.go("/settings")
        keep("settings", browser)
    finally:
        browser.close()


def main():
    where = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "screens")
    os.makedirs(where, exist_ok=True)
    letters = list(mail())
    with Host(sys.argv[1], b"".join(letters)) as host:
        browser = host.browser()
        browser.log_in()
        until("the mail", lambda: browser.go("/m/INBOX") or browser.count("input[name=m]") == len(letters))
        # What is older was read, but for a few.
        browser.run("document.querySelectorAll('input[name=m]').forEach((each, at) => each.checked = at > 3 && at % 5)")
        browser.press("Mark read")
        browser.close()
        for width, height in [(1280, 800), (390, 844)]:
            for dark in [False, True]:
                def keep(name, browser):
                    path = "%s/%s-%d-%s.png" % (where, name, width, "dark" if dark else "light")
                    with open(path, "wb") as out:
                        out.write(png.small(browser.picture()))
                taken(host, width, height, dark, keep)


if __name__ == "__main__":
    main()
