#!/usr/bin/env python3
"""What Pillarbox and Dovecot say of the same messages: RFC822.SIZE, ENVELOPE, BODY and BODYSTRUCTURE, value by value.

    structures.py write MBOX               some hundred messages, real-shaped and broken; the same ones each time
    structures.py compare MBOX OURS CONF   OURS has what Pillarbox said (mailbox::tests::structures::told_to_a_file);
                                           Dovecot is asked here: CONF is its configuration, MBOX its INBOX

A difference is a defect, or it stands in REASONS with the section of the RFC that lets us differ. A reason that no
message needs any more is a defect too.
"""
import os
import random
import subprocess
import sys

# ---------------------------------------------------------------------------------------------- the messages

HEADER = b"From: A B <a@example.org>\nTo: c@example.net\nSubject: %s\nDate: Sat, 1 Nov 2025 12:26:40 +0000\n"
MIXED = b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"


def plain(*fields, body=b"text\n"):
    return b"".join(field + b"\n" for field in fields) + b"\n" + body


def typed(value, body=b"text\nmore\n"):
    return plain(b"Subject: typed", b"MIME-Version: 1.0", b"Content-Type: " + value, body=body)


def part(text, *fields, boundary=b"b"):
    return b"--" + boundary + b"\n" + b"".join(field + b"\n" for field in fields) + b"\n" + text


def mixed(*parts, end=b"--b--\n"):
    return HEADER % b"mixed" + MIXED + b"".join(parts) + end


def nested(depth, innermost=b"\ntext\n"):
    message = innermost
    for level in range(depth):
        boundary = b"level%d" % level
        head = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\n\n"
        message = head + b"--" + boundary + b"\n" + message + b"\n--" + boundary + b"--\n"
    return b"Subject: nested\n" + message


def wrapped(depth):
    message = b"Subject: innermost\n\ntext\n"
    for level in range(depth):
        message = b"Subject: level %d\nContent-Type: message/rfc822\n\n" % level + message
    return message


