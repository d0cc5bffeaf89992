"""SORT by every criterion, and THREAD by both algorithms, over all the corpus and case by case."""
import bisect

from corpus import threads

CRITERIA = ["ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO"]
COMBINED = ["SUBJECT DATE", "SUBJECT REVERSE DATE", "REVERSE SUBJECT REVERSE DATE", "FROM SUBJECT", "REVERSE SIZE ARRIVAL", "SIZE SIZE", "TO CC FROM"]
# Some messages of the corpus, so that one odd one does not put all others out of order.
SETS = ["ALL", "HEADER X-Case \"\"", "SUBJECT date", "SUBJECT internal", "SUBJECT \"typed\"", "SMALLER 100"]


class Order(list):
    """Names in an order; two of them differ by the fewest names that have to go so that the rest is the same."""

    def differences(self, other):
        """Name, and what is before it in each."""
        place = {name: at for at, name in enumerate(other)}
        # The longest row of names that ascend in the other, too: by the last of a row of each length.
        ends, lasts, before = [], [], {}
        for name in (name for name in self if name in place):
            length = bisect.bisect_left(ends, place[name])
            before[name] = lasts[length - 1] if length else None
            ends[length:length + 1], lasts[length:length + 1] = [place[name]], [name]
        kept, name = set(), lasts[-1] if lasts else None
        while name is not None:
            kept.add(name)
            name = before[name]
        behind = [dict(zip(order, ["first", *order])) for order in (self, other)]
        return [(name, *(each.get(name, "nowhere") for each in behind)) for name in {**behind[0], **behind[1]} if name not in kept]


def tree(values, names):
    """A thread as THREAD tells it: numbers and lists, as names and tuples."""
    return tuple(names[int(value) - 1] if isinstance(value, bytes) else tree(value, names) for value in values)


def sort(session, names):
    found = {}
    for criteria in [*CRITERIA, *("REVERSE " + by for by in CRITERIA), *COMBINED]:
        for key in SETS:
            reply = session.ask("SORT (%s) UTF-8 %s" % (criteria, key)).must()
            found[criteria.replace(" ", "-"), None, key] = Order(names[number - 1] for number in reply.numbers("SORT"))
    return found


def thread(session, names):
    found = {}
    for algorithm in ("ORDEREDSUBJECT", "REFERENCES"):
        for case in threads.CASES:
            reply = session.ask("THREAD %s UTF-8 HEADER X-Case" % algorithm, b"=" + case + b"=").must()
            found[algorithm, case.decode(), "by case"] = [tree(value, names) for value in reply.of("THREAD")[0].values]
        reply = session.ask("THREAD %s UTF-8 ALL" % algorithm).must()
        for root in (tree(value, names) for value in reply.of("THREAD")[0].values):
            first = root
            while isinstance(first, tuple):
                first = first[0]
            found[algorithm + "-ALL", first, "its thread"] = root
    return found


SORT_REASONS = {
    ("*", "RFC 2047 §2: an encoded word has a charset; an empty one stays as it is written"): "word-empty-charset",
    ("*", "RFC 5256 §2.1 (1): what is in no charset, or in one nobody knows, is read as what it most often is"):
        "word-raw-latin word-unknown word-name-unknown to-latin-1",
    ("*", "RFC 2231 §5: a language may stand in an encoded word"): "word-language",
    ("*", "RFC 2047 §5 (3): a character cut between words, as many programs do, is put together"):
        "word-cut-character word-cut-base64 word-bad-base64 word-name-cut-character word-name-cut-base64 word-name-bad-base64",
    ("*", "RFC 2047 §6.2: no control character gets into a field by being encoded; a blank stands for it"): "word-nul",
    ("*", "RFC 5322 §2.2: neither NUL nor a CR alone has a place in a header; we leave them out"): "nul fields-subject-cr",
    ("*", "RFC 5322 §3.3: years reach from 1900"): "date-before-epoch date-epoch",
    ("*", "RFC 5322 §4.3: 1900 is added to a year of three digits"): "date-three-digit-year",
    ("*", "RFC 5256 §2.2: a time that can't be read is 00:00:00, a zone that can't be read is UTC"): "date-hour-25 date-zone-huge",
    ("*", "RFC 4155 §A: the time is in UTC, but where it has a zone that is meant"): "internal-zone-before",
    ("*", "RFC822.SIZE differs, with a reason"): "header-only quoted-from find-quoted-line random-63 random-21 random-33 random-325",
    ("*", "RFC 5256 §3 (TO): by what can be read of the first address, not by what stands for what is missing in it"):
        "to-no-local to-commas to-open-quote to-empty-brackets to-angle-twice to-open-comment word-name-in-quotes",
    ("*", "RFC 5957 §3: by the name, else by the address, all of it, and that without a domain, if it has none"): "fields-to-twice to-two-ats to-no-domain",
    ("*", "beside one of those above"): "to-raw-8bit fields-subject-tabs",
}
THREAD_REASONS = {
    ("*", "RFC 5256 §2.1 (1): by subjects in UTF-8; the reasons of SORT tell which are read in another way"):
        "word-empty-charset word-unknown word-language word-cut-character word-bad-base64 nul fields-subject-cr thread-subject-coded-1 word-underscore",
}
