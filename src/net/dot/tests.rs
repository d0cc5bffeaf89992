//! The codecs, in every way to cut their input.

use super::*;
use proptest::prelude::*;

/// All pieces decoded: text, size, malformed, and what was left over after the end (None: no end).
type Decoded = (Vec<u8>, u64, bool, Option<Vec<u8>>);

fn decode(pieces: &[&[u8]]) -> Decoded {
    let mut unstuff = Unstuff::new();
    let mut text = Vec::new();
    let mut rest = None;
    for piece in pieces {
        let mut block = piece.to_vec();
        if let Some(rest) = &mut rest {
            Vec::extend_from_slice(rest, &block);
            continue;
        }
        let step = unstuff.push(&mut block);
        text.extend_from_slice(&block[..step.kept]);
        if step.end {
            rest = Some(block[step.used..].to_vec());
        } else {
            assert_eq!(step.used, block.len());
        }
    }
    if unstuff.is_malformed() {
        text.clear();
    }
    (text, unstuff.size(), unstuff.is_malformed(), rest)
}

fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
    let mut stuff = Stuff::new();
    let mut out = Vec::new();
    for piece in pieces {
        stuff.push(piece, &mut out);
    }
    stuff.finish(&mut out);
    out
}

/// In every way to cut it in two, and byte by byte, it decodes alike.
fn decode_all_ways(wire: &[u8]) -> Decoded {
    let whole = decode(&[wire]);
    for at in 0..wire.len() {
        let (a, b) = wire.split_at(at);
        assert_eq!(decode(&[a, b]), whole, "split at {at} of {wire:?}");
    }
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(decode(&bytes), whole, "{wire:?} by bytes");
    whole
}

#[test]
fn good_messages() {
    for (wire, text, size) in [
        (&b".\r\nQUIT\r\n"[..], &b""[..], 0),
        (b"a\r\n.\r\nQUIT\r\n", b"a\n", 3),
        (b"\r\n.\r\nQUIT\r\n", b"\n", 2),
        (b"..\r\n.\r\nQUIT\r\n", b".\n", 3),
        (b".a\r\n..b\r\n...\r\n.\r\nQUIT\r\n", b"a\n.b\n..\n", 11),
        (b"a\r\n\r\n\r\nb.\r\n.\r\nQUIT\r\n", b"a\n\n\nb.\n", 11),
        (b"\xff\x80\x01\r\n.\r\nQUIT\r\n", b"\xff\x80\x01\n", 5),
    ] {
        assert_eq!(decode_all_ways(wire), (text.to_vec(), size, false, Some(b"QUIT\r\n".to_vec())), "{wire:?}");
    }
}

/// Each of these ends a message for some reader. Here it must not, and the message is refused.
#[test]
fn smuggled_ends() {
    let crs_and_lfs: [&[u8]; 6] = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n"];
    for before in crs_and_lfs {
        for after in crs_and_lfs {
            let strict = before.ends_with(b"\r\n") && after == b"\r\n";
            if strict {
                continue;
            }
            let wire = [b"text", before, b".", after, b"MAIL FROM:<a@b>\r\nx\r\n.\r\nQUIT\r\n"].concat();
            let (_, _, malformed, rest) = decode_all_ways(&wire);
            assert!(malformed, "{wire:?}");
            assert_eq!(rest.as_deref(), Some(&b"QUIT\r\n"[..]), "{wire:?}");
        }
    }
    for bare in
        [&b"a\rb\r\n"[..], b"a\nb\r\n", b"a\0b\r\n", b"\r\r\n", b"\n\r\n", b"\n", b".\r.\r\n", b".\r\r\n", b".\n", b"\0", b".\0"]
    {
        let (_, _, malformed, rest) = decode_all_ways(&[bare, b"\r\n.\r\nQUIT\r\n"].concat());
        assert!(malformed, "{bare:?}");
        assert_eq!(rest.as_deref(), Some(&b"QUIT\r\n"[..]), "{bare:?}");
    }
}

#[test]
fn size_is_not_counted_before_it_is_sure() {
    let mut unstuff = Unstuff::new();
    unstuff.push(&mut b"abc\r\n.\r".to_vec());
    assert_eq!(unstuff.size(), 5);
    assert!(unstuff.push(&mut b"\n".to_vec()).end);
    assert_eq!(unstuff.size(), 5);
}

#[test]
fn stuffing() {
    for (text, wire) in [
        (&b""[..], &b".\r\n"[..]),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n..\r\na.\r\n", b"..\r\n...\r\na.\r\n.\r\n"),
        (b"no end", b"no end\r\n.\r\n"),
        (b"half an end\r", b"half an end\r\n.\r\n"),
        (b"a\n.\nb\n\n", b"a\r\n..\r\nb\r\n\r\n.\r\n"),
    ] {
        assert_eq!(stuffed(&[text]), wire, "{text:?}");
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(b'.'), 8 => any::<u8>()].prop_map(|b| if matches!(b, 0 | b'\r' | b'\n') { b'x' } else { b });
    prop::collection::vec(byte, 0..12)
}

proptest! {
    #[test]
    fn stuffed_then_unstuffed_is_the_same(lines in prop::collection::vec(line(), 0..12), cuts in prop::collection::vec(1usize..20, 1..8)) {
        let text: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        let crlf: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect();
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut rest = &crlf[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (a, b) = rest.split_at((*cut).min(rest.len()));
            pieces.push(a);
            rest = b;
        }
        let wire = stuffed(&pieces);
        prop_assert_eq!(&wire, &stuffed(&[&crlf]));
        prop_assert_eq!(decode_all_ways(&wire), (text, crlf.len() as u64, false, Some(Vec::new())));
    }

    /// Whatever is put in, what goes out has one end, at its end, and no bare LF.
    #[test]
    fn nothing_ends_a_stuffed_message_early(text in prop::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a')], 0..24)) {
        let wire = stuffed(&[&text]);
        prop_assert_eq!(decode(&[&wire]).3, Some(Vec::new()));
        prop_assert!(wire.iter().enumerate().all(|(at, byte)| *byte != b'\n' || (at > 0 && wire[at - 1] == b'\r')));
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        prop_assert_eq!(stuffed(&bytes), wire);
    }

    /// The end and the faults are where a plain search finds them, in any pieces.
    #[test]
    fn the_end_is_the_first_crlf_dot_crlf(wire in prop::collection::vec(prop_oneof![4 => Just(b'.'), 4 => Just(b'\r'), 4 => Just(b'\n'), 1 => Just(0u8), 1 => Just(b'a')], 0..40)) {
        let (_, _, malformed, rest) = decode_all_ways(&wire);
        let whole = [b"\r\n", &wire[..]].concat();
        let end = whole.windows(5).position(|five| five == b"\r\n.\r\n");
        prop_assert_eq!(rest, end.map(|at| whole[at + 5..].to_vec()));
        if let Some(at) = end {
            let text = whole[..at + 5].to_vec();
            let bare = (0..text.len()).any(|at| match text[at] {
                b'\r' => text.get(at + 1) != Some(&b'\n'),
                b'\n' => at == 0 || text[at - 1] != b'\r',
                byte => byte == 0,
            });
            prop_assert_eq!(malformed, bare);
        }
    }
}
