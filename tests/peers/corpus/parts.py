"""Messages with parts, as they are sent, and as they are broken."""
import random

from .make import HEADER, MIXED, mixed, nested, part, typed, wrapped


def parts():
    text, html = b"Content-Type: text/plain; charset=utf-8", b"Content-Type: text/html; charset=utf-8"
    yield "alternative", HEADER % b"alternative" + b"MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"=_x\"\n\n" \
        + part(b"text\n", text, boundary=b"=_x") + part(b"<p>text</p>\n", html, boundary=b"=_x") + b"--=_x--\n"
    yield "related", HEADER % b"related" + b"Content-Type: multipart/related; boundary=b; type=\"text/html\"; start=\"<1@x>\"\n\n" \
        + part(b"<img src=cid:2@x>\n", html, b"Content-ID: <1@x>") \
        + part(b"aGVsbG8=\n", b"Content-Type: image/png; name=a.png", b"Content-Transfer-Encoding: base64", b"Content-ID: <2@x>") + b"--b--\n"
    yield "signed", HEADER % b"signed" + b"Content-Type: multipart/signed; micalg=pgp-sha256; protocol=\"application/pgp-signature\"; boundary=b\n\n" \
        + part(b"signed text\n", text) + part(b"-----BEGIN\n", b"Content-Type: application/pgp-signature; name=\"signature.asc\"") + b"--b--\n"
    yield "report", HEADER % b"report" + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n" \
        + part(b"It failed.\n", text) + part(b"Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b\nAction: failed\n", b"Content-Type: message/delivery-status") \
        + part(b"Subject: original\nFrom: a@b\n\noriginal text\n", b"Content-Type: message/rfc822") + b"--b--\n"
    yield "digest", HEADER % b"digest" + b"Content-Type: multipart/digest; boundary=b\n\n" \
        + part(b"Subject: one\n\none\n") + part(b"Subject: two\n\ntwo\n", b"Content-Type: message/rfc822") + part(b"three\n", text) + b"--b--\n"
    yield "nested-rfc822", mixed(part(b"see\n", text), part(b"From: i@j\nSubject: inner\n" + MIXED.replace(b"=b", b"=c")
          + part(b"1\n", boundary=b"c") + part(b"2\n", html, boundary=b"c") + b"--c--\n", b"Content-Type: message/rfc822",
          b"Content-Disposition: attachment; filename=mail.eml"))
    yield "rfc822-encoded", mixed(part(b"U3ViamVjdDogeAoKeAo=\n", b"Content-Type: message/rfc822", b"Content-Transfer-Encoding: base64"))
    yield "rfc822-empty", mixed(part(b"", b"Content-Type: message/rfc822"))
    yield "rfc822-header-only", mixed(part(b"Subject: inner\n", b"Content-Type: message/rfc822"))
    for depth in (1, 2, 5, 20, 60, 63, 64, 65, 90, 100, 101, 300):
        yield "deep-%d" % depth, nested(depth)
    for depth in (1, 3, 10, 40, 63, 64, 99, 120):
        yield "wrapped-%d" % depth, wrapped(depth)
    for count in (50, 1000, 5000):
        yield "wide-%d" % count, mixed(*[part(b"%d\n" % n) for n in range(count)])
    one = part(b"one\n", text)
    for name, message in [
        ("preamble", mixed(b"This is a preamble.\n\n", one)),
        ("epilogue", mixed(one, end=b"--b--\nThis is an epilogue.\n--b\n\nno part\n")),
        ("no-end", mixed(one, end=b"")),
        ("no-parts", mixed(end=b"")),
        ("only-end", mixed()),
        ("text-only", mixed(b"no boundary here\n", end=b"")),
        ("no-boundary", typed(b"multipart/mixed", part(b"x\n"))),
        ("empty-boundary", typed(b"multipart/mixed; boundary=\"\"", b"--\n\nx\n----\n")),
        ("other-boundary", typed(b"multipart/mixed; boundary=other", part(b"x\n"))),
        ("boundary-prefix", mixed(one, part(b"inner\n--bb\n--b-\n--b x\nstill\n", text))),
        ("boundary-blanks", mixed(b"--b  \t\n\none\n", b"--b\t\n\ntwo\n", end=b"--b--  \n")),
        ("boundary-quoted-blank", typed(b"multipart/mixed; boundary=\"a b\"", b"--a b\n\nx\n--a b--\n")),
        ("boundary-trailing-blank", typed(b"multipart/mixed; boundary=\"b \"", b"--b \n\nx\n--b --\n")),
        ("boundary-long", typed(b"multipart/mixed; boundary=" + b"x" * 70, b"--" + b"x" * 70 + b"\n\nx\n--" + b"x" * 70 + b"--\n")),
        ("boundary-too-long", typed(b"multipart/mixed; boundary=" + b"x" * 200, b"--" + b"x" * 200 + b"\n\nx\n--" + b"x" * 200 + b"--\n")),
        ("boundary-case", typed(b"multipart/mixed; boundary=B", b"--b\n\nno\n--B\n\nyes\n--B--\n")),
        ("boundary-specials", typed(b"multipart/mixed; boundary=----=_Part(1)'+_,./:=?", b"------=_Part(1)'+_,./:=?\n\nx\n------=_Part(1)'+_,./:=?--\n")),
        ("boundary-comment", typed(b"multipart/mixed; boundary=b (c)", part(b"x\n") + b"--b--\n")),
        ("boundary-2231", typed(b"multipart/mixed; boundary*0=\"b\"; boundary*1=\"c\"", part(b"x\n", boundary=b"bc") + b"--bc--\n")),
        ("boundary-dashes", typed(b"multipart/mixed; boundary=--", b"----\n\nx\n------\n")),
        ("boundary-in-header", mixed(b"--b\nSubject: x\n--b\n\ntwo\n")),
        ("boundary-first-line", mixed(b"--b\n--b\n--b\n\nx\n")),
        ("no-blank-line", mixed(b"--b\nContent-Type: text/html\n", one)),
        ("no-header-no-blank", mixed(b"--b\njust text\n\nmore\n")),
        ("empty-part", mixed(b"--b\n\n", one)),
        ("empty-part-body", mixed(part(b"", text), one)),
        ("blank-part-body", mixed(part(b"\n", text), part(b"\n\n", text))),
        ("end-twice", mixed(one, end=b"--b--\n--b--\n")),
        ("after-end", mixed(one, end=b"--b--\n" + one + b"--b--\n")),
        ("cut-in-header", mixed(one, b"--b\nContent-Type: ima", end=b"")),
        ("cut-in-boundary", mixed(one, end=b"--")),
        ("cut-no-eol", mixed(one, end=b"--b--").rstrip(b"\n")),
        ("crlf", mixed(one, part(b"two\n", html)).replace(b"\n", b"\r\n")),
        ("same-boundary", mixed(part(part(b"inner\n") + b"--b--\n", b"Content-Type: multipart/mixed; boundary=b"), one)),
        ("prefix-boundary", mixed(part(part(b"inner\n", boundary=b"bb") + b"--bb--\n", b"Content-Type: multipart/mixed; boundary=bb"), one)),
        ("outer-ends-inner", mixed(part(part(b"inner\n", boundary=b"c"), b"Content-Type: multipart/mixed; boundary=c"), one)),
        ("outer-ends-rfc822", mixed(part(b"Subject: x\n" + MIXED.replace(b"=b", b"=c") + part(b"inner\n", boundary=b"c"), b"Content-Type: message/rfc822"), one)),
        ("outer-in-rfc822-header", mixed(part(b"Subject: x\n", b"Content-Type: message/rfc822"), one)),
        ("multipart-in-text", mixed(part(part(b"no\n", boundary=b"c") + b"--c--\n", text))),
        ("encoded-multipart", mixed(part(part(b"inner\n", boundary=b"c") + b"--c--\n", b"Content-Type: multipart/mixed; boundary=c", b"Content-Transfer-Encoding: base64"))),
        ("multipart-twice", typed(b"multipart/mixed; boundary=a; boundary=b", part(b"a\n", boundary=b"a") + part(b"b\n"))),
        ("multipart-fields", HEADER % b"f" + b"Content-Disposition: inline; a=b\nContent-Language: en\nContent-Location: x\nContent-ID: <i>\n" + MIXED + one + b"--b--\n"),
        ("unknown-multipart", typed(b"multipart/x-foo; boundary=b", one + b"--b--\n")),
        ("multipart-no-subtype", typed(b"multipart; boundary=b", one + b"--b--\n")),
        ("digest-empty", typed(b"multipart/digest; boundary=b", b"--b\n\n\n--b--\n")),
        ("digest-typed", typed(b"multipart/digest; boundary=b", b"--b\nContent-Type: text/html\n\nx\n--b\nX: y\n\nSubject: s\n\nx\n--b--\n")),
        ("8bit-everywhere", mixed(part("grün\n".encode(), "Content-Type: text/plain; name=grün".encode(), "Content-Description: grün".encode()))),
        ("base64", mixed(part(b"AAAA" * 19 + b"\n", b"Content-Type: application/octet-stream", b"Content-Transfer-Encoding: base64",
                              b"Content-Disposition: attachment; filename=\"f.bin\""))),
        ("no-space-header", mixed(b"--b\nContent-Type:text/html\nContent-ID:<x>\n\nx\n")),
        ("part-fold-first", mixed(b"--b\n folded\nContent-Type: text/html\n\nx\n")),
        ("part-junk-line", mixed(b"--b\nContent-Type: text/html\njunk\nContent-ID: <x>\n\nx\n")),
    ]:
        yield "parts-" + name, message


PIECES = [b"\n", b"\n", b"--a\n", b"\n--a\n", b"--b\n", b"--b--\n", b"\n--a--\n", b"-", b"text\n", b"text",
          b"Content-Type: multipart/mixed; boundary=a\n", b"Content-Type: multipart/digest; boundary=\"b\"\n\n",
          b"Content-Type: multipart/mixed;\n boundary=b\n\n", b"Content-Type: message/rfc822\n\n", b"Content-Type: text/html\n\n",
          b"Content-Transfer-Encoding: base64\n", b"X-Other: x\n", b"\tfolded\n", b"Content-ID: <i>\n", b"From: a@b, c: d@e;\n", b"To: \"x\" <y@z>\n"]


def random_ones(count):
    rng = random.Random(3)
    for number in range(count):
        body = b"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 25)))
        yield "random-%d" % number, HEADER % b"random" + b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n" + body + b"\n"
