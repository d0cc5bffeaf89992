//! The cage of the process that talks to the network: what it can't do, whoever comes to command it.
//!
//! * It never gains privileges by running a program (`no_new_privs`).
//! * Of the files it could open by its rights, it opens those that it was made for (Landlock). Descriptors that it has, or is
//!   given, work as before.
//! * It runs no program, makes no process, looks into none, and changes nothing of the system (seccomp). These calls fail as if
//!   they were not permitted.
//!
//! Where a kernel can't do one of the last two (a container may forbid it, too), the log says so, and the others remain. There is
//! no way back, and threads that were started before are not in it: it is entered before the first one starts.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, path_beneath_rules,
};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What stays open to it. A path that is not there is passed over.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Files and directories to read, with all that is below.
    pub read: Vec<PathBuf>,
    /// Directories where files and sockets are read, written, made, renamed and removed.
    pub write: Vec<PathBuf>,
    /// Directories where names are listed, given and taken away, and no file is opened.
    pub names: Vec<PathBuf>,
    /// The same, where names move among the directories below, and empty ones of these are removed.
    pub trees: Vec<PathBuf>,
}

/// What of it is in force.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Cage {
    /// Files.
    pub files: bool,
    /// System calls.
    pub calls: bool,
}

/// What every daemon reads: what of `/etc` its account may (names, certificates, aliases: other programs put new files in their
/// place, which only a rule for the directory lets through), times, the libraries that tell who is who (nsswitch.conf(5)), and
/// what the machine has.
const SYSTEM: &[&str] = &[
    "/etc",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/var/lib/sss/mc",
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// Enters it, with this thread and all that it starts.
pub fn enter(allowed: &Allowed) -> Cage {
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        log::warn!("event=sandbox part=privileges error=\"{error}\"");
    }
    let files = confine_files(allowed).map_err(|error| log::warn!("event=sandbox part=files error=\"{error}\"")).is_ok();
    let calls = confine_calls().map_err(|error| log::warn!("event=sandbox part=calls error=\"{error}\"")).is_ok();
    Cage { files, calls }
}

fn confine_files(allowed: &Allowed) -> Result<(), RulesetError> {
    // Later kernels know more; what they do not know is left out, but for moves between directories, that ABI 1 forbids to all.
    let abi = ABI::V5;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(abi) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let names = AccessFs::ReadDir | AccessFs::MakeReg | AccessFs::RemoveFile;
    // Whatever stands among the files there is moved with them.
    let others = AccessFs::MakeSym | AccessFs::MakeFifo | AccessFs::MakeSock;
    let trees = names | others | AccessFs::RemoveDir | AccessFs::Refer;
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(&allowed.read, read))?
        .add_rules(path_beneath_rules(&allowed.write, write))?
        .add_rules(path_beneath_rules(&allowed.names, names))?
        .add_rules(path_beneath_rules(&allowed.trees, trees))?
        .restrict_self()
        .map(drop)
}

