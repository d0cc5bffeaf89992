//! The system calls that no safe crate offers. The only `unsafe` of the program.
#![allow(unsafe_code)]

pub mod crypt;
pub mod image;
pub mod packet;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// An empty vector for so many of something that will all be there at once. Where it is a lot, the system is asked for big pages,
/// which it gives several times as fast as small ones, and for the small ones behind them all at once. What is not used takes
/// no memory.
pub fn vec_to_fill<T>(count: usize) -> Vec<T> {
    const PAGE: usize = 4 << 10;
    const BIG: usize = 2 << 20;
    /// More than the C allocator keeps of a block of its own.
    const HEAD: usize = 32;
    let bytes = count.saturating_mul(size_of::<T>());
    if bytes < BIG || size_of::<T>() > HEAD * HEAD {
        return Vec::with_capacity(count);
    }
    // A block of nothing but big pages begins where one can be.
    let whole = (bytes + HEAD).next_multiple_of(BIG) - HEAD;
    let fresh: Vec<T> = Vec::with_capacity(whole / size_of::<T>());
    let start = fresh.as_ptr() as usize;
    let (from, end) = (start / PAGE * PAGE, start + bytes);
    let advise = |from: usize, to: usize, advice| {
        if from < to {
            // SAFETY: this only tells how the pages of that block are to be backed; what is in them stays.
            unsafe {
                libc::madvise(from as *mut libc::c_void, to - from, advice);
            }
        }
    };
    let small = end / BIG * BIG;
    advise(from, small, libc::MADV_HUGEPAGE);
    if from % BIG == 0 && from < small {
        // The allocator has touched the first page: without this it would stay a small one, and so its neighbours.
        advise(from, from + BIG, libc::MADV_COLLAPSE);
    }
    advise(small.max(from), end, libc::MADV_POPULATE_WRITE);
    fresh
}

/// Gives the pages of this thread's stack that are not in use now back to the system: what a deep call once touched would
/// stay in memory as long as the thread.
#[inline(never)]
pub fn give_back_stack() {
    /// More than this function and the C library's have of it.
    const MARGIN: usize = 4096;
    let here = 0u8;
    let mut attributes = std::mem::MaybeUninit::uninit();
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are filled in before they are read, and destroyed once. What is discarded lies in this thread's
    // own stack (the system says where that begins) and below every frame, this one included: nobody will read it before
    // it is written again.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return;
        }
        let found = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(0);
        if found != 0 || !page.is_power_of_two() {
            return;
        }
        let unused = (&raw const here as usize).saturating_sub(MARGIN).saturating_sub(low as usize) & !(page - 1);
        if unused > 0 {
            libc::madvise(low, unused, libc::MADV_DONTNEED);
        }
    }
}

/// Acknowledges what has arrived on a TCP connection now, not with the next bytes that go back. On other sockets it does nothing.
pub fn acknowledge_now(socket: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    let size = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel reads `size` bytes of `on`, no more.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_QUICKACK, (&raw const on).cast(), size);
    }
}

/// Does something keep the system's clock right, as far as the kernel knows? None: it does not say.
pub fn clock_is_kept() -> Option<bool> {
    let mut state = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: a structure of zeros is a valid one that asks for no change; the kernel fills it in and keeps no pointer to it.
    match unsafe { libc::adjtimex(state.as_mut_ptr()) } {
        libc::TIME_ERROR => Some(false),
        0.. => Some(true),
        _ => None,
    }
}

/// For a program that is not ours: the files it makes are its user's alone, and it may open as many as programs expect.
pub fn confine(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let limit = || {
        let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: these only change numbers of the calling process, and a structure of its own that is large enough.
        unsafe {
            libc::umask(0o077);
            if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files) == 0 {
                files.rlim_cur = files.rlim_max.min(1024);
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
            }
        }
        Ok(())
    };
    // SAFETY: what runs between fork and exec makes three system calls, and nothing that takes a lock or memory.
    unsafe {
        command.pre_exec(limit);
    }
}

/// A descriptor that can be read when this process, a child of ours that was not waited for, has ended.
pub fn process_handle(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and gives a descriptor, or -1; the descriptor is nobody else's.
    unsafe {
        let found = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        match i32::try_from(found) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
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

/// Makes a system call with two arguments, and others that are of no use, to see whether it is let through.
#[cfg(test)]
pub fn attempt(number: i64, [first, second]: [i64; 2]) -> io::Result<i64> {
    // SAFETY: nothing of ours lies where a call that takes these for addresses would look.
    match unsafe { libc::syscall(number, first, second, -1i64, -1i64, -1i64, -1i64) } {
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_to_fill_has_room_for_all_and_no_more_memory_than_it_needs() {
        for count in [0, 1, 20_000, 52_429, 300_000] {
            let mut vec = vec_to_fill::<[u8; 100]>(count);
            assert!(vec.is_empty() && vec.capacity() >= count && vec.capacity() < count + (4 << 20) / 100);
            let place = vec.as_ptr();
            vec.extend((0..count).map(|n| [n as u8; 100]));
            assert_eq!(vec.as_ptr(), place);
            assert!(vec.iter().enumerate().all(|(n, item)| *item == [n as u8; 100]));
            vec.push([7; 100]);
            assert_eq!(vec.len(), count + 1);
        }
    }

    /// Pages of this thread's stack that lie in memory, of the 32 below the caller.
    fn resident() -> usize {
        let here = 0u8;
        let top = &raw const here as usize & !4095;
        let mut pages = [0u8; 32];
        // SAFETY: a stack of 256 KiB reaches further down, and each page has its byte.
        let done = unsafe { libc::mincore((top - 32 * 4096) as *mut libc::c_void, 32 * 4096, pages.as_mut_ptr()) };
        assert_eq!(done, 0);
        pages.iter().filter(|page| **page & 1 == 1).count()
    }

    #[inline(never)]
    fn deep() -> u64 {
        let bytes = std::hint::black_box([1u8; 100_000]);
        bytes.iter().map(|byte| u64::from(*byte)).sum()
    }

    #[test]
    fn what_a_deep_call_touched_is_given_back_and_can_be_used_again() {
        let work = || {
            for _ in 0..3 {
                assert_eq!(deep(), 100_000);
                assert!(resident() >= 24);
                give_back_stack();
                assert!(resident() <= 8, "{} pages", resident());
            }
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
    }
}
