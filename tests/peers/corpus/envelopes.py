"""What ENVELOPE is made of: addresses and fields of every shape, and headers and bodies that are odd."""
from .make import plain


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
