"""FETCH: every item, every section of every part, pieces of them, and decoded parts."""
import itertools
import re

ALWAYS = ["BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]", "RFC822.HEADER",
          "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "BODY.PEEK[HEADER.FIELDS (from TO x-none date Content-Type)]",
          "BODY.PEEK[HEADER.FIELDS.NOT (Subject)]", "BODY.PEEK[HEADER.FIELDS.NOT (From To X-None Date Content-Type Message-ID)]",
          "BODY.PEEK[]<0.10>", "BODY.PEEK[]<7.1000000>", "BODY.PEEK[]<100000000.5>", "BODY.PEEK[TEXT]<1.7>", "BODY.PEEK[HEADER]<3.20>",
          "BODY.PEEK[HEADER.FIELDS (SUBJECT)]<2.9>", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]<500.9>"]
# Whether there is such a part or not.
NUMBERS = ["1", "2", "1.2", "1.1.2", "1000000"]
# As many parts of one message are asked for.
MOST = 12


def of_part(number, is_leaf):
    questions = ["BODY.PEEK[%s%s]" % (number, suffix) for suffix in (
        "", ".MIME", ".HEADER", ".TEXT", ".HEADER.FIELDS (SUBJECT)", ".HEADER.FIELDS.NOT (Subject)")]
    questions += ["BODY.PEEK[%s]<2.5>" % number, "BODY.PEEK[%s.MIME]<1.4>" % number]
    # Of these only may it be asked (RFC 9051 §6.4.5).
    if is_leaf:
        questions += ["BINARY.PEEK[%s]" % number, "BINARY.PEEK[%s]<1.4>" % number, "BINARY.SIZE[%s]" % number]
    return questions


def parts(structure):
    """The numbers of the parts in a BODYSTRUCTURE, in their order, and whether they are leaves. Some are deep."""
    found, work = {}, [(structure, "", True)]
    while work:
        body, number, is_message = work.pop()
        children = list(itertools.takewhile(lambda each: isinstance(each, list), body))
        if children:
            if not is_message:
                found[number] = False
            prefix = number + "." if number else ""
            work += [(child, "%s%d" % (prefix, at), False) for at, child in reversed(list(enumerate(children, 1)))]
            continue
        # A message that is no multipart has a part 1.
        number = (number + ".1" if number else "1") if is_message else number
        holds_message = body[0].lower() == b"message" and len(body) > 8 and isinstance(body[8], list)
        found[number] = not holds_message
        if holds_message:
            work.append((body[8], number, True))
    return found


def item_of(question):
    """Under which name a difference may be excused."""
    if question.startswith("BINARY"):
        return question[:question.index("[")].replace(".PEEK", "")
    if question == "RFC822.HEADER":
        return question
    inner = question[question.find("[") + 1:question.find("]")]
    words = inner.split(" ")[0].split(".")
    names = [word for word in words if not word.isdigit()]
    piece = "<>" if "<" in question else ""
    part = "n" if len(names) < len(words) else ""
    return "BODY[" + ".".join(filter(None, [part, *names])) + "]" + piece


def whole(session, names):
    """All items that are told of all messages at once."""
    found = {}
    reply = session.command("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)").must()
    for response in reply.of("FETCH"):
        for item, value in response.items().items():
            if item == "FLAGS":
                value = sorted(flag for flag in value if flag.lower() != b"\\recent")
            found[item, names[response.number - 1], "FETCH"] = value
    return found


