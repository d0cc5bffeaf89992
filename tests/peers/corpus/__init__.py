"""The messages that both servers are asked about: the same ones each time."""
from . import envelopes, marks, parts, texts, threads, types, words

DATE = b"Sat Nov  1 12:26:40 2025"


def letters():
    """Name, message, and the date in its From line."""
    plain = [*envelopes.envelopes(), *types.types(), *parts.parts(), *parts.random_ones(400), *words.words(), *texts.texts(),
             *threads.threads()]
    return [*((name, text, DATE) for name, text in plain), *marks.marks()]


def write(path):
    """Into an mbox; tells the names."""
    names = []
    with open(path, "wb") as out:
        for name, text, date in letters():
            names.append(name)
            out.write(b"From x@y " + date + b"\n" + text + (b"\n" if text.endswith(b"\n") else b"\n\n"))
    assert len(set(names)) == len(names), "two of one name"
    return names
