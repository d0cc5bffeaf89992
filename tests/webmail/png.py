"""Pictures of windows: read, and written small."""
import struct
import zlib


def read(data):
    """Width, height, and rows of RGB."""
    at, body, width, height, channels = 8, b"", 0, 0, 3
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at:at + 4]), data[at + 4:at + 8]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
            assert depth == 8 and colour in (2, 6), (depth, colour)
            channels = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            body += data[at + 8:at + 8 + length]
        at += length + 12
    raw, stride, before, rows = zlib.decompress(body), width * channels, bytearray(width * channels), []
    for y in range(height):
        start = y * (stride + 1)
        before = unfiltered(raw[start], bytearray(raw[start + 1:start + 1 + stride]), before, channels)
        rows.append(bytes(before) if channels == 3 else b"".join(bytes(before[x:x + 3]) for x in range(0, stride, 4)))
    return width, height, rows


def unfiltered(kind, row, before, step):
    if kind == 1:
        for x in range(step, len(row)):
            row[x] = row[x] + row[x - step] & 255
    elif kind == 2:
        for x, above in enumerate(before):
            row[x] = row[x] + above & 255
    elif kind == 3:
        for x, above in enumerate(before):
            row[x] = row[x] + ((row[x - step] if x >= step else 0) + above >> 1) & 255
    elif kind == 4:
        for x, above in enumerate(before):
            left, corner = (row[x - step], before[x - step]) if x >= step else (0, 0)
            guess = left + above - corner
            by_left, by_above, by_corner = abs(guess - left), abs(guess - above), abs(guess - corner)
            best = left if by_left <= by_above and by_left <= by_corner else above if by_above <= by_corner else corner
            row[x] = row[x] + best & 255
    return row


def small(data, colours=12):
    """The same with few colours: those that are there most often, and for each other one the nearest of these."""
    width, height, rows = read(data)
    counts = {}
    for row in rows:
        for x in range(0, len(row), 3):
            colour = row[x:x + 3]
            counts[colour] = counts.get(colour, 0) + 1
    palette = sorted(counts, key=counts.get, reverse=True)[:colours]
    # A few that are rare and unlike all others: what is red or blue in them is there for a reason.
    for colour in sorted(counts, key=counts.get, reverse=True):
        if len(palette) < 16 and min(distance(colour, own) for own in palette) > 3000:
            palette.append(colour)
    nearest = {colour: min(range(len(palette)), key=lambda at, colour=colour: distance(colour, palette[at])) for colour in counts}
    lines = b"".join(b"\0" + packed([nearest[row[x:x + 3]] for x in range(0, len(row), 3)]) for row in rows)
    return written(struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0), lines, chunk(b"PLTE", b"".join(palette)))


def picture(width, lines):
    """One of RGB, each line with its filter before it."""
    return written(struct.pack(">IIBBBBB", width, len(lines), 8, 2, 0, 0, 0), b"".join(lines))


def written(head, lines, more=b""):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def packed(line):
    """Two points in a byte."""
    line = line + [0] * (len(line) % 2)
    return bytes(one << 4 | other for one, other in zip(line[::2], line[1::2]))


def distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
