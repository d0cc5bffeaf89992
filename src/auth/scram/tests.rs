use super::*;
use proptest::prelude::*;
use std::num::NonZeroU32;

/// A channel with one binding, or none.
struct Bound(Option<(&'static str, &'static [u8])>);

impl Channel for Bound {
    fn binding(&self, kind: &str) -> Option<Vec<u8>> {
        self.0.filter(|(known, _)| *known == kind).map(|(_, data)| data.to_vec())
    }
    fn can_bind(&self) -> bool {
        self.0.is_some()
    }
}

const FREE: Bound = Bound(None);
const TLS: Bound = Bound(Some(("tls-exporter", b"\x01\x02,=\xff")));
const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

fn keys(password: &str) -> ScramKeys {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    ScramKeys::derive(password.as_bytes(), salt, NonZeroU32::new(4096).unwrap())
}

/// The example of RFC 7677 §3.
#[test]
fn the_example_of_the_rfc() {
    let first = First::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", false, &FREE).unwrap();
    assert_eq!(first.name, "user");
    let (answer, waiting) = first.answer(keys("pencil"), OURS);
    assert_eq!(answer, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let verdict = waiting.check(last.as_bytes()).unwrap();
    assert_eq!(verdict, Verdict { right: true, answer: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".into() });
    // Of another user, of another header, of another nonce, of another proof.
    let wrong = First::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", false, &FREE).unwrap().answer(keys("Pencil"), OURS).1;
    assert!(!wrong.check(last.as_bytes()).unwrap().right);
    for (from, to) in [("biws", "eSws"), ("NEkqO%", "NEkqO"), ("r=rO", "r=rP"), ("dHzb", "eHzb"), (",p=", ",x=y,p=")] {
        assert!(!waiting.check(last.replace(from, to).as_bytes()).unwrap().right, "{from}");
    }
    for (from, to) in [("c=", "d="), ("biws", "biw"), (",r=", ","), (",p=", ""), ("AndVQ=", "AndVQ"), ("dHzb", "")] {
        assert_eq!(waiting.check(last.replace(from, to).as_bytes()), Err(SaslError::Malformed), "{from}");
    }
}

/// A client's last message.
fn proof(keys: &ScramKeys, password: &str, so_far: &str, bare: &str) -> String {
    use ring::pbkdf2;
    let mut salted = [0; HASH];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, keys.iterations, &keys.salt, password.as_bytes(), &mut salted);
    let client = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), b"Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, stored.as_ref()), format!("{so_far},{bare}").as_bytes());
    let proof: Vec<u8> = client.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    format!("{bare},p={}", STANDARD.encode(proof))
}

/// The same, from what the server answered; without a binding.
pub(in crate::auth) fn last_of_client(password: &str, first: &str, answer: &str) -> String {
    let mut attributes = answer.split(',').map(|attribute| &attribute[2..]);
    let (nonce, salt, rounds) = (attributes.next().unwrap(), attributes.next().unwrap(), attributes.next().unwrap());
    let keys = ScramKeys::derive(b"", STANDARD.decode(salt).unwrap(), rounds.parse().unwrap());
    proof(&keys, password, &format!("{first},{answer}"), &format!("c=biws,r={nonce}"))
}

#[test]
fn bound_to_its_channel() {
    let keys = keys("pencil");
    for (binding, right) in [
        (&b"p=tls-exporter,,\x01\x02,=\xff"[..], true),
        (b"p=tls-exporter,,\x01\x02,=\xfe", false),
        (b"p=tls-exporter,,", false),
        (b"n,,", false),
    ] {
        let first = First::read(b"p=tls-exporter,,n=user,r=abc", true, &TLS).unwrap();
        let (answer, waiting) = first.answer(keys.clone(), OURS);
        let bare = format!("c={},r=abc{OURS}", STANDARD.encode(binding));
        let last = proof(&keys, "pencil", &format!("n=user,r=abc,{answer}"), &bare);
        assert_eq!(waiting.check(last.as_bytes()).unwrap().right, right, "{binding:?}");
    }
}

#[test]
fn how_it_may_begin() {
    let read = |text: &str, plus, channel: &Bound| First::read(text.as_bytes(), plus, channel).map(|first| first.name);
    assert_eq!(read("y,,n=user,r=a", false, &FREE), Ok("user".into()));
    assert_eq!(read("y,,n=user,r=a", false, &TLS), Err(SaslError::Refused));
    assert_eq!(read("n,,n=user,r=a", false, &TLS), Ok("user".into()));
    assert_eq!(read("p=tls-unique,,n=user,r=a", true, &TLS), Err(SaslError::Refused));
    assert_eq!(read("p=tls-exporter,,n=user,r=a", true, &FREE), Err(SaslError::Refused));
    assert_eq!(read("n,a=USER,n=user,r=a", false, &FREE), Ok("user".into()));
    assert_eq!(read("n,a=,n=user,r=a", false, &FREE), Ok("user".into()));
    assert_eq!(read("n,a=root,n=user,r=a", false, &FREE), Err(SaslError::Refused));
    assert_eq!(read("n,,n=a=2Cb=3D,r=a,x=ignored", false, &FREE), Ok("a,b=".into()));
    assert_eq!(read("n,,n=\u{2168}\u{ad},r=a", false, &FREE), Ok("IX".into()));
    let long = format!("n,,n=user,r={}", "a".repeat(MOST_NONCE + 1));
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=,r=a",
        "n,,n=a=2c,r=a",
        "n,,n=a=,r=a",
        "n,,m=x,n=user,r=a",
        "n,,r=a,n=user",
        "x,,n=user,r=a",
        "n,user,n=user,r=a",
        "n,,n=user,r=",
        "n,,n=user,r=a b",
        "n,,n=\u{7},r=a",
        "p=tls-exporter,,n=user,r=a",
        &long,
    ] {
        assert_eq!(read(bad, false, &TLS), Err(SaslError::Malformed), "{bad}");
    }
    for bad in ["n,,n=user,r=a", "y,,n=user,r=a"] {
        assert_eq!(read(bad, true, &TLS), Err(SaslError::Malformed), "{bad}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(first in "[pny]?(=[a-z-]{0,3})?,(a=)?[a-z]{0,2},(n=)?.{0,5},?(r=)?.{0,4}", last in "(c=)?.{0,6},(r=)?.{0,6}(,p=)?.{0,50}") {
        for plus in [false, true] {
            let _ = First::read(first.as_bytes(), plus, &TLS);
        }
        let waiting = First::read(b"n,,n=user,r=a", false, &FREE).unwrap().answer(ScramKeys::fake(&hmac::Key::new(hmac::HMAC_SHA256, b"x"), "user"), OURS).1;
        prop_assert!(!waiting.check(last.as_bytes()).is_ok_and(|verdict| verdict.right));
    }
}
