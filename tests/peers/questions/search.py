"""SEARCH: every key, its text in every character set, and keys in keys."""

# Each is the words of a command; bytes are sent as literals.
FLAGS = ["ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN", "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN",
         "KEYWORD $Forwarded", "KEYWORD work", "KEYWORD WORK", "KEYWORD NonJunk", "KEYWORD nobody", "UNKEYWORD $Forwarded", "UNKEYWORD nobody"]
DAYS = ["31-Oct-2025", "1-Nov-2025", "2-Nov-2025", "01-Nov-2025", "\"1-Nov-2025\"", "1-nov-2025", "29-Feb-2024", "1-Jan-1970", "31-Dec-1969", "2-Jan-1970",
        "19-Jan-2038", "31-Dec-2016", "1-Jan-2017", "31-Dec-9999", "8-Nov-2025", "1-Nov-1999", "1-Nov-2000"]
SIZES = [0, 1, 20, 21, 22, 1000, 1022, 1045, 1046, 1047, 1048, 100000, 4294967295]
TEXTS = ["needle", "NEEDLE", "haystack", "needle haystack", "nee dle", "needlehaystack", "nee", "e", "nowhere-to-be-found", "=?utf-8?q?", "=3D",
         "Z3LDvG4", "gr=C3=BCn", "Anfang", "begin 644", "<p>", "title", "attribute", "&uuml;", "comment", "script", "boundary", "--b", "text/plain",
         "base64", "x-none", "line of a text", "needle\tx", "  ", " ", "This is a preamble", "epilogue", "inner", "phantom", "Reporting-MTA"]
EIGHT_BIT = ["grün", "GRÜN", "Gru\u0308n", "weiß", "WEISS", "σίσυφος", "ΣΊΣΥΦΟΣ", "ΣΊΣΥΦΟσ", "МИР", "мир", "日本", "ü", "ﬁeld-1999", "”"]
FIELDS = ["SUBJECT", "FROM", "TO", "CC", "BCC", "HEADER Message-ID", "HEADER X-Folded", "HEADER X-Word", "HEADER X-Twice", "HEADER X-Space", "HEADER References"]
FIELD_TEXTS = ["needle", "grün", "GRÜN", "example", "=?utf-8?q?", "jörg", "jörg <j@x>", "a@b", "user@host", "Needle Haystack", "group", "friends:", "x",
               "re:", "one two", "one  two", "two three", "nee dle", "nee  dle", "two", "X-Evil", "grün wald", "thread", "star.1@x", "<star.1@x>"]


def keys():
    yield from ((key,) for key in FLAGS)
    for key in ("BEFORE", "ON", "SINCE"):
        yield from (("%s %s" % (key, day),) for day in DAYS)
    for key in ("SENTBEFORE", "SENTON", "SENTSINCE"):
        # Of those that have one.
        yield from (("%s %s HEADER DATE \"\"" % (key, day),) for day in DAYS)
    for key in ("LARGER", "SMALLER"):
        yield from (("%s %d" % (key, size),) for size in SIZES)
    for key in ("BODY", "TEXT"):
        for text in TEXTS + EIGHT_BIT:
            yield key, text.encode()
    for key in FIELDS:
        for text in FIELD_TEXTS:
            yield key, text.encode()
    for name in ("Subject", "SUBJECT", "X-Needle", "X-Empty", "X-Blank", "X-None", "Date", "Content-Type", "X-Field-1999", "Haystack-Field", "X-UID", "Status"):
        yield "HEADER", name, "\"\""
    for name, text in [("Content-Type", "alternative"), ("Content-Type", "multipart/mixed"), ("Date", "+0200"), ("Date", "Nov"), ("X-Case", "=chain="),
                       ("Content-Disposition", "attachment"), ("MIME-Version", "1"), ("Reply-To", "b"), ("In-Reply-To", "loop")]:
        yield "HEADER", name, text
    yield from ((key,) for key in [
        "1", "1:10", "10:1", "*", "1:*", "*:1000000", "5,3,1", "UID 1", "UID 1:10", "UID *", "UID 1:*", "UID 100000:*", "UID 5,3,1",
        "1:20 UID 10:30", "NOT 1:20", "NOT UID 1:20", "SEEN FLAGGED", "SEEN UNFLAGGED", "OR SEEN FLAGGED", "OR SEEN NOT FLAGGED", "NOT SEEN", "NOT NOT SEEN",
        "OR OR SEEN FLAGGED ANSWERED", "OR (SEEN FLAGGED) (ANSWERED)", "(SEEN (NOT (FLAGGED)))", "((ALL))", "NOT (SEEN FLAGGED)",
        "OR FROM needle SUBJECT needle", "NOT TEXT needle", "NOT BODY needle SEEN", "OR BODY needle TEXT haystack", "OR LARGER 100000 SMALLER 30",
        "NOT SUBJECT \"\"", "NOT HEADER Subject \"\"", "SUBJECT \"\"", "TEXT \"\"", "BODY \"\"", "FROM \"\"", "TO \"\"",
        "ON 1-Nov-2025 NOT SENTON 1-Nov-2025", "HEADER DATE \"\" OR SENTBEFORE 1-Jan-1990 SENTSINCE 1-Jan-2100", "HEADER DATE \"\" NOT SENTSINCE 1-Jan-1970"])