def envelopes():
    for name, value in [
        ("list", b"a@b, C D <c@d>, \"E, F\" <e@f>"),
        ("comment", b"a@b (A Name), <c@d> (Other)"),
        ("group", b"Friends: a@b, C <c@d>;, e@f"),
        ("empty-group", b"undisclosed-recipients:;"),
        ("group-open", b"Friends: a@b"),
        ("two-groups", b"One: a@b; , Two: c@d;"),
        ("route", b"A <@x,@y:a@b>"),
        ("no-domain", b"root"),
        ("no-domain-named", b"Root <root>"),
        ("no-local", b"<@example.org>"),
        ("empty-brackets", b"A <>"),
        ("empty", b""),
        ("blank", b"   "),
        ("commas", b",,a@b,,"),
        ("quoted-local", b"\"a b\"@c, \"x\\\"y\"@z"),
        ("quoted-name", b"\"A \\\"B\\\" C\" <a@b>"),
        ("dots", b"J. R. Doe <j.r.d@example.org>"),
        ("literal", b"a@[192.0.2.1], b@[IPv6:2001:db8::1]"),
        ("encoded", b"=?utf-8?q?J=C3=B6rg?= <j@x>, =?iso-8859-1?b?R3L8bg==?= <g@x>"),
        ("raw-8bit", "Jörg <j@x>".encode()),
        ("latin-1", b"J\xf6rg <j@x>"),
        ("folded", b"A\n B <a@b>,\n\tC <c@d>"),
        ("folded-empty", b"\n a@b"),
        ("no-space", b"A<a@b>"),
        ("address-as-name", b"a@b <a@b>"),
        ("quoted-address-as-name", b"\"a@b\" <a@b>"),
        ("semicolon-list", b"a@b; c@d"),
        ("blank-list", b"a@b c@d"),
        ("open-quote", b"\"A <a@b>"),
        ("open-bracket", b"A <a@b"),
        ("open-comment", b"a@b (A"),
        ("nested-comment", b"a@b (A (B) C)"),
        ("comments-within", b"a(x)@(y)b, (z) c @ d"),
        ("only-comment", b"(nobody)"),
        ("two-ats", b"a@b@c"),
        ("dot-ends", b".a.@b., a..b@c"),
        ("trailing", b"A <a@b> junk, c@d"),
        ("mailto", b"mailto:a@b"),
        ("angle-twice", b"A <<a@b>>"),
        ("utf8-address", "ü <ü@ü.example>".encode()),
        ("long", b"%s <a@b>" % (b"n" * 2000)),
        ("many", b", ".join(b"u%d@example.org" % n for n in range(300))),
    ]:
        yield "to-" + name, plain(b"From: x@y", b"To: " + value, b"Subject: " + name.encode())
        if name in ("group", "empty", "only-comment", "no-domain", "list", "raw-8bit"):
            yield "from-" + name, plain(b"From: " + value, b"To: x@y")
            yield "reply-" + name, plain(b"From: f@g", b"Sender: " + value, b"Reply-To: " + value)
    for name, fields in [
        ("nothing", []),
        ("all", [b"From: a@b", b"Sender: s@b", b"Reply-To: r@b", b"To: t@b", b"Cc: c@b", b"Bcc: d@b",
                 b"In-Reply-To: <i@b>", b"Message-ID: <m@b>", b"Date: Sat, 1 Nov 2025 12:26:40 +0000", b"Subject: s"]),
        ("case", [b"FROM: a@b", b"suBJect: s", b"MESSAGE-id: <x@y>"]),
        ("blank-before-colon", [b"Subject : s", b"From \t: a@b"]),
        ("twice", [b"Subject: one", b"Subject: two", b"Message-ID: <1@x>", b"Message-ID: <2@x>", b"Date: one", b"Date: two"]),
        ("to-twice", [b"To: a@b", b"Subject: s", b"To: c@d", b"Cc: e@f", b"Cc: g@h"]),
        ("from-twice", [b"From: a@b", b"From: c@d"]),
        ("empty-values", [b"Subject:", b"Date:", b"Message-ID:", b"In-Reply-To:", b"From:", b"To:"]),
        ("blank-values", [b"Subject:  ", b"Date: \t", b"Message-ID:  ", b"From:  "]),
        ("subject-folded", [b"Subject: one\n two\n\tthree\n   four"]),
        ("subject-folded-first", [b"Subject:\n one", b"Message-ID:\n <m@x>"]),
        ("subject-quotes", [b"Subject: say \"hello\" \\ world"]),
        ("subject-8bit", ["Subject: grün".encode(), b"Message-ID: <\xfc@x>"]),
        ("subject-encoded", [b"Subject: =?utf-8?q?gr=C3=BCn?=\n =?utf-8?b?w7w=?="]),
        ("subject-trailing", [b"Subject: one  \t"]),
        ("subject-tabs", [b"Subject: a\tb\t\tc"]),
        ("subject-control", [b"Subject: a\x01b\x7fc\x1b[0m"]),
        ("subject-cr", [b"Subject: a\rb"]),
        ("subject-long", [b"Subject: " + b"x" * 1000, b"Date: " + b"y" * 3000]),
        ("line-998", [b"Subject: " + b"word " * 500]),
        ("junk-line", [b"Subject: s", b"this is no field", b"From: a@b"]),
        ("junk-first", [b"this is no field", b"Subject: s"]),
        ("fold-first", [b" folded", b"Subject: s"]),
        ("fold-junk", [b"Subject: s", b"no field\n folded", b"From: a@b"]),
        ("no-name", [b": value", b"Subject: s"]),
        ("8bit-name", ["Sübject: s".encode(), b"From: a@b"]),
        ("blank-line-like", [b"Subject: s", b" ", b"From: a@b"]),
        ("references", [b"References: <a@b> <c@d>", b"In-Reply-To: <c@d> (yesterday)"]),
        ("date-comment", [b"Date: Sat, 1 Nov 2025 12:26:40 +0000 (UTC)"]),
        ("many-fields", [b"X-Field-%d: %d" % (n, n) for n in range(2000)] + [b"Subject: last"]),
    ]:
        yield "fields-" + name, plain(*fields)
    yield "header-only", b"From: a@b\nSubject: header only\n"
    yield "header-only-blank", b"From: a@b\nSubject: header only\n\n"
    yield "empty-body", b"From: a@b\n\n\n"
    yield "no-header", b"\nonly a body\n"
    yield "no-header-lines", b"\n\n\nonly a body\n\n\n"
    yield "crlf", b"From: a@b\r\nSubject: crlf\r\n\r\ntext\r\nmore\r\n"
    yield "crlf-some", b"From: a@b\r\nSubject: some\n\ntext\r\nmore\n"
    yield "bare-cr", b"From: a@b\nSubject: s\n\na\rb\r\r\nc\n"
    yield "8bit-body", "Subject: s\n\ngrün\n".encode() + bytes(range(128, 256)) + b"\n"
    yield "long-line", b"Subject: s\n\n" + b"x" * 100000 + b"\n"
    yield "blank-lines-at-end", b"Subject: s\n\ntext\n\n\n\n"
    yield "nul", b"Subject: a\0b\nFrom: a\0@b\n\nte\0xt\n"
    yield "from-line-in-body", b"Subject: s\n\ntext\n\nFrom me to you\n\nmore\n"
    yield "quoted-from", b"Subject: s\n\n>From here\n>>From there\n"


