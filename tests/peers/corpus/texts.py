"""What SEARCH looks into: texts in many character sets and encodings, in parts and in fields."""
import base64
import quopri

from .make import HEADER, MIXED, mixed, part, plain

TEXT = "Anfang\ngrün und weiß, ΣΊΣΥΦΟΣ, мир, 日本\nEnde\n"


def coded(text, charset, encoding, subtype=b"plain"):
    data = text if isinstance(text, bytes) else text.encode(charset, "replace")
    if encoding == "base64":
        data = base64.encodebytes(data)
    elif encoding == "quoted-printable":
        data = quopri.encodestring(data)
    return [b"MIME-Version: 1.0", b"Content-Type: text/%s; charset=%s" % (subtype, charset.encode()),
            b"Content-Transfer-Encoding: " + encoding.encode()], data if data.endswith(b"\n") else data + b"\n"


def texts():
    for charset in ("utf-8", "iso-8859-1", "iso-8859-15", "windows-1252", "koi8-r", "iso-2022-jp", "shift_jis", "euc-jp", "gb2312",
                    "big5", "utf-7", "utf-16", "utf-16le", "utf-16be", "utf-32", "iso-8859-7", "euc-kr"):
        for encoding in ("base64", "quoted-printable", "8bit"):
            # These have NULs, and line ends that are none.
            if encoding != "base64" and charset.startswith(("utf-16", "utf-32")):
                continue
            fields, body = coded(TEXT, charset, encoding)
            yield "text-%s-%s" % (charset, encoding), plain(b"Subject: text", *fields, body=body)
    for name, fields, body in [
        ("ascii", [], b"plain needle here\n"),
        ("across-lines", [], b"needle\nhaystack\n"),
        ("across-lines-blanks", [], b"needle \n  haystack\n"),
        ("case", [], b"NeEdLe HaYsTaCk\n"),
        ("html-tags", [b"Content-Type: text/html"], b"<p>nee<b>dle</b> <i title=\"attribute\">x</i></p>\n"),
        ("html-entity", [b"Content-Type: text/html; charset=utf-8"], b"<p>gr&uuml;n</p>\n"),
        ("html-script", [b"Content-Type: text/html"], b"<script>needle</script><!-- comment -->\n"),
        ("qp-soft-break", [b"Content-Transfer-Encoding: quoted-printable"], b"nee=\ndle\n"),
        ("qp-bad", [b"Content-Transfer-Encoding: quoted-printable"], b"nee=ZZdle= needle=\n"),
        ("qp-blanks-at-end", [b"Content-Transfer-Encoding: quoted-printable"], b"needle   \nhaystack\n"),
        ("base64-junk", [b"Content-Transfer-Encoding: base64"], b"bmVl!!ZGxl\nIGhheXN0YWNr\n"),
        ("base64-cut", [b"Content-Transfer-Encoding: base64"], b"bmVlZGxlIGhheXN0YW\n"),
        ("base64-two", [b"Content-Transfer-Encoding: base64"], b"bmVlZA==\nbGU=\n"),
        ("base64-behind", [b"Content-Transfer-Encoding: base64"], b"bmVlZGxl\n\n-- \nhaystack\n"),
        ("uuencode", [b"Content-Transfer-Encoding: x-uuencode"], b"begin 644 x\n&;F5E9&QE\n`\nend\n"),
        ("unknown-encoding", [b"Content-Transfer-Encoding: x-what"], b"needle\n"),
        ("unknown-charset", [b"Content-Type: text/plain; charset=x-none"], "needle grün\n".encode()),
        ("no-charset-8bit", [b"Content-Type: text/plain"], "needle grün\n".encode()),
        ("ascii-8bit", [b"Content-Type: text/plain; charset=us-ascii"], "needle grün\n".encode()),
        ("wrong-charset", [b"Content-Type: text/plain; charset=utf-8"], b"needle gr\xfcn\n"),
        ("decomposed", [b"Content-Type: text/plain; charset=utf-8"], "gru\u0308n\n".encode()),
        ("attachment-text", [b"Content-Disposition: attachment; filename=needle.txt"], b"haystack\n"),
        ("application", [b"Content-Type: application/octet-stream; name=needle"], b"haystack\n"),
        ("image", [b"Content-Type: image/png"], b"haystack\n"),
        ("calendar", [b"Content-Type: text/calendar"], b"haystack needle\n"),
        ("xml", [b"Content-Type: application/xml"], b"<a>haystack</a>\n"),
        ("delivery-status", [b"Content-Type: message/delivery-status"], b"Reporting-MTA: dns; needle\n\nAction: haystack\n"),
        ("partial", [b"Content-Type: message/partial; id=\"x\"; number=1; total=2"], b"Subject: needle\n\nhaystack\n"),
        ("external", [b"Content-Type: message/external-body; access-type=URL; URL=\"http://needle/\""], b"Content-ID: <haystack>\n\nphantom\n"),
        ("field", [b"X-Needle: haystack", b"X-Empty:", b"X-Blank:  "], b"text\n"),
        ("field-folded", [b"X-Folded: nee\n dle\n\thaystack"], b"text\n"),
        ("field-twice", [b"X-Twice: one", b"X-Twice: two"], b"text\n"),
        ("field-name", [b"Haystack-Field: x"], b"text\n"),
        ("field-word", [b"X-Word: =?utf-8?q?gr=C3=BCn?="], b"text\n"),
        ("field-odd", [b"X-Space : needle"], b"text\n"),
        ("quoted-line", [], b">From needle\n"),
        ("cr", [], b"nee\rdle\n"),
        ("address-names", [b"From: \"Needle Haystack\" <user@host.example>", b"To: other@host.example (needle)"], b"text\n"),
        ("address-many", [b"Cc: one@x, two@y", b"Cc: three@z", b"Bcc: hidden@x"], b"text\n"),
        ("address-group", [b"To: Needles: one@x, two@y;"], b"text\n"),
        ("long-line", [], b"x" * 70000 + b" needle " + b"y" * 70000 + b"\n"),
        ("window", [], b"line of a text\n" * 9000 + b"needle\n" + b"line of a text\n" * 9000),
    ]:
        sender = [] if any(b"From:" in field for field in fields) else [b"From: f@x"]
        yield "find-" + name, plain(b"MIME-Version: 1.0", *sender, *fields, body=body)
    text, html = b"Content-Type: text/plain; charset=utf-8", b"Content-Type: text/html; charset=utf-8"
    inner = b"From: inner@x\nSubject: needle inner\n" + MIXED.replace(b"=b", b"=c") + part(b"haystack\n", text, boundary=b"c") + b"--c--\n"
    for name, message in [
        ("first-part", mixed(part(b"needle\n", text), part(b"x\n", text))),
        ("second-part", mixed(part(b"x\n", text), part(b"needle\n", html))),
        ("attached-text", mixed(part(b"x\n", text), part(b"needle\n", text, b"Content-Disposition: attachment; filename=x.txt"))),
        ("attached-name", mixed(part(b"x\n", text), part(b"x\n", b"Content-Type: application/pdf; name=needle.pdf"))),
        ("attached-binary", mixed(part(b"x\n", text), part(b"bmVlZGxl\n", b"Content-Type: application/pdf", b"Content-Transfer-Encoding: base64"))),
        ("part-field", mixed(part(b"x\n", text, b"X-Part: needle"))),
        ("part-description", mixed(part(b"x\n", text, b"Content-Description: =?utf-8?q?gr=C3=BCn?="))),
        ("inner-message", mixed(part(inner, b"Content-Type: message/rfc822"))),
        ("inner-in-base64", mixed(part(b"bmVlZGxl\n", text, b"Content-Transfer-Encoding: base64"))),
        ("preamble", mixed(b"needle\n\n", part(b"x\n", text))),
        ("epilogue", mixed(part(b"x\n", text), end=b"--b--\nneedle\n")),
        ("boundary-name", mixed(part(b"x\n", text), end=b"--b--\n").replace(b"=b\n", b"=needle\n").replace(b"--b", b"--needle")),
        ("across-parts", mixed(part(b"nee\n", text), part(b"dle\n", text))),
    ]:
        yield "find-parts-" + name, message
    yield "find-nothing", HEADER % b"nothing" + b"\n"
