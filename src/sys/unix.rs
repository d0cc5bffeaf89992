//! The system calls that no safe crate offers. The only `unsafe` of the program.
#![allow(unsafe_code)]

/// Keeps the C allocator to few arenas: with one for every thread, hundreds of sessions would each pin megabytes.
pub fn limit_arenas(arenas: i32) {
    // SAFETY: mallopt only sets a number inside the allocator; it is called before the first thread starts.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, arenas);
    }
}

/// Gives memory that the C allocator holds free back to the system.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes the allocator's own locks and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}