def types():
    for name, value in [
        ("plain", b"text/plain"),
        ("charset", b"text/plain; charset=utf-8"),
        ("charset-quoted", b"text/plain; charset=\"iso-8859-1\"; format=flowed; delsp=yes"),
        ("charset-empty", b"text/plain; charset="),
        ("charset-quoted-empty", b"text/plain; charset=\"\""),
        ("html", b"text/html"),
        ("html-charset", b"TEXT/HTML; CHARSET=UTF-8"),
        ("calendar", b"text/calendar; method=REQUEST; charset=utf-8"),
        ("image", b"image/png; name=\"a.png\""),
        ("image-bare", b"image/gif"),
        ("no-subtype", b"text"),
        ("slash-only", b"text/"),
        ("slash-first", b"/plain"),
        ("slash", b"/"),
        ("empty", b""),
        ("blank", b"  "),
        ("junk", b"this is junk"),
        ("comma", b"text/plain, charset=utf-8"),
        ("semicolon", b"text/plain;"),
        ("semicolons", b"text/plain;; charset=utf-8;;"),
        ("no-value", b"text/plain; charset"),
        ("no-name", b"text/plain; =utf-8"),
        ("blanks", b"text / plain ; charset = utf-8"),
        ("comments", b"text/plain (a) ; (b) charset=utf-8 (c)"),
        ("comment-first", b"(x) text/plain"),
        ("folded", b"text/plain;\n\tcharset=utf-8;\n name=\"a\n b\""),
        ("twice-parameter", b"text/plain; charset=a; charset=b"),
        ("unquoted-blanks", b"application/pdf; name=my file.pdf; size=3"),
        ("unquoted-specials", b"application/pdf; name=a/b(c).pdf"),
        ("open-quote", b"application/pdf; name=\"open"),
        ("quoted-semicolon", b"application/pdf; name=\"a;b\\\"c\""),
        ("backslash", b"application/pdf; name=\"C:\\\\dir\\file\""),
        ("2231", b"application/pdf; name*=utf-8''gr%C3%BCn.pdf"),
        ("2231-parts", b"application/pdf; name*0=\"one\"; name*1=\"two\""),
        ("2231-coded-parts", b"application/pdf; name*0*=utf-8'de'gr%C3; name*1*=%BCn; name*2=\".pdf\""),
        ("2231-gap", b"application/pdf; name*0=a; name*2=c"),
        ("2231-order", b"application/pdf; name*1=b; name*0=a"),
        ("2047-in-name", b"application/pdf; name=\"=?utf-8?q?gr=C3=BCn?=.pdf\""),
        ("8bit-name", "application/pdf; name=\"grün.pdf\"".encode()),
        ("8bit-name-bare", "application/pdf; name=grün.pdf".encode()),
        ("x-type", b"x-foo/x-bar; a=b"),
        ("8bit-type", "text/plüin".encode()),
        ("dot", b"application/vnd.ms-excel.sheet.macroEnabled.12; name=x.xls"),
        ("plus", b"application/atom+xml"),
        ("partial", b"message/partial; id=\"x@y\"; number=1; total=3"),
        ("external", b"message/external-body; access-type=URL; URL=\"http://x/\""),
        ("delivery-status", b"message/delivery-status"),
        ("global", b"message/global"),
        ("rfc822-headers", b"text/rfc822-headers"),
        ("rfc822", b"message/rfc822"),
        ("rfc822-case", b"MESSAGE/RFC822; name=x"),
        ("long-value", b"application/x; name=\"" + b"n" * 3000 + b"\""),
        ("many", b"application/x" + b"".join(b"; p%d=%d" % (n, n) for n in range(50))),
    ]:
        body = b"Subject: inner\n\ninner text\n" if "rfc822" in name or name == "global" else b"text\nmore\n"
        yield "type-" + name, typed(value, body)
    for name, fields in [
        ("encoding", [b"Content-Transfer-Encoding: BASE64"]),
        ("encoding-comment", [b"Content-Transfer-Encoding: quoted-printable (really)"]),
        ("encoding-junk", [b"Content-Transfer-Encoding: 8 bit"]),
        ("encoding-empty", [b"Content-Transfer-Encoding:"]),
        ("encoding-semicolon", [b"Content-Transfer-Encoding: 8bit;"]),
        ("encoding-quoted", [b"Content-Transfer-Encoding: \"8bit\""]),
        ("encoding-twice", [b"Content-Transfer-Encoding: 8bit", b"Content-Transfer-Encoding: base64"]),
        ("id", [b"Content-ID: <a@b>", b"Content-Description: d e f", b"Content-MD5: Q2hlY2s="]),
        ("id-empty", [b"Content-ID:", b"Content-Description:", b"Content-MD5:", b"Content-Location:"]),
        ("description-folded", [b"Content-Description: one\n two"]),
        ("description-8bit", ["Content-Description: grün".encode()]),
        ("description-quotes", [b"Content-Description: \"quoted\""]),
        ("disposition", [b"Content-Disposition: attachment; filename=\"a b.txt\"; size=3"]),
        ("disposition-inline", [b"Content-Disposition: INLINE"]),
        ("disposition-bare-name", [b"Content-Disposition: attachment; filename=a b.txt"]),
        ("disposition-2231", [b"Content-Disposition: attachment; filename*=utf-8''gr%C3%BCn.txt"]),
        ("disposition-empty", [b"Content-Disposition:"]),
        ("disposition-junk", [b"Content-Disposition: ; filename=x"]),
        ("disposition-no-type", [b"Content-Disposition: filename=x"]),
        ("disposition-comment", [b"Content-Disposition: attachment (c); (d) filename=x"]),
        ("language", [b"Content-Language: en"]),
        ("languages", [b"Content-Language: en, de (German), fr-CA"]),
        ("language-empty", [b"Content-Language:"]),
        ("language-commas", [b"Content-Language: ,en,,de,"]),
        ("location", [b"Content-Location: http://example.org/a%20b"]),
        ("location-folded", [b"Content-Location: http://example.org/\n a"]),
        ("type-twice", [b"Content-Type: text/html; charset=a", b"Content-Type: image/png"]),
        ("version-2", [b"MIME-Version: 2.0", b"Content-Type: text/html; charset=utf-8"]),
    ]:
        yield "content-" + name, plain(b"Subject: c", b"MIME-Version: 1.0", *fields)
    yield "no-version", plain(b"Content-Type: text/html; charset=utf-8", b"Content-ID: <a@b>", b"Content-Disposition: inline")


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


