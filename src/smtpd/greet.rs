//! HELO, EHLO (RFC 5321 §4.1.1.1) and STARTTLS (RFC 3207).

use super::policy;
use super::session::{Hello, Outcome, Session};
use crate::auth::Shown;
use crate::mail::release;
use crate::net::{NetError, Peer};
use crate::smtp::reply::{self, Reply};
use std::fmt::Write as _;

impl Session<'_> {
    /// HELO and EHLO. A transaction that was open is forgotten (RFC 5321 §4.1.4).
    pub(super) fn greet(&mut self, name: &str, extended: bool) -> Reply {
        self.reset();
        log::debug!("session={} smtp hello name={} extended={extended}", self.name, Shown(name));
        self.hello = Some(Hello { name: name.to_owned(), from: from_clause(name, self.connection.peer()), extended });
        let config = &self.server.config;
        let mut text = format!("{} at your service", config.hostname);
        if extended {
            let client = self.client();
            let _ = write!(text, "\nLIMITS RCPTMAX={}", policy::most_recipients(self.connection.peer(), config));
            let _ = write!(text, "\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nDSN\nENHANCEDSTATUSCODES", config.max_message_size);
            if !self.is_lmtp() {
                text.push_str("\nCHUNKING");
            }
            if let Some(longest) = policy::longest_wait(&client, config) {
                // Both say the same (RFC 4865 §3); the seconds of the reply are given away.
                let latest = release::shown(self.server.clock.now() + longest);
                let _ = write!(text, "\nFUTURERELEASE {} {latest}", longest.as_secs().min(999_999_999));
            }
            if policy::may_be_secret(&client, true).is_ok() {
                text.push_str("\nREQUIRETLS");
            }
            if policy::may_start_tls(&client).is_ok() {
                text.push_str("\nSTARTTLS");
            }
            if policy::offers_login(&client, config) {
                text.push_str("\nAUTH");
                self.candidate().mechanisms().iter().for_each(|mechanism| text.extend([" ", mechanism.name()]));
            }
        }
        Reply::new(250, "", text)
    }

    /// STARTTLS. What came in plaintext behind it is not obeyed, now or later (CVE-2011-0411).
    pub(super) fn start_tls(&mut self) -> Result<Outcome, NetError> {
        if let Err(refusal) = policy::may_start_tls(&self.client()) {
            return Ok(Outcome::Say(refusal));
        }
        if self.connection.input_pending() {
            log::warn!("session={} smtp starttls refused reason=pipelined", self.name);
            let mut line = Vec::new();
            while self.connection.input_pending() {
                self.connection.read_line(0, &mut line)?;
            }
            return Ok(Outcome::Say(reply::PIPELINED));
        }
        Ok(Outcome::Secure(reply::START_TLS))
    }

    /// The handshake. After it the session is as it was before the first greeting (RFC 3207 §4.2).
    pub(super) fn secure(&mut self) -> Result<(), NetError> {
        let Some(tls) = self.server.tls.clone() else {
            return self.say(&reply::NO_TLS);
        };
        self.connection.set_deadline(Some(self.server.config.timeouts.command));
        // A peer that is in the middle of a handshake can't be told anything.
        let dropped = self.connection.accept_tls(&tls).map_err(|error| {
            log::info!("session={} smtp starttls failed error={:?}", self.name, error.to_string());
            NetError::Closed
        })?;
        if dropped {
            log::warn!("session={} smtp starttls dropped plaintext", self.name);
        }
        self.login = super::login::of_peer(self.connection.peer(), self.protocol);
        self.hello = None;
        self.reset();
        if let Some(info) = self.connection.tls() {
            log::info!("session={} smtp starttls version={} cipher={}", self.name, info.version, info.cipher);
        }
        Ok(())
    }
}

/// The `from` clause of the trace field (RFC 5321 §4.4): the name the client gave itself, made harmless, and where it is.
///
/// ```abnf
/// Extended-Domain = Domain / ( Domain FWS "(" TCP-info ")" ) / ( address-literal FWS "(" TCP-info ")" )
/// ```
fn from_clause(name: &str, peer: &Peer) -> String {
    let harmless = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']');
    let mut from: String = name.chars().map(|char| if harmless(char) { char } else { '?' }).collect();
    let _ = match peer {
        Peer::Tcp(address) => write!(from, " ({})", crate::mail::Domain::Literal(address.ip())),
        Peer::Unix { uid, .. } => write!(from, " (uid {uid})"),
    };
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_forges_nothing_in_the_trace_field() {
        let tcp = |text: &str| Peer::Tcp(text.parse().unwrap());
        let unix = Peer::Unix { uid: 1000, pid: 1 };
        assert_eq!(from_clause("client.test", &tcp("192.0.2.1:9")), "client.test ([192.0.2.1])");
        assert_eq!(from_clause("[192.0.2.9]", &tcp("[2001:db8::1]:9")), "[192.0.2.9] ([IPv6:2001:db8::1])");
        assert_eq!(from_clause("a;(b)\"<c>\\", &unix), "a??b???c?? (uid 1000)");
    }
}
