"""Mail to look at."""
import base64
import email.utils
import os
import time
from email.message import EmailMessage

HERE = os.path.dirname(os.path.abspath(__file__))
# 2 by 2 pixels, red.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==")
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>endobj
trailer<</Root 1 0 R>>
"""
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="top.pwned=1"><script>top.pwned=1</script></svg>'
NEWSLETTER = """<html><head><style>.x{width:600px}</style></head><body style="margin:0;background:#eee">
<center><table width="600" cellpadding="0" cellspacing="0" border="0" style="width:600px;min-width:600px;background:#fff"><tr>
<td width="600" style="background:#234;color:#fff;padding:20px"><h1>Harbour news</h1></td></tr><tr><td style="padding:20px">
<table width="560"><tr><td width="280" style="width:280px;min-width:280px">The new pier is open to all who come by boat, and to those who come on foot.</td>
<td width="280" style="width:280px;min-width:280px">Tide tables for December are in the office, and a_word_that_is_much_too_long_to_stand_in_any_column_of_it.</td></tr></table>
<p style="white-space:nowrap">A line that its author does not want to be broken, however narrow the window may be.</p>
<div style="width:560px"><img src="https://pictures.evil.test/pier.png" width="560" height="100" alt="the pier"></div>
<p style="font-size:14px">Dear readers, <b>the new pier</b> is open. <a href="https://harbour.test/pier">Read more</a></p></td></tr></table></center></body></html>"""


def letter(subject, text, sender="Bob Baker <bob@far.test>", when=None, **fields):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, fields.pop("to", "Alice <alice@here.test>"), subject
    made["Date"] = email.utils.formatdate(time.time() if when is None else when, localtime=True)
    made["Message-ID"] = "<%s@far.test>" % base64.b16encode(os.urandom(8)).decode()
    for name, value in fields.items():
        made[name] = value
    made.set_content(text)
    return made


def wire(made):
    return made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def in_mbox(made, when):
    return b"From x@far.test %s\n%s\n" % (time.asctime(time.gmtime(when)).encode(), made.replace(b"\r\n", b"\n"))


def plain(subject, text, **fields):
    return wire(letter(subject, text, **fields))


def html(subject, text, sender="Bob Baker <bob@far.test>"):
    """HTML alone, byte for byte."""
    head = "From: %s\r\nTo: alice@here.test\r\nSubject: %s\r\nDate: Sat, 28 Nov 2026 09:18:51 +0000\r\nMIME-Version: 1.0\r\n" \
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" % (sender, subject)
    return (head + base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")).encode()


def with_both(subject):
    """Plain text and HTML, with a picture in it."""
    made = letter(subject, "the plain words\n\n> what was quoted\n> before\n")
    made.add_alternative('<h1>the formatted words</h1><img src="cid:pic@far.test" alt="red"><img src="https://pictures.evil.test/t.gif">',
                         subtype="html")
    made.get_payload()[1].add_related(PNG, "image", "png", cid="<pic@far.test>")
    return wire(made)


def with_files(subject):
    made = letter(subject, "what you asked for\n")
    made.add_attachment(PNG, "image", "png", filename="red.png")
    made.add_attachment(PDF, "application", "pdf", filename="Größe \"neu\".pdf")
    made.add_attachment(SVG, "image", "svg+xml", filename="drawing.svg")
    made.add_attachment("<script>top.pwned=1</script>", subtype="html", filename="page.html")
    made.add_attachment(b"\0\1\2" * 100, "application", "octet-stream", filename="データ.bin")
    return wire(made)


def hostile():
    """What was used against others."""
    with open(HERE + "/hostile.txt", newline="", encoding="utf-8") as file:
        text = file.read()
    return [piece.strip("\n") for piece in text.split("\n\n") if piece.strip() and not piece.startswith("# ")]