def corpus():
    return [*envelopes(), *types(), *parts(), *random_ones(400)]


def write(path):
    with open(path, "wb") as out:
        for _, message in corpus():
            out.write(b"From x@y Sat Nov  1 12:26:40 2025\n" + message)
            if not message.endswith(b"\n"):
                out.write(b"\n")
            out.write(b"\n")


# ---------------------------------------------------------------------------------------------- what servers say


class Reader:
    """Values of an IMAP response: bytes for strings and atoms, None for NIL, lists."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def value(self):
        data, at = self.data, self.at
        byte = data[at:at + 1]
        if byte == b"(":
            self.at += 1
            items = []
            while self.data[self.at:self.at + 1] != b")":
                if self.data[self.at:self.at + 1] == b" ":
                    self.at += 1
                else:
                    items.append(self.value())
            self.at += 1
            return items
        if byte == b'"':
            text, at = bytearray(), at + 1
            while data[at] != ord('"'):
                at += data[at] == ord("\\")
                text.append(data[at])
                at += 1
            self.at = at + 1
            return bytes(text)
        if byte == b"{":
            end = data.index(b"}\r\n", at)
            start = end + 3
            self.at = start + int(data[at + 1:end])
            return data[start:self.at]
        end = at
        while data[end:end + 1] not in (b" ", b")", b"(", b"\r", b""):
            end += 1
        assert end > at, data[at:at + 40]
        self.at = end
        atom = data[at:end]
        return None if atom == b"NIL" else atom


def fetched(data):
    """By number: item and value."""
    reader, found = Reader(data), {}
    while reader.at < len(data):
        line = data[reader.at:data.index(b"\r\n", reader.at)]
        words = line.split(b" ", 3)
        if words[0] == b"*" and len(words) > 3 and words[2] == b"FETCH":
            reader.at += len(b" ".join(words[:3])) + 1
            items = reader.value()
            found[int(words[1])] = dict(zip(items[::2], items[1::2]))
        else:
            reader.at += len(line)
        assert data[reader.at:reader.at + 2] == b"\r\n", data[reader.at:reader.at + 60]
        reader.at += 2
    return found


def ask_dovecot(config, user):
    command = ["setpriv", "--reuid", "vmail", "--regid", "vmail", "--clear-groups", "/usr/lib/dovecot/imap", "-c", config]
    pipe, told = subprocess.PIPE, b""
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env={**os.environ, "USER": user}) as imap:
        imap.stdin.write(b"a SELECT INBOX\r\nb FETCH 1:* (RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)\r\n")
        imap.stdin.flush()
        # It is not told to end before: what it has not sent by then it keeps.
        for line in imap.stdout:
            told += line
            if line.startswith(b"b "):
                break
        imap.stdin.close()
    return fetched(told)


# ---------------------------------------------------------------------------------------------- the comparison

# What may be told in another way, why, and of which messages.
BODIES = "BODY BODYSTRUCTURE"
REASONS = {
    ("ENVELOPE", "RFC 5322 §4.4: elements of a list may be empty"): "to-commas",
    ("ENVELOPE", "RFC 5322 §3.4: a comment behind an address is a name, in angle brackets too; an address may stand where a name does"):
        "to-comment to-address-as-name",
    ("ENVELOPE", "no address by RFC 5322 §3.4: we show what can be read of it, and the addresses behind it"):
        "to-no-local to-semicolon-list to-blank-list to-open-quote to-open-bracket to-open-comment to-two-ats to-dot-ends to-trailing to-angle-twice",
    ("ENVELOPE", "RFC 5322 §3.6: there is to be one; we take the first"): "fields-twice",
    ("ENVELOPE", "RFC 5322 §2.2.3: to unfold is to take the line ends out, and nothing else; blanks around a value are not part of it"):
        "fields-subject-folded fields-subject-folded-first fields-subject-tabs fields-blank-values",
    ("ENVELOPE", "RFC 5322 §2.2: a CR alone has no place in a header; we leave it out"): "fields-subject-cr",
    ("ENVELOPE", "RFC 3501 §4.3: NUL can't be told; we leave it out"): "nul",
    ("RFC822.SIZE", "RFC 5322 §2.1: a header ends with an empty line; we count it also where the file has only the one that ends a message (RFC 4155)"):
        "header-only random-21 random-33 random-63 random-325",
    ("RFC822.SIZE BODY BODYSTRUCTURE", "RFC 4155 (mboxrd): the quoting of From lines is not part of the message"): "quoted-from",
    (BODIES, "RFC 2045 §5.2: without a type that can be read it is text/plain"):
        "type-no-subtype type-slash-only type-slash-first type-slash type-empty type-blank type-junk type-comma parts-cut-in-header parts-multipart-no-subtype",
    (BODIES, "RFC 2045 §5.1: types are the same in any case"): "type-rfc822-case",
    (BODIES, "no parameters by RFC 2045 §5.1, but it is plain what is meant, or nothing is"):
        "type-semicolons type-no-name type-unquoted-blanks type-unquoted-specials type-open-quote content-disposition-bare-name parts-boundary-specials",
    (BODIES, "no encoding by RFC 2045 §6.1: we tell the first word"): "content-encoding-junk content-encoding-semicolon",
    (BODIES, "RFC 2045 §4: without MIME-Version the other fields may mean what they say"): "random-309",
    (BODIES, "RFC 2183 §2: a disposition has a type"): "content-disposition-empty content-disposition-junk",
    (BODIES, "RFC 3282 §2, RFC 5322 §4.4: elements of a list may be empty"): "content-language-commas",
    (BODIES, "RFC 2046 §5.1.1: the line end before a boundary line belongs to that"): "nested-rfc822 rfc822-encoded rfc822-header-only parts-outer-in-rfc822-header random-204",
    (BODIES, "RFC 2046 §5.1.1: a boundary line is all of the line; a boundary is not empty, does not end with a blank, and a longer one is no shorter one"):
        "parts-boundary-prefix parts-empty-boundary parts-boundary-trailing-blank parts-boundary-too-long",
    (BODIES, "bounds: we look into 64 levels and 4,000 parts, Dovecot into 100 and 10,000"):
        "deep-64 deep-65 deep-90 deep-100 deep-101 deep-300 wrapped-64 wrapped-99 wrapped-120 wide-5000",
}


def shown(value):
    text = "NIL" if value is None else repr(value)[1:]
    if isinstance(value, list):
        text = "(" + " ".join(map(shown, value)) + ")"
    return text if len(text) < 400 else "%s..%d..%s" % (text[:190], len(text), text[-190:])


def differences(one, other, path=()):
    """Where two values differ, and both there."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (mine, theirs) in enumerate(zip(one, other)):
            yield from differences(mine, theirs, path + (place,))
    elif one != other:
        yield ".".join(map(str, path)), shown(one), shown(other)


