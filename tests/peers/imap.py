"""An IMAP client that understands every answer it gets, or raises: what the tests ask servers with."""
import re
import socket
import zlib

ANNOUNCED = re.compile(rb"~?\{(\d+)\}\r\n\Z")
STATUS = (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH")
# Not in an atom, nor in a flag (RFC 9051 §9).
SPECIALS = frozenset(b'(){ %*"]\x7f') | frozenset(range(32))


class Malformed(Exception):
    """This is no IMAP."""


class Reader:
    """Values of a response: bytes for strings and atoms, None for NIL, lists."""

    def __init__(self, data, eight_bit=False):
        self.data, self.at, self.eight_bit = data, 0, eight_bit

    def fail(self, why):
        raise Malformed("%s at %d of %r" % (why, self.at, self.data[max(0, self.at - 200):self.at + 200]))

    def peek(self):
        return self.data[self.at:self.at + 1]

    def expect(self, text):
        if self.data[self.at:self.at + len(text)] != text:
            self.fail("no %r" % text)
        self.at += len(text)

    def value(self):
        first = self.peek()
        if first == b"(":
            return self.list()
        if first == b'"':
            return self.quoted()
        if first == b"{" or first == b"~" and self.data[self.at + 1:self.at + 2] == b"{":
            return self.literal()
        atom = self.atom()
        return None if atom.upper() == b"NIL" else atom

    def list(self):
        self.expect(b"(")
        items = []
        while self.peek() != b")":
            # Parts of a body stand side by side, all else is apart.
            if items and not (isinstance(items[-1], list) and self.peek() == b"("):
                self.expect(b" ")
            items.append(self.value())
        self.at += 1
        return items

    def quoted(self):
        self.expect(b'"')
        text = bytearray()
        while self.peek() != b'"':
            byte = self.peek()
            if byte == b"\\":
                self.at += 1
                byte = self.peek()
                if byte not in (b'"', b"\\"):
                    self.fail("a backslash before something else")
            elif byte in (b"\r", b"\n", b"\0", b"") or byte > b"\x7f" and not self.eight_bit:
                self.fail("not in a quoted string")
            text += byte
            self.at += 1
        self.at += 1
        return bytes(text)

    def literal(self):
        binary = self.peek() == b"~"
        self.at += binary
        end = self.data.find(b"}\r\n", self.at)
        length = self.data[self.at + 1:end]
        if end < 0 or not length.isdigit():
            self.fail("no literal")
        self.at = end + 3 + int(length)
        text = self.data[end + 3:self.at]
        if len(text) != int(length) or not binary and b"\0" in text:
            self.fail("a literal is cut, or has a NUL")
        return text

    def atom(self):
        start = self.at
        if self.peek() == b"\\":
            self.at += 1
        while self.at < len(self.data):
            byte = self.data[self.at]
            if byte == ord("["):
                self.section()
                continue
            # `\*` in PERMANENTFLAGS.
            if byte in SPECIALS and self.data[start:self.at + 1] != b"\\*":
                break
            self.at += 1
        if self.at == start:
            self.fail("nothing")
        return self.data[start:self.at]

    def section(self):
        """`[1.HEADER.FIELDS (A "B")]`: a part of the atom before it."""
        self.expect(b"[")
        while self.peek() != b"]":
            if self.peek() in (b"(", b'"', b"{"):
                self.value()
            elif self.peek() in (b"", b"\r"):
                self.fail("an open bracket")
            else:
                self.at += 1
        self.at += 1

    def rest(self):
        """Values up to the end of the line."""
        items = []
        # Threads stand side by side.
        while self.peek() == b" " or self.peek() == b"(" and items:
            self.at += self.peek() == b" "
            items.append(self.value())
        self.expect(b"\r\n")
        if self.at != len(self.data):
            self.fail("something behind the line")
        return items


class Response:
    """An untagged response: its name, the number before it, and what follows."""

    def __init__(self, data, eight_bit=False):
        reader = Reader(data, eight_bit)
        reader.expect(b"* ")
        self.number, word = None, reader.atom()
        if word.isdigit():
            self.number = int(word)
            reader.expect(b" ")
            word = reader.atom()
        self.name = word.upper().decode()
        self.code = None
        if word.upper() in STATUS:
            self.code, self.values = status_text(reader)
        else:
            self.values = reader.rest()

    def items(self):
        """Of a FETCH or STATUS, by name."""
        flat = self.values[-1]
        if len(flat) % 2:
            raise Malformed("%s %r" % (self.name, flat))
        return {name.decode(): value for name, value in zip(flat[::2], flat[1::2])}

    def __repr__(self):
        return "%s %s %r %r" % (self.number or "", self.name, self.code, self.values)


def status_text(reader):
    """Behind OK, NO, BAD and BYE: the code, as a list, and the text."""
    code = None
    reader.expect(b" ")
    if reader.peek() == b"[":
        end = reader.data.index(b"]", reader.at)
        inner = Reader(b" " + reader.data[reader.at + 1:end] + b"\r\n", reader.eight_bit)
        # BADCHARSET and the like have parentheses; these may hold brackets only in strings, which we never send.
        try:
            code = inner.rest()
        except Malformed:
            code = [reader.data[reader.at + 1:end]]
        reader.at = end + 2
    text = reader.data[reader.at:].rstrip(b"\r\n")
    return code, [text]


class Reply:
    """How a command ended, and all that was told until then."""

    def __init__(self, status, code, text, untagged):
        self.status, self.code, self.text, self.untagged = status, code, text, untagged

    def of(self, name):
        return [response for response in self.untagged if response.name == name]

    def numbers(self, name):
        """SEARCH, SORT or EXPUNGE: numbers."""
        if name == "EXPUNGE":
            return [response.number for response in self.of(name)]
        return [int(value) for response in self.of(name) for value in response.values if not isinstance(value, list)]

    def must(self, status="OK"):
        if self.status != status:
            raise Malformed("%s %r %r" % (self.status, self.code, self.text))
        return self


class Imap:
    """A session; without a user it is not logged in. `eight_bit`: quoted strings may have UTF-8."""

    def __init__(self, port, user, password, timeout=120):
        self.port, self.user, self.password, self.timeout = port, user, password, timeout
        self.serial, self.eight_bit, self.mailbox = 0, False, None
        self.log_in()

    def log_in(self):
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.at, self.inflate, self.deflate = b"", 0, None, None
        self.greeting = self.response()
        if self.user:
            self.command("LOGIN", self.user, self.password).must()

    def select(self, mailbox):
        self.mailbox = mailbox
        return self.command("SELECT", mailbox).must()

    def again(self):
        """After the server closed: another session in the same mailbox."""
        self.close()
        self.log_in()
        self.select(self.mailbox)

    def close(self):
        self.sock.close()

    def logout(self):
        self.command("LOGOUT").must()
        self.close()

    def receive(self, most):
        more = b""
        while not more:
            try:
                coded = self.sock.recv(most)
            except ConnectionError:
                coded = b""
            if not coded:
                raise EOFError("the connection was closed; left: %r" % self.buffer[self.at:])
            more = self.inflate.decompress(coded) if self.inflate else coded
        return more

    def compress(self):
        """From here on both sides speak compressed (RFC 4978)."""
        self.command("COMPRESS DEFLATE").must()
        self.inflate, self.deflate = zlib.decompressobj(-15), zlib.compressobj(wbits=-15)

    def write(self, data):
        self.sock.sendall(self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH) if self.deflate else data)

    def fill(self):
        self.buffer, self.at = self.buffer[self.at:] + self.receive(1 << 18), 0

    def line(self):
        """One line with the literals in it."""
        parts = []
        while True:
            searched = self.at
            end = self.buffer.find(b"\n", searched)
            while end < 0:
                searched = len(self.buffer) - self.at
                self.fill()
                end = self.buffer.find(b"\n", searched)
            parts.append(self.buffer[self.at:end + 1])
            self.at = end + 1
            announced = ANNOUNCED.search(parts[-1])
            if not announced:
                return b"".join(parts)
            length = int(announced.group(1))
            held = [self.buffer[self.at:self.at + length]]
            self.at += len(held[0])
            left = length - len(held[0])
            while left:
                self.fill()
                held.append(self.buffer[self.at:self.at + left])
                self.at += len(held[-1])
                left -= len(held[-1])
            parts.extend(held)

    def response(self):
        return Response(self.line(), self.eight_bit)

    def send(self, *words):
        """Sends a command; strings are syntax, bytes become synchronising-free literals. Tells its tag."""
        self.serial += 1
        tag = b"t%d" % self.serial
        text = b"".join(b" " + (word.encode() if isinstance(word, str) else b"{%d+}\r\n%s" % (len(word), word)) for word in words)
        try:
            self.write(tag + text + b"\r\n")
        except ConnectionError:
            # Reading tells, behind what was answered before.
            pass
        return tag

    def finish(self, tag):
        """Reads up to the tagged answer."""
        untagged = []
        while True:
            line = self.line()
            if line.startswith(b"* "):
                untagged.append(Response(line, self.eight_bit))
            elif line.startswith(tag + b" "):
                reader = Reader(line, self.eight_bit)
                reader.at = len(tag) + 1
                status = reader.atom().decode()
                code, text = status_text(reader)
                return Reply(status, code, text[0], untagged)
            else:
                raise Malformed("neither untagged nor %r: %r" % (tag, line))

    def command(self, *words):
        return self.finish(self.send(*words))

    def ask(self, *words):
        """A command that changes nothing: once more, if the server closed. (Dovecot does so at some odd messages.)"""
        try:
            return self.command(*words)
        except EOFError:
            self.again()
            return self.command(*words)

    def idle(self):
        """Begins IDLE; what follows is read by `response` until `done`. Tells the tag, and what was told before."""
        tag, before = self.send("IDLE"), []
        while True:
            line = self.line()
            if line.startswith(b"+"):
                return tag, before
            before.append(Response(line, self.eight_bit))

    def done(self, tag):
        self.write(b"DONE\r\n")
        return self.finish(tag)