def plan(found, names):
    """Which sections are asked for of each message, by what Pillarbox says it is made of."""
    questions = {}
    for name in names:
        leaves = parts(found["BODYSTRUCTURE", name, "FETCH"])
        numbers = list(leaves)
        middle = len(numbers) // 2
        chosen = dict.fromkeys(NUMBERS + numbers[:MOST // 2] + numbers[middle:middle + 2] + numbers[-MOST // 2:])
        questions[name] = ALWAYS + [question for number in chosen for question in of_part(number, leaves.get(number, True))]
    return questions


def label(question):
    """Under which name the answer comes."""
    return re.sub(r"<(\d+)\.\d+>$", r"<\1>", question.replace(".PEEK", "")).upper()


def values(reply):
    return {name.upper(): value for response in reply.of("FETCH") for name, value in response.items().items()}


def one_by_one(session, number, questions):
    """Of a message that makes trouble: the value, or the status, of each."""
    told = {}
    for question in questions:
        try:
            reply = session.command("FETCH %d (%s)" % (number, question))
        except EOFError:
            told[question] = "closed"
            session.again()
            continue
        told[question] = values(reply).get(label(question), "nothing") if reply.status == "OK" else reply.status
    return told


def all_at_once(session, number, questions):
    try:
        reply = session.command("FETCH %d (%s)" % (number, " ".join(questions)))
    except EOFError:
        session.again()
        return None
    if reply.status != "OK" or len(reply.of("FETCH")) != 1:
        return None
    items = values(reply)
    return {question: items.get(label(question), "nothing") for question in questions}


def sections(session, names, questions):
    found = {}
    for number, name in enumerate(names, 1):
        told = all_at_once(session, number, questions[name]) or one_by_one(session, number, questions[name])
        for question, value in told.items():
            # Of a part that is not there NIL and the empty string say the same: it is an nstring (RFC 9051 §7.5.2).
            found[item_of(question), name, question] = b"" if value is None else value
    return found


# What may be told in another way, why, and of which messages.
BODIES = "BODY BODYSTRUCTURE"
DECODED = "BINARY BINARY.SIZE"
PARTS = BODIES + " BODY[n] BODY[n]<> BODY[n.MIME] BODY[n.MIME]<> BODY[n.HEADER] BODY[n.TEXT] BODY[n.HEADER.FIELDS] BODY[n.HEADER.FIELDS.NOT] " + DECODED
REASONS = {
    ("ENVELOPE", "RFC 5322 §4.4: elements of a list may be empty"): "to-commas",
    ("ENVELOPE", "RFC 5322 §3.4: a comment behind an address is a name, in angle brackets too; an address may stand where a name does"):
        "to-comment to-address-as-name",
    ("ENVELOPE", "no address by RFC 5322 §3.4: we show what can be read of it, and the addresses behind it"):
        "to-no-local to-semicolon-list to-blank-list to-open-quote to-open-bracket to-open-comment to-two-ats to-dot-ends to-trailing to-angle-twice",
    ("ENVELOPE", "RFC 5322 §3.6: there is to be one; we take the first"): "fields-twice date-twice",
    ("ENVELOPE", "RFC 5322 §2.2.3: to unfold is to take the line ends out, and nothing else; blanks around a value are not part of it"):
        "fields-subject-folded fields-subject-folded-first fields-subject-tabs fields-blank-values word-two-many-blanks "
        "word-name-two-many-blanks thread-subject-blanks-1 thread-subject-blanks-2",
    ("ENVELOPE", "RFC 5322 §2.2: a CR alone has no place in a header; we leave it out"): "fields-subject-cr",
    ("ENVELOPE", "RFC 3501 §4.3: NUL can't be told; we leave it out"): "nul",
    ("INTERNALDATE", "RFC 4155 §A: the time is in UTC, but where it has a zone that is meant"): "internal-zone-before",
    ("*", "RFC 5322 §2.1: a header ends with an empty line; we count it also where the file has only the one that ends a message (RFC 4155)"):
        "header-only random-21 random-33 random-63 random-325",
    ("*", "RFC 4155 (mboxrd): the quoting of From lines is not part of the message"): "quoted-from find-quoted-line",
    (BODIES, "RFC 2045 §5.2: without a type that can be read it is text/plain"):
        "type-no-subtype type-slash-only type-slash-first type-slash type-empty type-blank type-junk type-comma parts-cut-in-header parts-multipart-no-subtype",
    (BODIES, "RFC 2045 §5.1: types are the same in any case"): "type-rfc822-case",
    (PARTS, "no parameters by RFC 2045 §5.1, but it is plain what is meant, or nothing is"):
        "type-semicolons type-no-name type-unquoted-blanks type-unquoted-specials type-open-quote content-disposition-bare-name parts-boundary-specials",
    (BODIES, "no encoding by RFC 2045 §6.1: we tell the first word"): "content-encoding-junk content-encoding-semicolon",
    (PARTS, "RFC 2045 §4: without MIME-Version the other fields may mean what they say"): "random-309",
    (BODIES, "RFC 2183 §2: a disposition has a type"): "content-disposition-empty content-disposition-junk",
    (BODIES, "RFC 3282 §2, RFC 5322 §4.4: elements of a list may be empty"): "content-language-commas",
    (BODIES, "RFC 9051 §7.5.2: parameters are told as they are written, in their order, and no number in a name is made another"):
        "parameter-both-turned parameter-star-only parameter-huge-number parameter-part-both-turned parameter-part-star-only parameter-part-huge-number",
    (PARTS, "RFC 2046 §5.1.1: the line end before a boundary line belongs to that"):
        "nested-rfc822 rfc822-encoded rfc822-header-only parts-outer-in-rfc822-header random-204 find-parts-inner-message "
        "parts-same-boundary parts-prefix-boundary parts-encoded-multipart random-58 parts-outer-in-rfc822-header",
    (PARTS, "RFC 2046 §5.1.1: a boundary line is all of the line; a boundary is not empty, does not end with a blank, and a longer one is no shorter one"):
        "parts-boundary-prefix parts-empty-boundary parts-boundary-trailing-blank parts-boundary-too-long",
    (PARTS, "bounds: we look into 64 levels and 4,000 parts, Dovecot into 100 and 10,000"):
        "deep-64 deep-65 deep-90 deep-100 deep-101 deep-300 wrapped-64 wrapped-99 wrapped-120 wide-5000",
    ("BODY[n.MIME] BODY[n.MIME]<> BODY[n.HEADER]", "RFC 9051 §6.4.5: a header is told with the empty line behind it, if there is one, and be it right before a boundary"):
        "rfc822-empty parts-empty-part parts-empty-part-body parts-digest-empty header-only random-291 %s" % " ".join(
            "random-%d" % number for number in (
                7, 13, 23, 32, 44, 45, 47, 49, 52, 53, 58, 59, 72, 73, 75, 78, 91, 95, 97, 101, 112, 132, 138, 147, 157, 168, 171, 190, 191, 193,
                198, 207, 209, 216, 217, 220, 239, 252, 256, 257, 258, 262, 278, 285, 288, 290, 297, 309, 310, 311, 314, 315, 320, 337, 346,
                354, 374, 379, 384, 399)),
    ("BODY[n.HEADER.FIELDS] BODY[n.HEADER.FIELDS.NOT]", "RFC 9051 §6.4.5: the empty line is told with all fields, also with none of none"): "random-231",
    ("BODY[n]<>", "RFC 9051 §6.4.5: octets are counted; Dovecot miscounts behind a CR that stands alone"): "bare-cr",
    (DECODED, "RFC 9051 §7.5.2: NO is for an encoding nobody knows; RFC 2045 §6.7, §6.8: what is no code of a known one is stepped over"):
        "random-37 random-282 random-242 random-319 random-218 random-58 random-309 find-qp-bad find-base64-junk find-base64-cut find-base64-two "
        "find-base64-behind",
    (DECODED, "RFC 9051 §7.5.2: decoded is by the encoding that BODYSTRUCTURE tells, of both"):
        "content-encoding-empty content-encoding-quoted content-encoding-twice",
}