def compare(mbox, ours, config):
    names = [name for name, _ in corpus()]
    with open(ours, "rb") as handle:
        mine = fetched(handle.read())
    theirs = ask_dovecot(config, os.path.basename(mbox))
    if len(mine) != len(names) or len(theirs) != len(names):
        sys.exit("%d messages, Pillarbox sees %d, Dovecot %d" % (len(names), len(mine), len(theirs)))
    may_differ = {(name, item) for (items, _), names in REASONS.items() for name in names.split() for item in items.split()}
    differ, failed = set(), 0
    for number, name in enumerate(names, 1):
        for item in (b"RFC822.SIZE", b"ENVELOPE", b"BODY", b"BODYSTRUCTURE"):
            if mine[number][item] == theirs[number][item]:
                continue
            differ.add((name, item.decode()))
            if (name, item.decode()) in may_differ:
                continue
            failed += 1
            for place, one, other in list(differences(mine[number][item], theirs[number][item]))[:5]:
                print("%s: %s differs at %s\n  Pillarbox %s\n  Dovecot   %s" % (name, item.decode(), place, one, other))
    # What differs in BODY only by what it has not, is there.
    for name, item in sorted(may_differ - differ):
        if (name, "BODYSTRUCTURE") not in differ or item != "BODY":
            print("no difference any more: %s of %s" % (item, name))
            failed += 1
    if failed:
        sys.exit("%d differences" % failed)
    print("  %d messages, told alike but for %d with a reason" % (len(names), len({name for name, _ in differ})))


def main():
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        compare(*sys.argv[2:])


if __name__ == "__main__":
    main()
