"""Messages, and what is in them."""
import os

from driver import until
from letters import PDF, PNG, SVG, letter, wire, with_both, with_files


def reading(host, look, **kind):
    browser = host.browser(**kind)
    try:
        browser.log_in()
        look(browser)
    finally:
        browser.close()


def formatted_and_plain(host):
    host.send(with_both("formatted"))
    for scripts in [True, False]:
        reading(host, both, scripts=scripts)
    assert host.asked("pictures.evil"), "nobody would have heard a picture asked for"


def both(browser):
    browser.open("formatted")
    browser.lacks("the plain words")
    frame = browser.run("return document.querySelector('iframe').getAttribute('sandbox')")
    assert frame == "allow-same-origin allow-popups allow-popups-to-escape-sandbox", frame
    browser.enter("iframe")
    browser.shows("the formatted words")
    # The picture that came with it is there, and that of another host is not.
    until("the picture", lambda: browser.run("return document.querySelector('img[alt=red]').naturalWidth") == 2)
    assert browser.count("img[src]") == 1
    browser.enter(None)
    here = browser.url()
    browser.link("Show as plain text")
    browser.shows("the plain words")
    assert browser.count("iframe") == 0
    browser.link("Show with formatting")
    assert browser.count("iframe") == 1
    # Pictures from elsewhere, when asked for.
    assert here.split("?")[0] == browser.url().split("?")[0]
    browser.touch("partial link text", "Show pictures")
    browser.enter("iframe")
    until("both pictures", lambda: browser.count("img[src]") == 2)
    browser.enter(None)
    browser.log()


def full_headers_and_source(host):
    host.send(wire(letter("Grüße", "the text\n", **{"X-Odd": "<b>odd</b>"})))

    def look(browser):
        browser.open("Grüße")
        browser.lacks("X-Odd")
        here = browser.url()
        browser.link("All header fields")
        browser.shows("X-Odd: <b>odd</b>")
        browser.shows("Received: from client.test")
        browser.go(here)
        browser.link("Source")
        browser.shows("Subject: =?utf-8?")
        browser.shows("Return-Path: <writer@far.test>")
        assert browser.run("return document.contentType") == "text/plain"
        answer = host.fetch(browser, here + "/source?download=1")
        assert answer.headers["Content-Disposition"].startswith("attachment;"), answer.headers
        assert b"the text" in answer.read()

    reading(host, look)


def in_print(host):
    host.send(with_both("printed"))

    def look(browser):
        browser.open("printed")
        browser.emulate([], "print")
        for gone in ["header.top", "nav.folders", "article form.actions"]:
            assert browser.style(gone, "display") == "none", gone
        browser.emulate([], "")
        browser.link("Print")
        browser.shows("printed")
        browser.shows("Bob Baker")
        # All of it is on the page, not only what a frame has room for.
        browser.shows("the formatted words")
        assert browser.count("iframe, form, nav") == 0
        pages = browser.ask("POST", "/print", {})
        assert len(pages) > 1000, pages

    reading(host, look)
    reading(host, look, scripts=False)


def files(host):
    host.send(with_files("enclosed"))

    def look(browser):
        browser.open("enclosed")
        here = browser.url()
        for name in ["red.png", "Größe \"neu\".pdf", "drawing.svg", "page.html", "データ.bin"]:
            browser.shows(name)

        def path(name):
            return browser.run("return [...document.querySelectorAll('.files a')].find(a => a.textContent.includes(arguments[0])).href", name)

        paths = {name: path(name) for name in ["red.png", "neu", "drawing.svg", "page.html", "データ"]}
        # A picture is shown on the page, and by itself.
        until("the picture", lambda: browser.run("return document.querySelector('.files img').naturalWidth") == 2)
        browser.go(paths["red.png"])
        assert browser.run("return document.images[0].naturalWidth") == 2
        # A PDF opens in the browser's own viewer.
        browser.go(paths["neu"])
        assert browser.run("return document.contentType") == "application/pdf"
        until("the viewer", lambda: [each for each in browser.tool("Target.getTargets", {})["targetInfos"] if each["url"].startswith("chrome-extension:")])
        # What could do something only downloads: the page stays where it is.
        for name, kept, bytes_ in [("drawing.svg", "drawing.svg", SVG), ("page.html", "page.html", b"<script>top.pwned=1</script>"),
                                   ("データ", "データ.bin", b"\0\1\2" * 100)]:
            browser.go(here)
            answer = host.fetch(browser, paths[name])
            assert answer.headers["Content-Disposition"].startswith("attachment;"), answer.headers
            assert answer.headers["Content-Type"] == "application/octet-stream", answer.headers
            browser.tool("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": host.home + "/saved"})
            browser.touch("partial link text", name)
            saved = os.path.join(host.home, "saved", kept)
            until(kept + " in " + repr(os.listdir(host.home + "/saved")), lambda: open(saved, "rb").read().strip() == bytes_.strip())
            assert browser.url() == here, browser.url()
            assert browser.run("return typeof window.pwned") == "undefined"
            os.remove(saved)
        assert host.fetch(browser, paths["neu"]).read() == PDF
        assert host.fetch(browser, paths["red.png"]).read() == PNG

    reading(host, look)


def dates_and_unread(host):
    """Relative in the list, exact in the message; unread is bold until it is read."""
    host.send(wire(letter("unread one", "text\n")), wire(letter("read one", "text\n")))

    def look(browser):
        browser.open("read one")
        exact = browser.run("return [...document.querySelectorAll('dl.fields dt')].find(dt => dt.textContent == 'Date').nextElementSibling.textContent")
        assert "20" in exact and ":" in exact and exact.count(" ") >= 4, exact
        browser.go("/m/INBOX")
        weight = "return getComputedStyle([...document.querySelectorAll('.message')].find(li => li.textContent.includes(arguments[0])).querySelector('.subject')).fontWeight"
        assert (browser.run(weight, "unread one"), browser.run(weight, "read one")) == ("700", "400")
        shown = browser.run("return document.querySelector('.message time').textContent")
        assert len(shown) == 5 and shown[2] == ":", shown
        assert browser.run("return document.querySelector('.message time').title").count(" ") >= 4

    reading(host, look)


TESTS = [formatted_and_plain, full_headers_and_source, in_print, files, dates_and_unread]
