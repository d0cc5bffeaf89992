//! The system calls that no safe crate offers. The only `unsafe` of the program.
#![allow(unsafe_code)]

use std::io;

/// Keeps the C allocator to few arenas: with one for every thread, hundreds of sessions would each pin megabytes.
pub fn limit_arenas(arenas: i32) {
    // SAFETY: mallopt only sets a number inside the allocator; it is called before the first thread starts.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, arenas);
    }
}

/// From this many bytes on the C allocator gets memory from the system and gives it back at once. Left alone it raises that
/// bound with every big block it sees freed, and keeps the next ones.
pub fn map_big_blocks(from: i32) {
    // SAFETY: mallopt only sets a number inside the allocator, under the allocator's own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, from);
    }
}

/// Gives memory that the C allocator holds free back to the system.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes the allocator's own locks and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Which of the two processes after a fork.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The old one, and the number of the new one.
    Parent(i32),
    /// The new one.
    Child,
}

/// Splits this process in two. Only for a process that has one thread: with more it does nothing and is an error.
pub fn fork_single_threaded() -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("this process has several threads"));
    }
    // SAFETY: there is one thread, so no lock can be left held by another one in the child.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
    }
}
