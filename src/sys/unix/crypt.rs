//! What the system keeps of its users: passwords, by its own hashing, crypt(3), and the entries of shadow(5); and who they are.
//!
//! The hashing is looked for when the program runs, so that no library has to be there where nobody asks for it, and so that
//! it knows every method that this system's own `passwd` may have used: yescrypt, gost-yescrypt, SHA-512, bcrypt, and older ones.

use std::ffi::{CStr, CString, c_char, c_void};
use std::io;

/// By these names, the first that is there (libxcrypt's own, and the one with which old binaries are served).
const LIBRARIES: [&CStr; 2] = [c"libcrypt.so.1", c"libcrypt.so.2"];

/// What `crypt_r` needs to work: 32 KiB in libxcrypt, 128 KiB in the C library's old one.
const WORKSPACE: usize = 256 << 10;

/// The buffer for a shadow entry grows up to this.
const LONGEST_ENTRY: usize = 1 << 20;

type CryptR = unsafe extern "C" fn(*const c_char, *const c_char, *mut c_void) -> *mut c_char;

/// The system's crypt(3).
#[derive(Copy, Clone, Debug)]
pub struct Crypt(CryptR);

impl Crypt {
    /// An error if the system has none.
    pub fn load() -> io::Result<Crypt> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, "libcrypt.so.1 is not there, to check the passwords of system users");
        // SAFETY: the names are C strings. The library is never closed, so what is found in it stays; and the function of
        // this name has had this form in all libraries of that name (crypt(3)).
        unsafe {
            let open = |name: &&CStr| Some(libc::dlopen(name.as_ptr(), libc::RTLD_NOW)).filter(|library| !library.is_null());
            let library = LIBRARIES.iter().find_map(open).ok_or_else(missing)?;
            let found = libc::dlsym(library, c"crypt_r".as_ptr());
            if found.is_null() {
                return Err(missing());
            }
            Ok(Crypt(std::mem::transmute::<*mut c_void, CryptR>(found)))
        }
    }

    /// Hashes a password as `setting` says: the beginning of a hash, or the whole of it. None: the system does not know that
    /// method, or can't hash this password.
    pub fn hash(&self, password: &[u8], setting: &str) -> Option<Vec<u8>> {
        let (password, setting) = (CString::new(password).ok()?, CString::new(setting).ok()?);
        let mut workspace = vec![0u128; WORKSPACE / size_of::<u128>()];
        // SAFETY: both strings end, and live longer than the call; the workspace is zeroed, aligned and larger than any known
        // one. The answer is null or a string in the workspace, which is copied before that is dropped.
        let hash = unsafe {
            let hash = (self.0)(password.as_ptr(), setting.as_ptr(), workspace.as_mut_ptr().cast());
            if hash.is_null() {
                return None;
            }
            CStr::from_ptr(hash).to_bytes().to_owned()
        };
        // A failure may be told so: no hash begins with an asterisk.
        (!hash.is_empty() && !hash.starts_with(b"*")).then_some(hash)
    }
}

/// What matters here of an entry of shadow(5). Dates are days since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// The hash, or what stands in its place.
    pub hash: String,
    /// When the password was changed; 0: it must be at the next login.
    pub changed: Option<i64>,
    /// For so many days a password may be used.
    pub most_days: Option<i64>,
    /// And for so many more, to change it.
    pub inactive_days: Option<i64>,
    /// From then on nobody may log in.
    pub expires: Option<i64>,
}

/// Looks an entry up, wherever the system keeps them (nsswitch.conf(5)). Only root may.
pub fn shadow_entry(name: &str) -> io::Result<Option<Shadow>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut buffer: Vec<c_char> = vec![0; 4096];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::spwd>::zeroed();
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends, the entry is large enough, and the buffer has the length that is told. Where an entry is
        // found, it was filled in, and its strings lie in the buffer, which lives on while they are copied.
        unsafe {
            let error = libc::getspnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found);
            match error {
                libc::ERANGE if buffer.len() < LONGEST_ENTRY => buffer.resize(buffer.len() * 4, 0),
                0 if !found.is_null() => return Ok(Some(shadow_of(&entry.assume_init()))),
                0 | libc::ENOENT => return Ok(None),
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }
}

/// # Safety
/// The entry's hash is null or a string that ends.
unsafe fn shadow_of(entry: &libc::spwd) -> Shadow {
    let hash = if entry.sp_pwdp.is_null() {
        String::new()
    } else {
        // SAFETY: the caller says so.
        unsafe { CStr::from_ptr(entry.sp_pwdp) }.to_string_lossy().into_owned()
    };
    // A field that is empty comes as -1.
    let [changed, most_days, inactive_days, expires] =
        [entry.sp_lstchg, entry.sp_max, entry.sp_inact, entry.sp_expire].map(|days| Some(days).filter(|days| *days >= 0));
    Shadow { hash, changed, most_days, inactive_days, expires }
}

/// The names and uids of all accounts that the system tells of. Only for a process that has one thread.
pub fn accounts() -> Vec<(String, u32)> {
    let mut found = Vec::new();
    // SAFETY: no other thread walks the accounts. Each entry is null at the end, or good until the next is asked for, and its
    // name a string that ends; the name is copied.
    unsafe {
        libc::setpwent();
        while let Some(entry) = libc::getpwent().as_ref() {
            found.push((CStr::from_ptr(entry.pw_name).to_string_lossy().into_owned(), entry.pw_uid));
        }
        libc::endpwent();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "correct horse". The first three are by `openssl passwd`, which has its own code for it.
    const HASHES: [&str; 7] = [
        "$6$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG.",
        "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB",
        "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80",
        "$y$j9T$M7UQVLl3kLZmMjVJR86EB1$fulqezIMsnnzcVb12DMsx6EW9cngC9P9SPciuFxzma9",
        "$gy$j9T$4cOtS/rWLbJDPFkb0Iv1I/$muGyNarSwBkmCeDvJtgY.TfDYLgS8bA2lPmJ3vXqPX1",
        "$2b$04$J8U1qRF526u.iNRYebv9n.aHg5BxTeE8h9S/mb9A9x35KOlY1N/Fa",
        "abhfCpXqd4GrI",
    ];

    #[test]
    fn hashes_that_other_programs_made_are_understood() {
        let crypt = Crypt::load().unwrap();
        for hash in HASHES {
            assert_eq!(crypt.hash(b"correct horse", hash).as_deref(), Some(hash.as_bytes()), "{hash}");
            assert_ne!(crypt.hash(b"another", hash).as_deref(), Some(hash.as_bytes()), "{hash}");
        }
    }

    #[test]
    fn what_is_no_setting_gives_no_hash() {
        let crypt = Crypt::load().unwrap();
        for setting in ["", "*", "!", "x", "!$6$abc$", "*0", "$nothing$", "$6$", "a\0b", "::"] {
            let hash = crypt.hash(b"secret", setting);
            assert!(hash.is_none() || setting == "$6$", "{setting:?}: {hash:?}");
        }
        assert_eq!(crypt.hash(b"a\0b", "$6$abc$"), None);
        assert_eq!(crypt.hash(&[b'x'; 100_000], "$6$abc$"), None);
    }

    #[test]
    fn who_has_an_entry_is_found() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let names: Vec<String> = std::fs::read_to_string("/etc/shadow")
            .unwrap_or_default()
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
            .collect();
        for name in &names {
            assert!(shadow_entry(name).unwrap().is_some(), "{name}");
        }
        assert_eq!(shadow_entry("no-such-user").unwrap(), None);
        assert_eq!(shadow_entry("a\0b").unwrap(), None);
    }
}
