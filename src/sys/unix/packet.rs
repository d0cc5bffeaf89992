//! Packets between two processes of this host: each arrives whole, and may bring open descriptors with it (unix(7), SCM_RIGHTS).

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The system gives no more of them with one packet (SCM_MAX_FD): a buffer for so many is never too small, so that none
/// arrives which nobody then knows of.
const MOST_DESCRIPTORS: usize = 253;

/// Two ends of a socket for packets.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one packet; `wait` until there is room for it. [`ErrorKind::WouldBlock`]: there was none.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &[][..] } else { &rights };
    let flags = if wait { MsgFlags::MSG_NOSIGNAL } else { MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights, flags, None) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(_) => return Err(ErrorKind::WriteZero.into()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one packet and what came with it, without waiting. None: the other end is closed, or sent nothing as a packet. One
/// that is longer than `most` bytes, or whose descriptors could not all be taken, is an error, and so gone.
pub fn receive(socket: BorrowedFd<'_>, most: usize) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    // One byte more tells what was cut.
    let mut bytes = vec![0u8; most + 1];
    let mut control = [0u64; (size_of::<libc::cmsghdr>() + MOST_DESCRIPTORS * size_of::<RawFd>()).div_ceil(8) + 8];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut descriptors = Vec::new();
    // SAFETY: the header names two buffers with their sizes, both alive during the call; its other fields may be zero. The
    // system fills the second with whole messages, which the CMSG macros walk within the length it has noted, and each
    // descriptor in them is open, and nobody else's.
    let (read, flags) = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        let read = loop {
            match libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT) {
                -1 if Errno::last() == Errno::EINTR => {}
                -1 => return Err(io::Error::last_os_error()),
                read => break usize::try_from(read).unwrap_or(0),
            }
        };
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(head) = message.as_ref() {
            if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let count = head.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                let first: *const RawFd = libc::CMSG_DATA(message).cast();
                descriptors.extend((0..count).map(|at| OwnedFd::from_raw_fd(first.add(at).read_unaligned())));
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
        (read, header.msg_flags)
    };
    match read {
        0 => Ok(None),
        read if read > most || flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 => {
            Err(io::Error::new(ErrorKind::InvalidData, "a packet that was too long, or brought too much"))
        }
        read => {
            bytes.truncate(read);
            Ok(Some((bytes, descriptors)))
        }
    }
}

/// What [`receive`] gives, without taking it: has the other end closed?
pub fn is_closed(socket: &impl AsFd) -> bool {
    let mut byte = [0];
    let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    match nix::sys::socket::recv(socket.as_fd().as_raw_fd(), &mut byte, peek) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error, Errno::EAGAIN | Errno::EINTR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    fn take(socket: &OwnedFd, most: usize) -> io::Result<Option<(Vec<u8>, usize)>> {
        Ok(receive(socket.as_fd(), most)?.map(|(bytes, descriptors)| (bytes, descriptors.len())))
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn packets_arrive_whole_and_bring_descriptors() {
        let (one, other) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        file.rewind().unwrap();
        assert_eq!(take(&other, 10).unwrap_err().kind(), ErrorKind::WouldBlock);
        send(one.as_fd(), b"first", &[file.as_fd()], true).unwrap();
        send(one.as_fd(), b"second", &[], true).unwrap();
        let (bytes, mut descriptors) = receive(other.as_fd(), 10).unwrap().unwrap();
        let mut text = String::new();
        File::from(descriptors.pop().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!((&bytes[..], text.as_str(), descriptors.len()), (&b"first"[..], "inside", 0));
        assert_eq!(take(&other, 10).unwrap(), Some((b"second".to_vec(), 0)));
        assert!(!is_closed(&other));
        drop(one);
        assert!(is_closed(&other) && take(&other, 10).unwrap().is_none());
        assert!(send(other.as_fd(), b"x", &[], true).is_err());
    }

    #[test]
    fn what_is_too_much_leaves_nothing_behind() {
        // In a process of its own, since others open files, too.
        crate::sys::apart::apart("sys::unix::packet::tests::what_is_too_much_leaves_nothing_behind", 1, |_| {
            let (one, other) = pair().unwrap();
            let file = tempfile::tempfile().unwrap();
            let before = open_descriptors();
            for _ in 0..100 {
                send(one.as_fd(), b"longer than ten", &[file.as_fd(); 253], true).unwrap();
                assert_eq!(take(&other, 10).unwrap_err().kind(), ErrorKind::InvalidData);
                send(one.as_fd(), b"x", &[file.as_fd(); 253], true).unwrap();
                assert_eq!(take(&other, 10).unwrap(), Some((b"x".to_vec(), 253)));
            }
            assert_eq!(open_descriptors(), before);
            // Fewer can be had than came.
            use nix::sys::resource::{Resource, getrlimit, setrlimit};
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            send(one.as_fd(), b"x", &[file.as_fd(); 253], true).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, before as u64 + 20, hard).unwrap();
            let taken = take(&other, 10);
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
            assert_eq!(taken.unwrap_err().kind(), ErrorKind::InvalidData);
            assert_eq!(open_descriptors(), before);
        });
    }
}
