"""Flags, keywords, sizes and dates, as mail programs leave them in an mbox."""
from .make import plain

DATE = b"Sat Nov  1 12:26:40 2025"


def marks():
    for name, fields in [
        ("none", []),
        ("seen", [b"Status: RO"]),
        ("old", [b"Status: O"]),
        ("answered", [b"Status: RO", b"X-Status: A"]),
        ("flagged", [b"Status: O", b"X-Status: F"]),
        ("draft", [b"Status: O", b"X-Status: T"]),
        ("deleted", [b"Status: RO", b"X-Status: D"]),
        ("all", [b"Status: RO", b"X-Status: ADFT"]),
        ("unknown", [b"Status: RXZ", b"X-Status: Q"]),
        ("turned", [b"X-Status: F", b"Status: R"]),
        ("keyword", [b"Status: RO", b"X-Keywords: $Forwarded"]),
        ("keywords", [b"Status: O", b"X-Keywords: $Forwarded work NonJunk"]),
        ("lower-status", [b"status: RO", b"x-status: F"]),
        ("blanks", [b"Status:   RO  ", b"X-Status: \tA"]),
        ("twice", [b"Status: O", b"Status: RO"]),
    ]:
        yield "mark-" + name, plain(b"Subject: mark " + name.encode(), *fields), DATE
    for name, date in [
        ("day-before", b"Fri Oct 31 23:59:59 2025"),
        ("day-begins", b"Sat Nov  1 00:00:00 2025"),
        ("day-ends", b"Sat Nov  1 23:59:59 2025"),
        ("day-after", b"Sun Nov  2 00:00:00 2025"),
        ("leap", b"Thu Feb 29 12:00:00 2024"),
        ("old", b"Thu Jan  1 00:00:01 1970"),
        ("future", b"Tue Jan 19 03:14:08 2038"),
        ("no-seconds", b"Sat Nov  1 12:26 2025"),
        ("zone", b"Sat Nov  1 12:26:40 2025 +0200"),
        ("zone-name", b"Sat Nov  1 12:26:40 CET 2025"),
        ("zone-before", b"Sat Nov  1 12:26:40 +0200 2025"),
        ("wrong-weekday", b"Mon Nov  1 12:26:40 2025"),
    ]:
        yield "internal-" + name, plain(b"Subject: internal " + name.encode()), date
    for name, date in [
        ("utc", b"Sat, 1 Nov 2025 12:26:40 +0000"),
        ("day-before-utc", b"Sat, 1 Nov 2025 00:30:00 +0200"),
        ("day-after-utc", b"Fri, 31 Oct 2025 23:30:00 -0200"),
        ("no-weekday", b"1 Nov 2025 12:26:40 +0000"),
        ("no-seconds", b"Sat, 1 Nov 2025 12:26 +0000"),
        ("two-digit-day", b"Sat, 01 Nov 2025 12:26:40 +0000"),
        ("zone-name", b"Sat, 1 Nov 2025 12:26:40 EST"),
        ("gmt", b"Sat, 1 Nov 2025 12:26:40 GMT"),
        ("ut", b"Sat, 1 Nov 2025 12:26:40 UT"),
        ("military", b"Sat, 1 Nov 2025 12:26:40 Z"),
        ("no-zone", b"Sat, 1 Nov 2025 12:26:40"),
        ("two-digit-year", b"Sat, 1 Nov 25 12:26:40 +0000"),
        ("year-99", b"Mon, 1 Nov 99 12:26:40 +0000"),
        ("three-digit-year", b"Wed, 1 Nov 100 12:26:40 +0000"),
        ("comments", b"Sat (x), 1 (y) Nov 2025 12:26:40 +0000 (UTC)"),
        ("folded", b"Sat,\n 1 Nov 2025\n 12:26:40 +0000"),
        ("lower", b"sat, 1 nov 2025 12:26:40 +0000"),
        ("long-month", b"Sat, 1 November 2025 12:26:40 +0000"),
        ("dashes", b"Sat, 1-Nov-2025 12:26:40 +0000"),
        ("iso", b"2025-11-01T12:26:40Z"),
        ("ctime", b"Sat Nov  1 12:26:40 2025"),
        ("junk", b"yesterday"),
        ("empty", b""),
        ("leap-second", b"Sat, 31 Dec 2016 23:59:60 +0000"),
        ("day-32", b"Sat, 32 Nov 2025 12:26:40 +0000"),
        ("hour-25", b"Sat, 1 Nov 2025 25:26:40 +0000"),
        ("wrong-weekday", b"Mon, 1 Nov 2025 12:26:40 +0000"),
        ("zone-odd", b"Sat, 1 Nov 2025 12:26:40 +0530"),
        ("zone-huge", b"Sat, 1 Nov 2025 12:26:40 +9959"),
        ("epoch", b"Thu, 1 Jan 1970 00:00:00 +0000"),
        ("before-epoch", b"Wed, 31 Dec 1969 23:59:59 +0000"),
        ("far", b"Fri, 31 Dec 9999 23:59:59 +0000"),
    ]:
        yield "date-" + name, plain(b"Subject: date " + name.encode(), b"Date: " + date), DATE
    yield "date-none", plain(b"Subject: date none"), b"Sat Nov  8 12:26:40 2025"
    yield "date-twice", plain(b"Date: Sat, 1 Nov 2025 12:26:40 +0000", b"Date: Sun, 2 Nov 2025 12:26:40 +0000"), DATE
    for size in (0, 1, 1000, 1023, 1024, 1025):
        yield "size-%d" % size, plain(b"Subject: size", body=b"x" * size + b"\n"), DATE
