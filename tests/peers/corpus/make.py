"""How the messages of the corpus are put together."""

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
