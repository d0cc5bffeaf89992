//! The program and its libraries as they lie in memory.

use libc::{PF_W, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_LOAD, dl_iterate_phdr, dl_phdr_info};
use std::ops::Range;
use std::ptr;

/// Tags of a dynamic section (elf(5)): where relocations are, and how many bytes.
const RELOCATIONS: [usize; 2] = [7, 8];

/// Gives back to the system what was read of these files to start, and is not read again, or seldom: relocations, what is for
/// unwinding after a panic, and libraries but the C library. Who wants it all the same reads it again.
pub fn give_back_what_started() {
    // SAFETY: the callback takes what it is called with, and leaves the other pointer alone.
    unsafe {
        dl_iterate_phdr(Some(of_one), ptr::null_mut());
    }
}

/// That of one file.
unsafe extern "C" fn of_one(object: *mut dl_phdr_info, _size: usize, _data: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the C library gives a valid structure with so many headers, and neither they nor a dynamic section go away while
    // this is called. The latter is pairs of words, up to one that is zero.
    let (parts, base, relocations) = unsafe {
        let object = &*object;
        let base = object.dlpi_addr as usize;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        let part = |(kind, flags, at, size)| (kind, flags, base + at..base + at + size);
        let parts = headers.iter().map(|part| (part.p_type, part.p_flags, part.p_vaddr as usize, part.p_memsz as usize));
        let parts: Vec<(u32, u32, Range<usize>)> = parts.map(part).collect();
        let mut relocations = [0; 2];
        if let Some((.., dynamic)) = parts.iter().find(|(kind, ..)| *kind == PT_DYNAMIC) {
            let mut entry = dynamic.start as *const [usize; 2];
            while (*entry)[0] != 0 {
                let [tag, value] = *entry;
                RELOCATIONS.iter().zip(&mut relocations).filter(|(known, _)| **known == tag).for_each(|(_, kept)| *kept = value);
                entry = entry.add(1);
            }
        }
        (parts, base, relocations)
    };
    let fixed: Vec<&Range<usize>> =
        parts.iter().filter(|(kind, flags, _)| *kind == PT_LOAD && flags & PF_W == 0).map(|(.., range)| range).collect();
    let holds = |range: &Range<usize>, function: *const ()| range.contains(&(function as usize));
    let is_wanted =
        |range: &&Range<usize>| holds(range, libc::madvise as *const ()) || holds(range, give_back_what_started as *const ());
    if !fixed.iter().any(is_wanted) {
        fixed.iter().for_each(|range| give_back(range));
        return 0;
    }
    // The C library changes this to where it is, or leaves it as it is in the file.
    let [start, size] = relocations;
    let start = if start < base { base + start } else { start };
    let unwinding = parts.iter().find(|(kind, ..)| *kind == PT_GNU_EH_FRAME).map_or(0, |(.., range)| range.start);
    for range in fixed {
        if range.contains(&unwinding) {
            give_back(&(unwinding..range.end));
        }
        if range.contains(&start) {
            give_back(&(start..range.end.min(start + size)));
        }
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
