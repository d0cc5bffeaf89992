//! The program and its libraries as they lie in memory.

use libc::{PF_W, PT_LOAD, dl_iterate_phdr, dl_phdr_info};
use std::ops::Range;
use std::ptr;

/// Gives back to the system what is in memory of these files and is not written to: most of it was read to start, and is not
/// read again, or seldom. What is wanted is read again, from what the system itself keeps of the files.
pub fn give_back_what_started() {
    // SAFETY: the callback takes what it is called with, and leaves the other pointer alone.
    unsafe {
        dl_iterate_phdr(Some(of_one), ptr::null_mut());
    }
}

/// That of one file.
unsafe extern "C" fn of_one(object: *mut dl_phdr_info, _size: usize, _data: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the C library gives a valid structure with so many headers, which do not go away while this is called.
    let (parts, base) = unsafe {
        let object = &*object;
        (std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()), object.dlpi_addr as usize)
    };
    for part in parts.iter().filter(|part| part.p_type == PT_LOAD && part.p_flags & PF_W == 0) {
        let start = base + part.p_vaddr as usize;
        give_back(&(start..start + part.p_memsz as usize));
    }
    0
}

/// Whole pages of what nobody can write to: what is read there again is what the file has.
fn give_back(range: &Range<usize>) {
    const PAGE: usize = 4096;
    let from = range.start.next_multiple_of(PAGE);
    if let Some(length) = range.end.checked_sub(from) {
        // SAFETY: this lies in a mapping of a file that is not written to, which the kernel fills again when it is read.
        unsafe {
            libc::madvise(ptr::with_exposed_provenance_mut(from), length, libc::MADV_DONTNEED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// KiB of files that this process has in memory.
    fn of_files() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_is_given_back_is_there_when_it_is_wanted() {
        crate::sys::apart::apart("sys::unix::image::tests::what_is_given_back_is_there_when_it_is_wanted", 1, |_| {
            let panics = || std::panic::catch_unwind(|| assert!(fs::read("/nowhere").is_ok())).is_err();
            // What this itself takes is there afterwards.
            for _ in 0..2 {
                give_back_what_started();
                assert!(panics() && std::thread::spawn(|| 2f64.powf(0.5).sin()).join().is_ok());
                of_files();
            }
            let before = of_files();
            give_back_what_started();
            let after = of_files();
            assert!(after < before, "{before} {after}");
        });
    }
}
