//! ARC (RFC 8617): what those found and sent on who had a message before us. Each adds a set of three fields: what it found, a
//! signature of the message as it left, and a seal over all sets so far. So who trusts a forwarder or a list can see what it saw,
//! though it broke the author's signature.

use super::canon::{BodyHash, Canon};
use super::fields::Header;
use super::key::Key;
use super::sign::{SigningKey, signed_field};
use super::signature::{Signature, without_signature};
use super::{canon, check_signature, key};
use crate::trust::Dns;
use crate::trust::tags::Tags;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// Sets of one message (RFC 8617 §4.2.1).
const MOST_SETS: usize = 50;

/// Keys that are asked for, for all of them; a chain of more hands is none that can be checked.
const MOST_KEYS: usize = 10;

/// The fields of a set, in the order in which they are sealed (§5.1.1).
const NAMES: [&str; 3] = ["arc-authentication-results", "arc-message-signature", "arc-seal"];

/// What a chain comes to (RFC 8617 §4.4).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ArcResult {
    /// It is whole.
    Pass,
    /// It is not; also if that could not be told (§5.2.1).
    Fail,
}

impl ArcResult {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            ArcResult::Pass => "pass",
            ArcResult::Fail => "fail",
        }
    }
}

/// What the chain of a message comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It.
    pub result: ArcResult,
    /// Why it is not `pass`; else empty.
    pub reason: String,
    /// Who sealed it last, if that can be read.
    pub sealer: Option<String>,
}

/// Verifies the chain of a message while it arrives. Lines end in LF.
#[derive(Debug)]
pub struct Verifier {
    header: Vec<u8>,
    chain: Result<Chain, String>,
    hash: Option<BodyHash>,
}

/// The sets of a message, from the first to the last.
#[derive(Debug)]
struct Chain {
    sets: Vec<Set>,
    /// The last signature of the message.
    message: Signature,
}

#[derive(Debug)]
struct Set {
    /// Of its fields, in the order of `NAMES`.
    numbers: [usize; 3],
    seal: Signature,
}

impl Verifier {
    /// `header` is all before the empty line. None: nobody has sealed it.
    pub fn new(header: &[u8]) -> Option<Verifier> {
        let fields = Header::new(header);
        if NAMES.iter().all(|name| fields.named(name).is_empty()) {
            return None;
        }
        let chain = Chain::read(&fields);
        let hash = chain.as_ref().ok().map(|chain| BodyHash::new(chain.message.body, chain.message.length));
        Some(Verifier { header: header.to_vec(), chain, hash })
    }

    /// The next piece of the body.
    pub fn body(&mut self, bytes: &[u8]) {
        self.hash.iter_mut().for_each(|hash| hash.push(bytes));
    }

    /// What it comes to (§5.2).
    pub fn finish(self, dns: &dyn Dns) -> Verdict {
        let Verifier { header, chain, hash } = self;
        let header = Header::new(&header);
        let sealer = header.named("arc-seal").first().and_then(|number| {
            let tags = Tags::parse(header.value(*number))?;
            Signature::bare(&tags).ok().map(|seal| seal.domain)
        });
        match chain.and_then(|chain| chain.check(&header, hash, dns).map(|()| chain)) {
            Ok(chain) => {
                let sealer = chain.sets.last().map(|set| set.seal.domain.clone());
                Verdict { result: ArcResult::Pass, reason: String::new(), sealer }
            }
            Err(reason) => Verdict { result: ArcResult::Fail, reason, sealer },
        }
    }
}

impl Chain {
    /// §5.2, steps 1 to 3.
    fn read(header: &Header<'_>) -> Result<Chain, String> {
        let sets = sets(header)?;
        let mut read = Vec::with_capacity(sets.len());
        for (at, numbers) in sets.iter().enumerate() {
            let named = |wrong: &str| format!("seal {}: {wrong}", at + 1);
            let tags = Tags::parse(header.value(numbers[2])).ok_or_else(|| named("not a list of tags"))?;
            if tags.get("h").is_some() {
                return Err(named("has a list of fields"));
            }
            match (at, tags.text("cv")) {
                (0, Some("none")) | (1.., Some("pass")) => {}
                (_, Some("fail")) => return Err(named("says that the chain is broken")),
                _ => return Err(named("does not say what it found")),
            }
            read.push(Set { numbers: *numbers, seal: Signature::bare(&tags).map_err(named)? });
        }
        let last = sets.last().ok_or("no set")?;
        let tags = Tags::parse(header.value(last[1])).ok_or("not a list of tags")?;
        let message = Signature::of(&tags, None)?;
        if message.fields.iter().any(|name| NAMES.contains(&name.as_str())) {
            return Err("the message signature signs fields of ARC".into());
        }
        Ok(Chain { sets: read, message })
    }

    /// Steps 4 and 6. What costs nothing comes first.
    fn check(&self, header: &Header<'_>, hash: Option<BodyHash>, dns: &dyn Dns) -> Result<(), String> {
        let hash = hash.ok_or("body not hashed")?.finish();
        if hash.digest != self.message.body_hash || self.message.length.is_some_and(|length| length != hash.total) {
            return Err("body changed".into());
        }
        let names: HashSet<_> = self.sets.iter().map(|set| (&set.seal.domain, &set.seal.selector)).collect();
        if names.len() >= MOST_KEYS {
            return Err("too many keys".into());
        }
        // Each is asked for once, whether DNS lets it be remembered or not.
        let mut keys: HashMap<(String, String), Key> = HashMap::new();
        let mut verify =
            |signature: &Signature, signed: &[u8]| match keys.entry((signature.domain.clone(), signature.selector.clone())) {
                Entry::Occupied(known) => check_signature(signature, signed, known.get()),
                Entry::Vacant(new) => check_signature(signature, signed, new.insert(key(signature, dns)?)),
            };
        let last = self.sets.last().ok_or("no set")?;
        let told = |what: String| move |(_, why): (_, String)| format!("{what}: {why}");
        verify(&self.message, &self.message.signed(header, last.numbers[1])).map_err(told("message".into()))?;
        for (at, set) in self.sets.iter().enumerate().rev() {
            let before: Vec<[usize; 3]> = self.sets.iter().take(at).map(|set| set.numbers).collect();
            verify(&set.seal, &sealed(header, &before, set.numbers)).map_err(told(format!("seal {}", at + 1)))?;
        }
        Ok(())
    }
}