# By their names there, in bytes of theirs.
CHARSETS = [("US-ASCII", b"needle"), ("UTF-8", "grün".encode()), ("utf-8", "МИР".encode()), ("ISO-8859-1", "grün".encode("latin-1")),
            ("KOI8-R", "мир".encode("koi8-r")), ("ISO-2022-JP", "日本".encode("iso-2022-jp")), ("SHIFT_JIS", "日本".encode("shift_jis")),
            ("X-NONE", b"needle"), ("\"UTF-8\"", b"needle")]
# Answered with a status alone.
REFUSED = ["", "FOO", "NOT", "OR SEEN", "SEEN)", "(SEEN", "()", "ON 1-Foo-2025", "ON 2025-11-01", "LARGER -1", "LARGER x", "UID x", "1:0", "0", "UID 0", "KEYWORD",
           "HEADER x", "1,,2", "1:", "CHARSET", "CHARSET UTF-8", "ON 32-Nov-2025", "5000", "1:5000", "KEYWORD \\Seen"]


def item_of(words):
    """The key; of keys that need another word, with that."""
    first = words[0].split(" ")
    return "-".join(first[:2]) if first[0] in ("HEADER", "NOT", "OR") else first[0]


def question(words):
    return " ".join(word if isinstance(word, str) else word.decode(errors="backslashreplace") for word in words)


def ask(session, names):
    found = {}

    def note(item, words, reply):
        shown = question(words)
        if reply.status != "OK":
            found[item, reply.status, shown] = True
        for number in reply.numbers("SEARCH"):
            found[item, names[number - 1], shown] = True

    for words in keys():
        # UTF-8 only where there is some: both forms are asked.
        literal = any(isinstance(word, bytes) and not word.isascii() for word in words)
        note(item_of(words), words, session.ask("SEARCH", *(("CHARSET UTF-8",) if literal else ()), *words))
    for charset, text in CHARSETS:
        for key in ("BODY", "SUBJECT"):
            note("CHARSET", (charset, key, text), session.ask("SEARCH", "CHARSET " + charset, key, text))
    for at, words in enumerate(REFUSED):
        if at % 5 == 0:
            # Too many errors end a session.
            session.again()
        reply = session.ask("SEARCH " + words if words else "SEARCH")
        found["refused", words.replace(" ", "-"), "SEARCH " + words] = reply.status
    for words in ("SEEN", "SUBJECT needle", "UID 5:20"):
        note("UID-SEARCH", (words,), session.ask("UID SEARCH", words))
    for returned in ("", "ALL", "MIN", "MAX", "COUNT", "MIN MAX", "MIN COUNT", "ALL COUNT MIN MAX"):
        for key in ("SEEN", "KEYWORD nobody"):
            for uid in ("", "UID "):
                reply = session.ask("%sSEARCH RETURN (%s) %s" % (uid, returned, key)).must()
                # The tag is another each time.
                values = [value for response in reply.of("ESEARCH") for value in response.values[1:]]
                told = iter(value for value in values if value != b"UID")
                found["ESEARCH", key, uid + returned] = [b"UID" in values, *sorted(zip(told, told))]
    return found


