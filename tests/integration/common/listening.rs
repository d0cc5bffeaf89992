//! A server that a test is itself.

use super::clients::Talk;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Serves who connects, each in a thread of its own. Dropped, it takes no more.
pub struct Listening {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Listening {
    pub fn on<T>(listener: TcpListener, session: impl Fn(TcpStream) -> T + Send + Sync + 'static) -> Listening {
        let (address, stop, session) = (listener.local_addr().unwrap(), Arc::<AtomicBool>::default(), Arc::new(session));
        let stopped = stop.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let session = session.clone();
                thread::spawn(move || drop(session(stream)));
            }
        });
        Listening { address, stop }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(Talk::connect(self.address));
    }
}
