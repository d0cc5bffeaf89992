//! For those who watch the daemon: whether it is well, and what it has counted.
//!
//! `GET /health` is answered by 200 while mail can be taken and sent on, else by 503 and the reasons; `GET /metrics` by all
//! numbers that `pillarboxctl status` shows (`metrics`). Nobody logs in here: no answer tells of users, mail or other hosts.

mod metrics;

use crate::config::Config;
use crate::ctld::Supervisor;
use crate::delivery::Delivery;
use crate::httpd::{self, Method, Request, Response, Site, Status, Terms};
use crate::net::Connection;
use crate::sys::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What was found holds for so long: who asks often does not keep the disk busy.
const HOLDS: Duration = Duration::from_secs(1);

/// What all sessions of watchers share.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    delivery: Arc<Delivery>,
    supervisor: Arc<dyn Supervisor>,
    /// When it was looked last, and what was wrong.
    found: Mutex<Option<(Duration, Vec<String>)>>,
}

impl Server {
    /// Time-outs, the time, what is watched.
    pub fn new(config: Arc<Config>, clock: Arc<dyn Clock>, delivery: Arc<Delivery>, supervisor: Arc<dyn Supervisor>) -> Server {
        Server { config, clock, delivery, supervisor, found: Mutex::default() }
    }

    /// Speaks with one watcher. `session` is its name in the log.
    pub fn serve(&self, connection: Connection, session: &str) {
        let terms = Terms { idle: self.config.timeouts.command, data: self.config.timeouts.data };
        httpd::serve(connection, session, terms, &*self.clock, self);
    }

    /// What is wrong. That connections are accepted shows by being asked.
    fn trouble(&self) -> Vec<String> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match &*found {
            Some((then, trouble)) if self.clock.elapsed().saturating_sub(*then) < HOLDS => trouble.clone(),
            _ => {
                let mut trouble = Vec::new();
                if !self.delivery.is_running() {
                    trouble.push("the queue is not run".to_owned());
                }
                trouble.extend(self.delivery.try_spool().err().map(|error| format!("the spool: {error}")));
                *found = Some((self.clock.elapsed(), trouble.clone()));
                trouble
            }
        }
    }

    fn health(&self) -> Response {
        match self.trouble().as_slice() {
            [] => Response::text(Status::OK, "ok\n"),
            trouble => Response::text(Status::SERVICE_UNAVAILABLE, &format!("{}\n", trouble.join("\n"))),
        }
    }

    fn metrics(&self) -> Response {
        let text = metrics::text(&self.supervisor.status(), self.delivery.counts(), self.trouble().is_empty());
        Response::of(Status::OK, metrics::KIND, text.into_bytes())
    }
}

impl Site for Server {
    fn answer(&self, request: &mut Request<'_>) -> Result<Response, Status> {
        let response = match (request.head.path.as_str(), request.head.method) {
            ("/health" | "/metrics", Method::Post | Method::Other) => {
                self.refusal(Status::METHOD_NOT_ALLOWED).with("Allow", "GET, HEAD")
            }
            ("/health", _) => self.health(),
            ("/metrics", _) => self.metrics(),
            _ => return Err(Status::NOT_FOUND),
        };
        Ok(response.with("Cache-Control", "no-store").with("X-Content-Type-Options", "nosniff"))
    }
}
