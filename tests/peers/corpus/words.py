"""Encoded words (RFC 2047) and parameters with character sets and continuations (RFC 2231) of every shape."""
from .make import mixed, part, plain, typed

SUBJECTS = [
    ("q", b"=?utf-8?q?gr=C3=BCn?="),
    ("b", b"=?UTF-8?B?Z3LDvG4=?="),
    ("latin", b"=?iso-8859-1?Q?gr=FCn?="),
    ("koi8", b"=?koi8-r?B?7cnS?="),
    ("jis", b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?="),
    ("sjis", b"=?shift_jis?B?k/qWew==?="),
    ("gb", b"=?gb2312?B?yNWxvg==?="),
    ("euc", b"=?euc-jp?B?xvzL3A==?="),
    ("utf-7", b"=?utf-7?q?gr+APw-n?="),
    ("utf-16", b"=?utf-16be?B?AGcAcgD8AG4=?="),
    ("windows", b"=?windows-1252?q?=93gr=FCn=94?="),
    ("unknown", b"=?x-none?q?gr=FCn?="),
    ("language", b"=?utf-8*de?q?gr=C3=BCn?="),
    ("two", b"=?utf-8?q?gr?= =?utf-8?q?=C3=BCn?="),
    ("two-folded", b"=?utf-8?q?gr?=\n =?utf-8?q?=C3=BCn?="),
    ("two-many-blanks", b"=?utf-8?q?gr?= \t =?utf-8?q?=C3=BCn?="),
    ("two-charsets", b"=?iso-8859-1?q?gr=FC?= =?utf-8?q?n?="),
    ("cut-character", b"=?utf-8?q?gr=C3?= =?utf-8?q?=BCn?="),
    ("cut-base64", b"=?utf-8?B?Z3LD?= =?utf-8?B?vG4=?="),
    ("word-between", b"a =?utf-8?q?gr=C3=BCn?= b"),
    ("no-blank-before", b"a=?utf-8?q?gr=C3=BCn?="),
    ("no-blank-behind", b"=?utf-8?q?gr=C3=BCn?=b"),
    ("in-quotes", b"\"=?utf-8?q?gr=C3=BCn?=\""),
    ("in-parentheses", b"(=?utf-8?q?gr=C3=BCn?=)"),
    ("underscore", b"=?utf-8?q?gr=C3=BCn_wald?="),
    ("blank-within", b"=?utf-8?q?gr=C3=BCn wald?="),
    ("lower-hex", b"=?utf-8?q?gr=c3=bcn?="),
    ("bad-hex", b"=?utf-8?q?gr=C3=BCn=ZZ?="),
    ("cut-hex", b"=?utf-8?q?gr=C3=BCn=?="),
    ("bad-base64", b"=?utf-8?B?Z3LD!vG4=?="),
    ("no-padding", b"=?utf-8?B?Z3LDvG4?="),
    ("empty", b"=?utf-8?q??="),
    ("empty-charset", b"=??q?gr=FCn?="),
    ("unknown-encoding", b"=?utf-8?x?gr=C3=BCn?="),
    ("open", b"=?utf-8?q?gr=C3=BCn"),
    ("open-folded", b"=?utf-8?q?gr=C3\n =BCn?="),
    ("question", b"=?utf-8?q?gr=C3=BCn??="),
    ("long", b"=?utf-8?q?" + b"gr=C3=BCn_" * 100 + b"?="),
    ("newline", b"=?utf-8?q?gr=C3=BCn=0D=0AX-Evil:_x?="),
    ("nul", b"=?utf-8?q?gr=C3=BCn=00wald?="),
    ("raw", "grün".encode()),
    ("raw-latin", b"gr\xfcn"),
    ("raw-and-word", "grün =?utf-8?q?wald?=".encode()),
    ("decomposed", b"=?utf-8?q?gru=CC=88n?="),
    ("upper", b"=?utf-8?q?GR=C3=9CN?="),
]

# What stands behind `name`, or `filename`.
PARAMETERS = [
    ("simple", b"*=utf-8''gr%C3%BCn.pdf"),
    ("upper", b"*=UTF-8''gr%c3%bcn.pdf"),
    ("language", b"*=iso-8859-1'de'gr%FCn.pdf"),
    ("no-charset", b"*=''green.pdf"),
    ("no-quotes", b"*=green.pdf"),
    ("one-quote", b"*=utf-8'green.pdf"),
    ("quoted", b"*=\"utf-8''gr%C3%BCn.pdf\""),
    ("bad-percent", b"*=utf-8''gr%ZZn%.pdf"),
    ("unknown-charset", b"*=x-none''gr%FCn.pdf"),
    ("two", b"*0=\"gr\"; %s*1=\"een.pdf\""),
    ("three-turned", b"*2=\".pdf\"; %s*0=\"gr\"; %s*1=\"een\""),
    ("coded-all", b"*0*=utf-8''gr%C3; %s*1*=%BCn.pdf"),
    ("coded-first", b"*0*=utf-8''gr%C3%BC; %s*1=\"n.pdf\""),
    ("coded-later", b"*0=\"gr\"; %s*1*=%C3%BCn.pdf"),
    ("no-zero", b"*1=\"een\"; %s*2=\".pdf\""),
    ("gap", b"*0=\"gr\"; %s*2=\".pdf\""),
    ("twice", b"*0=\"gr\"; %s*0=\"een\""),
    ("leading-zeros", b"*00=\"gr\"; %s*01=\"een\""),
    ("ten", b"".join(b"*%d=\"%d\"%s" % (n, n, b"; %s" if n < 10 else b"") for n in range(11))),
    ("both", b"=plain.pdf; %s*=utf-8''gr%%C3%%BCn.pdf"),
    ("both-turned", b"*=utf-8''gr%%C3%%BCn.pdf; %s=plain.pdf"),
    ("empty", b"*="),
    ("empty-coded", b"*=utf-8''"),
    ("star-only", b"**=x"),
    ("not-a-number", b"*a=x"),
    ("huge-number", b"*99999999999999999999=x"),
    ("raw-8bit", "*=utf-8''grün.pdf".encode()),
    ("blanks", b" * = utf-8''green.pdf"),
]


def words():
    for name, subject in SUBJECTS:
        yield "word-" + name, plain(b"From: =?utf-8?q?J=C3=B6rg?= <j@x>", b"Subject: " + subject)
    for name, subject in SUBJECTS[:30]:
        yield "word-name-" + name, plain(b"From: " + subject + b" <j@x>", b"To: \"" + subject + b"\" <t@x>", b"Cc: c@x (" + subject + b")")
    for name, value in PARAMETERS:
        yield "parameter-" + name, typed(b"application/pdf; name" + value.replace(b"%s", b"name").replace(b"%%", b"%"))
        disposition = b"Content-Disposition: attachment; filename" + value.replace(b"%s", b"filename").replace(b"%%", b"%")
        yield "parameter-part-" + name, mixed(part(b"x\n", b"Content-Type: application/pdf", disposition))
