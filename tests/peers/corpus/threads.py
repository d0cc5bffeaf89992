"""Conversations, each known by its `X-Case` field, `=name=`: replies, broken references, subjects that only look alike, loops."""


def reply(case, number, subject, *, to=(), references=(), day=None, id=None):
    """Message `number` of a case; `references` and `to` (In-Reply-To) are numbers, or what is written as it stands."""
    ids = lambda names: b" ".join(name if isinstance(name, bytes) else b"<%s.%d@x>" % (case, name) for name in names)
    fields = [b"X-Case: =" + case + b"=", b"From: a%d@x" % number, b"Subject: " + subject]
    if day is not None:
        fields.append(b"Date: Sat, %d Nov 2025 12:%02d:00 +0000" % (1 + day // 60, day % 60))
    if id != b"":
        fields.append(b"Message-ID: " + (id or b"<%s.%d@x>" % (case, number)))
    if references:
        fields.append(b"References: " + ids(references))
    if to:
        fields.append(b"In-Reply-To: " + ids(to))
    return "thread-%s-%d" % (case.decode(), number), b"\n".join(fields) + b"\n\ntext\n"


CASES = {
    b"chain": [(b"chain", {}), (b"Re: chain", {"references": [1]}), (b"Re: chain", {"references": [1, 2]}), (b"Re: chain", {"references": [1, 2, 3]})],
    b"star": [(b"star", {}), (b"Re: star", {"references": [1]}), (b"Re: star", {"references": [1]}), (b"Re: star", {"references": [1]})],
    b"turned": [(b"Re: turned", {"references": [3]}), (b"Re: turned", {"references": [3, 1]}), (b"turned", {})],
    b"replyto": [(b"replyto", {}), (b"Re: replyto", {"to": [1]}), (b"Re: replyto", {"to": [2]})],
    b"both": [(b"both", {}), (b"other", {}), (b"Re: both", {"references": [1], "to": [2]})],
    b"to-two": [(b"one", {}), (b"two", {}), (b"Re: one", {"to": [1, 2]})],
    b"to-comment": [(b"one", {}), (b"Re: one", {"to": [b"Your message of Sunday <to-comment.1@x>"]})],
    b"to-address": [(b"one", {}), (b"three", {"to": [b"\"A\" <someone@x>, <to-address.1@x>"]})],
    b"gone": [(b"Re: gone", {"references": [7]}), (b"Re: gone", {"references": [7]}), (b"Re: gone", {"references": [7, 1]})],
    b"gone-middle": [(b"one", {}), (b"Re: one", {"references": [1, 8]}), (b"Re: one", {"references": [1, 8, 9]})],
    b"gone-subjects": [(b"one", {"references": [7]}), (b"two", {"references": [7]}), (b"three", {"references": [8]})],
    b"subject": [(b"subject", {}), (b"Re: subject", {}), (b"Fwd: subject", {}), (b"SUBJECT", {})],
    b"subject-re-first": [(b"Re: first", {}), (b"first", {}), (b"Re: first", {})],
    b"subject-all-re": [(b"Re: all", {}), (b"Re: all", {}), (b"Re: Re: all", {})],
    b"subject-none-re": [(b"same", {}), (b"same", {}), (b"same", {})],
    b"subject-blank": [(b"", {}), (b"", {}), (b"Re:", {})],
    b"subject-list": [(b"[list] topic", {}), (b"Re: [list] topic", {}), (b"[list] Re: topic", {}), (b"topic (fwd)", {})],
    b"subject-fwd": [(b"[Fwd: topic]", {}), (b"topic", {}), (b"Re: [Fwd: topic]", {})],
    b"subject-blobs": [(b"[a] [b] topic", {}), (b"topic", {}), (b"[a]", {}), (b"[a] ", {})],
    b"subject-blanks": [(b"one  two", {}), (b"Re: one\ttwo", {}), (b"re :one two", {})],
    b"subject-coded": [(b"=?utf-8?q?gr=C3=BCn?=", {}), (b"Re: =?iso-8859-1?q?gr=FCn?=", {}), (b"=?utf-8?q?Re:_gr=C3=BCn?=", {})],
    b"subject-case": [("grün".encode(), {}), ("Re: GRÜN".encode(), {})],
    b"subject-dummy": [(b"Re: dummy", {"references": [7]}), (b"Re: dummy", {"references": [7]}), (b"dummy", {})],
    b"subject-dummies": [(b"Re: dd", {"references": [7]}), (b"Re: dd", {"references": [7]}), (b"Re: dd", {"references": [8]}), (b"Re: dd", {"references": [8]})],
    b"loop": [(b"one", {"references": [2]}), (b"two", {"references": [1]})],
    b"loop-three": [(b"one", {"references": [3]}), (b"two", {"references": [1]}), (b"three", {"references": [2]})],
    b"self": [(b"self", {"references": [1]}), (b"Re: self", {"references": [1, 2]})],
    b"loop-within": [(b"one", {"references": [2, 1, 2]}), (b"two", {"references": [1, 2, 1]})],
    b"twice": [(b"twice", {}), (b"twice", {"id": b"<twice.1@x>"}), (b"Re: twice", {"references": [1]})],
    b"no-id": [(b"no-id", {"id": b""}), (b"Re: no-id", {"id": b"", "references": [3]}), (b"no-id", {})],
    b"bad-id": [(b"one", {"id": b"bad-id.1@x"}), (b"two", {"references": [b"bad-id.1@x"]}), (b"three", {"id": b"<>"}), (b"four", {"id": b"< bad-id.4@x >"})],
    b"id-case": [(b"one", {"id": b"<A@x>"}), (b"two", {"references": [b"<a@x>"]})],
    b"id-quoted": [(b"one", {"id": b"<\"q\"@x>"}), (b"two", {"references": [b"<q@x>"]})],
    b"id-comment": [(b"one", {"id": b"(c) <id-comment.1@x> (d)"}), (b"two", {"references": [1]})],
    b"references-commas": [(b"one", {}), (b"two", {"references": [b"<references-commas.1@x>, <other@x>"]})],
    b"references-folded": [(b"one", {}), (b"two", {}), (b"three", {"references": [b"<references-folded.1@x>\n\t<references-folded.2@x>"]})],
    b"references-joined": [(b"one", {}), (b"two", {}), (b"three", {"references": [b"<references-joined.1@x><references-joined.2@x>"]})],
    b"references-cut": [(b"one", {}), (b"two", {"references": [b"<references-cut.1@x> <references-c"]})],
    b"references-junk": [(b"one", {}), (b"two", {"references": [b"junk <references-junk.1@x> more junk"]})],
    b"references-empty": [(b"one", {}), (b"two", {"references": [b" "], "to": [1]})],
    b"references-turned": [(b"one", {}), (b"two", {"references": [1]}), (b"three", {"references": [2, 1]})],
    b"references-conflict": [(b"one", {}), (b"two", {"references": [1]}), (b"three", {"references": [2]}), (b"four", {"references": [1, 3]})],
    b"dates": [(b"dates", {"day": 50}), (b"Re: dates", {"references": [1], "day": 40}), (b"Re: dates", {"references": [1], "day": 30}), (b"Re: dates", {"references": [1], "day": 200})],
    b"dates-turned": [(b"b", {"day": 90}), (b"a", {"day": 80}), (b"c", {"day": 70})],
    b"dates-same": [(b"same", {"day": 5}), (b"same", {"day": 5}), (b"other", {"day": 5})],
    b"dates-dummy": [(b"late", {"references": [7], "day": 300}), (b"early", {"day": 200}), (b"first", {"references": [7], "day": 100})],
    b"deep": [(b"Re: deep", {"references": list(range(1, n))}) for n in range(1, 40)],
    b"long-references": [(b"one", {}), (b"two", {"references": [b"<none.%d@x>" % n for n in range(500)] + [1]})],
}


def threads():
    for case, messages in CASES.items():
        for number, (subject, how) in enumerate(messages, 1):
            yield reply(case, number, subject, **{"day": number, **how})