fn confine_calls() -> Result<(), Box<dyn std::error::Error>> {
    let is_process = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), 0)?;
    let is_request = |request| SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request);
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|number| (*number, Vec::new())).collect();
    refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_process])?]);
    let terminal = [libc::TIOCSTI, libc::TIOCLINUX].map(is_request);
    let terminal: Result<Vec<_>, _> = terminal.into_iter().map(|condition| SeccompRule::new(vec![condition?])).collect();
    refused.insert(libc::SYS_ioctl, terminal?);
    #[cfg(target_arch = "x86_64")]
    refused.extend(x32());
    install(refused, libc::EPERM)?;
    // Its flags lie in memory, where no filter can look: whoever is told that there is no such call uses the older one.
    install([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

fn install(refused: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> Result<(), Box<dyn std::error::Error>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, SeccompAction::Errno(error.unsigned_abs()), arch)?;
    Ok(seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?)
}

/// The x32 calls, under which some kernels do the same once more: all numbers that have this bit, up to beyond the last one.
#[cfg(target_arch = "x86_64")]
fn x32() -> impl Iterator<Item = (i64, Vec<SeccompRule>)> {
    const BIT: i64 = 0x4000_0000;
    let own = 512..=547;
    DENIED.iter().copied().chain(own).chain([libc::SYS_clone, libc::SYS_clone3]).map(|number| (number | BIT, Vec::new()))
}

/// Never let through.
const DENIED: &[i64] = &[
    // To run programs and make processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // To look into others.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    // To become somebody else.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_personality,
    // To see another system than there is.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // To change the one there is.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    // Parts of the kernel that nothing here needs, and in which holes were found.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fanotify_init,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::apart::apart;
    use crate::sys::unix::attempt;
    use std::fs::{self, File};
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;
    use std::process::Command;
    use std::thread;

    /// Directories that are ours, to be read, and others', all open to everybody, with a file in each.
    fn world() -> (tempfile::TempDir, [PathBuf; 5]) {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        open(dir.path());
        let places = ["ours", "read", "others", "named", "tree"].map(|name| dir.path().join(name));
        for place in &places {
            fs::create_dir_all(place.join("deep")).unwrap();
            fs::write(place.join("file"), "text").unwrap();
            [place.clone(), place.join("deep"), place.join("file")].iter().for_each(|path| open(path));
        }
        (dir, places)
    }

    /// As root, whom no mode would hold back, and as somebody else, with whom it is the cage as well.
    #[test]
    fn files_of_others_are_out_of_reach() {
        apart("sys::sandbox::tests::files_of_others_are_out_of_reach", 2, |case| {
            let (_dir, [ours, read, others, named, tree]) = world();
            if case == 1 {
                nix::unistd::setgroups(&[]).unwrap();
                nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
            }
            let mut before = File::options().read(true).write(true).open(others.join("file")).unwrap();
            if !enter(&Allowed {
                read: vec![read.clone(), "/missing".into()],
                write: vec![ours.clone()],
                names: vec![named.clone()],
                trees: vec![tree.clone()],
            })
            .files
            {
                eprintln!("skipped, for this kernel has no Landlock");
                return;
            }
            let refused = |what: std::io::Result<()>| assert_eq!(what.unwrap_err().kind(), ErrorKind::PermissionDenied);
            let file = others.join("file");
            thread::scope(|scope| scope.spawn(|| refused(File::open(&file).map(drop))).join().unwrap());
            assert_eq!(File::open("/etc/shadow").is_ok(), case == 0);
            refused(File::options().write(true).open(&file).map(drop));
            refused(File::create(others.join("new")).map(drop));
            refused(fs::create_dir(others.join("new")));
            refused(fs::read_dir(&others).map(drop));
            refused(fs::remove_file(&file));
            refused(UnixListener::bind(others.join("socket")).map(drop));
            refused(File::open(Path::new("/proc/self/root").join(file.strip_prefix("/").unwrap())).map(drop));
            symlink(&file, ours.join("link")).unwrap();
            refused(File::open(ours.join("link")).map(drop));
            assert!(
                fs::rename(&file, ours.join("moved")).is_err() && fs::rename(ours.join("file"), others.join("moved")).is_err()
            );
            assert!(fs::hard_link(&file, ours.join("linked")).is_err());
            // What is for reading is not for writing.
            assert_eq!(fs::read(read.join("file")).unwrap(), b"text");
            refused(File::options().write(true).open(read.join("file")).map(drop));
            refused(fs::remove_file(read.join("file")));
            // Where only names are ours: as dotlocks are made.
            let file = named.join("file");
            refused(File::open(&file).map(drop));
            refused(File::options().write(true).open(&file).map(drop));
            // The file is made before it is refused to be opened.
            refused(File::create(named.join("new")).map(drop));
            refused(fs::create_dir(named.join("newer")));
            assert!(fs::hard_link(&file, ours.join("stolen")).is_err() && fs::rename(&file, ours.join("stolen")).is_err());
            assert_eq!(fs::read_dir(&named).unwrap().count(), 3);
            File::open(&named).unwrap().sync_all().unwrap();
            fs::hard_link(&file, named.join("file.lock")).unwrap();
            fs::remove_file(named.join("file.lock")).unwrap();
            // Where they move, too: among themselves, not to where they could be opened.
            let file = tree.join("file");
            for open in [File::open(&file), File::options().write(true).open(&file), File::create(tree.join("new"))] {
                refused(open.map(drop));
            }
            refused(fs::create_dir(tree.join("newer")));
            for to in [&ours, &named, &read] {
                assert!(fs::hard_link(&file, to.join("stolen")).is_err() && fs::rename(&file, to.join("stolen")).is_err());
            }
            fs::hard_link(&file, tree.join("deep/second")).unwrap();
            fs::remove_file(&file).unwrap();
            refused(File::open(tree.join("deep/second")).map(drop));
            fs::rename(tree.join("deep/second"), tree.join("file")).unwrap();
            File::open(tree.join("deep")).unwrap().sync_all().unwrap();
            fs::remove_dir(tree.join("deep")).unwrap();
            // A descriptor stays what it is.
            let mut text = String::new();
            before.read_to_string(&mut text).unwrap();
            before.write_all(b"more").unwrap();
            before.set_len(2).unwrap();
            assert_eq!(text, "text");
            // And what is ours is ours.
            fs::create_dir(ours.join("new")).unwrap();
            fs::write(ours.join("new/file"), "new").unwrap();
            fs::rename(ours.join("new/file"), ours.join("deep/file")).unwrap();
            fs::hard_link(ours.join("deep/file"), ours.join("second")).unwrap();
            fs::remove_file(ours.join("deep/file")).unwrap();
            assert_eq!(fs::read(ours.join("second")).unwrap(), b"new");
            let listener = UnixListener::bind(ours.join("socket")).unwrap();
            UnixStream::connect(ours.join("socket")).unwrap();
            listener.accept().unwrap();
        });
    }

    #[test]
    fn calls_that_are_not_its_own_are_refused() {
        apart("sys::sandbox::tests::calls_that_are_not_its_own_are_refused", 1, |_| {
            let program = |path: &str| Command::new(path).status();
            assert!(program("/bin/true").unwrap().success());
            assert!(enter(&Allowed::default()).calls);
            let errno = |number, with| attempt(number, with).unwrap_err().raw_os_error();
            assert!(program("/bin/true").is_err());
            for number in DENIED {
                assert_eq!(errno(*number, [-1, -1]), Some(libc::EPERM), "call {number}");
                #[cfg(target_arch = "x86_64")]
                assert_eq!(errno(number | 0x4000_0000, [-1, -1]), Some(libc::EPERM), "call {number}");
            }
            assert_eq!(errno(libc::SYS_clone, [libc::SIGCHLD.into(), -1]), Some(libc::EPERM));
            assert_eq!(errno(libc::SYS_clone3, [-1, -1]), Some(libc::ENOSYS));
            for (request, expected) in [(libc::TIOCSTI, libc::EPERM), (libc::TIOCLINUX, libc::EPERM), (libc::TCGETS, libc::EBADF)]
            {
                assert_eq!(errno(libc::SYS_ioctl, [-1, request as i64]), Some(expected));
            }
            // Threads start as ever, and are in it.
            let inside = thread::spawn(move || attempt(libc::SYS_unshare, [-1, -1]).unwrap_err().raw_os_error());
            assert_eq!(inside.join().unwrap(), Some(libc::EPERM));
            assert!(nix::sys::prctl::get_no_new_privs().unwrap());
        });
    }
}