TEXT = "BODY TEXT NOT-TEXT OR-BODY CHARSET SUBJECT FROM TO CC"
SENT = "SENTBEFORE SENTON SENTSINCE ON HEADER-DATE"
REASONS = {
    (SENT, "RFC 9051 §6.4.4: without a day in its Date field a message was sent on none, not on 1 January 1970"):
        "fields-empty-values fields-blank-values fields-subject-long date-iso date-junk date-empty date-day-32",
    (SENT, "RFC 9051 §6.4.4: the time is disregarded, and so is what is wrong with it; where a day can be read that is it"): "date-dashes date-ctime date-hour-25",
    (SENT, "RFC 5322 §4.3: 1900 is added to a year of three digits"): "date-three-digit-year",
    (SENT, "RFC 5322 §3.3: years reach from 1900 to 9999"): "date-before-epoch date-far",
    (SENT, "RFC 5322 §3.6: there is to be one; we take the first"): "fields-twice",
    (TEXT, "RFC 2045 §6.8: padding may end a piece, and what is not in the alphabet is stepped over"): "find-base64-junk find-base64-two random-282",
    (TEXT, "RFC 2045 §6.4: an encoding nobody knows; what can be read of it is text"):
        "find-unknown-encoding find-uuencode content-encoding-junk content-encoding-empty content-encoding-quoted content-encoding-twice content-type-twice",
    (TEXT, "RFC 2045 §5.2: without a type that can be read it is text/plain"):
        "type-no-subtype type-slash-only type-slash-first type-slash type-empty type-blank type-junk type-comma parts-multipart-no-subtype",
    (TEXT, "RFC 2045 §4: without MIME-Version the other fields may mean what they say"): "random-309",
    (TEXT, "bounds: what lies in more levels or parts than we look into is searched as it stands"): "deep-65 deep-90 deep-100 deep-101 deep-300 wrapped-64 wrapped-99 wide-5000",
    (TEXT, "RFC 2046 §5.1.1: a boundary line is all of the line"): "parts-boundary-prefix parts-boundary-trailing-blank",
    (TEXT, "RFC 5051 §2: by its decomposition of any type a ligature is its letters"): "fields-many-fields",
    (TEXT, "RFC 5051 §2 (1): in no charset; where it is not UTF-8 it is read as what it most often is"): "8bit-body word-raw-latin to-latin-1 word-unknown word-name-unknown",
    (TEXT, "RFC 2231 §5: a language may stand in an encoded word"): "word-language word-name-language",
    (TEXT, "RFC 2047 §5 (3): a character cut between words, as many programs do, is put together"):
        "word-cut-character word-cut-base64 word-name-cut-character word-name-cut-base64 word-bad-base64 word-name-bad-base64",
    (TEXT, "RFC 2047 §5 (2): an encoded word may stand in a comment"): "word-name-in-parentheses",
    (TEXT, "RFC 2047 §6.2: no control character gets into a field by being encoded; a blank stands for it"): "word-nul word-newline",
    (TEXT, "RFC 3501 §4.3: NUL can't be asked for, and stands between nothing"): "nul",
    (TEXT, "RFC 5322 §2.2.3: blanks are kept as they are"): "thread-subject-blanks-1 fields-subject-tabs",
    (TEXT, "RFC 9051 §6.4.4: the text of the field is searched, not what stands for what is missing in it"):
        "to-no-local to-open-quote to-open-bracket to-open-comment to-angle-twice to-comments-within to-empty-brackets to-commas",
    (TEXT, "Debian's libraries know UTF-32, which WHATWG's Encoding and RFC 9051 §6.4.4 do not ask for"): "text-utf-32-base64",
    ("*:1000000", "RFC 9051 §9 seq-range: from the last one on, in any order"): "size-1025",
    ("refused", "RFC 9051 §9: date-day has days that are, flag-keyword has no backslash"): "ON-32-Nov-2025 KEYWORD-\\Seen",
}