/// The numbers of the fields of all sets, which must be there, each once, without a gap (§5.2, step 3).
fn sets(header: &Header<'_>) -> Result<Vec<[usize; 3]>, String> {
    let count = header.named(NAMES[2]).len();
    if count > MOST_SETS {
        return Err("too many sets".into());
    }
    let mut sets = vec![[None; 3]; count];
    for (kind, name) in NAMES.iter().enumerate() {
        for &number in header.named(name) {
            let instance = instance(header.value(number)).ok_or("a field without a number")?;
            let set = instance.checked_sub(1).and_then(|at| sets.get_mut(at)).ok_or("a set is missing")?;
            if set[kind].replace(number).is_some() {
                return Err(format!("set {instance} has a field twice"));
            }
        }
    }
    let whole = |set: [Option<usize>; 3]| Some([set[0]?, set[1]?, set[2]?]);
    sets.into_iter().map(whole).collect::<Option<_>>().ok_or_else(|| "a field is missing".into())
}

/// The number of the set that a field is of. It stands first in what was found, anywhere in the others.
///
/// ```abnf
/// instance = [CFWS] %s"i" [CFWS] "=" [CFWS] instance-value [CFWS]   ; RFC 8617 §4.2.1
/// ```
fn instance(value: &[u8]) -> Option<usize> {
    let mut specs = value.split(|&byte| byte == b';');
    let number = specs.find_map(|spec| spec.trim_ascii().strip_prefix(b"i")?.trim_ascii_start().strip_prefix(b"="))?;
    std::str::from_utf8(number).ok()?.trim().parse().ok()
}

/// What a seal signs (§5.1.1): all sets before it, and its own.
fn sealed(header: &Header<'_>, before: &[[usize; 3]], own: [usize; 3]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in before.iter().flatten().chain(&own[..2]) {
        header.put(*number, Canon::Relaxed, &mut out);
        out.extend_from_slice(b"\r\n");
    }
    if let Some((field, colon)) = header.field(own[2]) {
        canon::field(Canon::Relaxed, &without_signature(field, colon), colon, &mut out);
    }
    out
}

/// What is to be sealed.
#[derive(Copy, Clone, Debug)]
pub struct Seal<'a> {
    /// What was found when the message came: our name, a semicolon, and the results (RFC 8601 §2.2).
    pub results: &'a str,
    /// What its chain came to then, if it had one and that was looked at.
    pub chain: Option<ArcResult>,
    /// In seconds since the epoch.
    pub now: u64,
}

/// A set of fields (§5.1), with LF line ends, for a message as it leaves. `header` is all before the empty line, `body` the hash of
/// its body. None: its chain is broken already, and sealed so, or has no room.
pub(super) fn seal(
    (key, domain, selector): (&SigningKey, &str, &str),
    header: &[u8],
    body: &[u8],
    seal: &Seal<'_>,
) -> Result<Option<String>, String> {
    let fields = Header::new(header);
    let highest = fields.named(NAMES[2]).iter().max_by_key(|number| instance(fields.value(**number)));
    let said = highest.and_then(|number| Tags::parse(fields.value(*number))?.text("cv").map(str::to_owned));
    let is_sealed = NAMES.iter().any(|name| !fields.named(name).is_empty());
    let before = sets(&fields).ok().filter(|_| is_sealed && seal.chain == Some(ArcResult::Pass));
    let number = NAMES.iter().flat_map(|name| fields.named(name)).filter_map(|number| instance(fields.value(*number))).max();
    let number = number.unwrap_or(0) + 1;
    if said.as_deref() == Some("fail") || number > MOST_SETS {
        return Ok(None);
    }
    let cv = match (is_sealed, &before) {
        (false, _) => "none",
        (true, Some(_)) => "pass",
        (true, None) => "fail",
    };
    let found = format!("ARC-Authentication-Results: i={number}; {}\n", seal.results.trim());
    let start = format!("ARC-Message-Signature: i={number}");
    let signature = signed_field(&start, &["dkim-signature"], (key, domain, selector), header, body, seal.now)?;
    let mut own = format!("ARC-Seal: i={number}; a={}; cv={cv}; d={domain};\n\t", key.algorithm().name());
    // Writing to a String does not fail.
    let _ = write!(own, "s={selector}; t={}; b=", seal.now);
    // At the foot of the header: the numbers of the others stay as they are.
    let mut whole = header.to_vec();
    if !whole.is_empty() && !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    for field in [&found, &signature, &own] {
        whole.extend_from_slice(field.as_bytes());
    }
    let whole = Header::new(&whole);
    let last = whole.last().filter(|last| *last >= 2).ok_or("no header")?;
    let signed = sealed(&whole, &before.unwrap_or_default(), [last - 2, last - 1, last]);
    own.push_str("\n\t");
    key.put(&signed, &mut own)?;
    Ok(Some(format!("{own}{signature}{found}")))
}

#[cfg(test)]
mod tests;
