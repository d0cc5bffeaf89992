//! All integration tests, in one binary because linking costs more than running most of them.
//!
//! They drive the real programs over loopback, with directories of their own and ports that were free.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod aliases;
mod alternatives;
mod arc;
mod attacks;
mod carry;
mod common;
mod compress;
mod conversion;
mod crash;
mod destinations;
mod dialogue;
mod dialogues;
mod drop;
mod feedback;
mod fetch;
mod fuzz;
mod health;
mod hidden;
mod identity;
mod init;
mod install;
mod international;
mod junk;
mod later;
mod layers;
mod lists;
mod load;
mod long_queue;
mod mailbox;
mod monitor;
mod outbound;
mod proxy;
mod published;
mod queue;
mod relay;
mod remote;
mod restart;
mod runner;
mod scram;
mod screen;
mod search;
mod sendmail;
mod shared;
mod small;
mod story;
mod submission;
mod system;
mod transport;
mod trust;
mod upgrade;
mod vacation;
mod waiting;
mod webmail;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The long ones first, so that the short ones fill the gaps.
    let modules = [
        crash::tests(),
        story::tests(),
        relay::tests(),
        identity::tests(),
        remote::tests(),
        load::tests(),
        long_queue::tests(),
        restart::tests(),
        destinations::tests(),
        outbound::tests(),
        admin::tests(),
        aliases::tests(),
        alternatives::tests(),
        arc::tests(),
        carry::tests(),
        queue::tests(),
        proxy::tests(),
        published::tests(),
        submission::tests(),
        trust::tests(),
        transport::tests(),
        upgrade::tests(),
        vacation::tests(),
        later::tests(),
        conversion::tests(),
        international::tests(),
        junk::tests(),
        shared::tests(),
        system::tests(),
        small::tests(),
        attacks::tests(),
        monitor::tests(),
        waiting::tests(),
        screen::tests(),
        webmail::tests(),
        search::tests(),
        feedback::tests(),
        fetch::tests(),
        scram::tests(),
        compress::tests(),
        sendmail::tests(),
        drop::tests(),
        health::tests(),
        hidden::tests(),
        install::tests(),
        init::tests(),
        fuzz::tests(),
        layers::tests(),
        lists::tests(),
        mailbox::tests(),
        dialogues::tests(),
    ];
    runner::main(modules.into_iter().flatten().collect())
}
