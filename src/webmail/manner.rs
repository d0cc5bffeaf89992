//! How a message is to be sent: how much it matters, when it may leave, and whether its writer wants to hear that it arrived.
//! What is asked for stands in the form, and in the draft: how much it matters in fields that are sent with it, the rest in one
//! that is left out then.
//!
//! ```abnf
//! draft-field = "X-Pillarbox-Draft:" [ "report" ] [ "at=" local-time ]   ; with a blank before each
//! ```

use super::list::value;
use super::site::{Context, Form};
use crate::mail::dsn::Notify;
use crate::mail::{Priority, RcptDsn, Release, date, header, words};
use maud::{Markup, html};
use std::time::Duration;

/// A message that can be taken back waits so long.
const TO_THINK: u32 = 15;
/// Characters of a time.
const LONGEST_TIME: usize = 40;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// `high`, `low`, or nothing.
    pub importance: String,
    pub report: bool,
    /// As the browser writes it, `2026-12-31T09:00`, in the host's zone; empty: at once.
    pub at: String,
}

impl Manner {
    pub(super) fn of(form: &Form) -> Manner {
        let importance = form.get("importance").filter(|word| ["high", "low"].contains(word)).unwrap_or_default();
        let at = form.get("at").unwrap_or_default().chars().filter(char::is_ascii_graphic).take(LONGEST_TIME).collect();
        Manner { importance: importance.to_owned(), report: form.get("report").is_some(), at }
    }

    /// As a draft tells it.
    pub(super) fn of_header(header: &[u8]) -> Manner {
        let importance = match Priority::of(header) {
            Priority::Urgent => "high",
            Priority::Low => "low",
            Priority::Normal => "",
        };
        let kept = words::raw(&header::unfold(value(header, header::DRAFT)));
        let mut said = kept.split_ascii_whitespace();
        Manner {
            importance: importance.to_owned(),
            report: said.clone().any(|word| word == "report"),
            at: said.find_map(|word| word.strip_prefix("at=")).unwrap_or_default().to_owned(),
        }
    }

    /// Fields of the header (RFC 2156 §5.3.4; the second is what most programs read).
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let number = match self.importance.as_str() {
            "high" => "1 (Highest)",
            "low" => "5 (Lowest)",
            _ => "",
        };
        let at = if self.at.is_empty() { String::new() } else { format!("at={}", self.at) };
        let draft = [if self.report { "report" } else { "" }, &at].join(" ").trim().to_owned();
        vec![("Importance", self.importance.clone()), ("X-Priority", number.to_owned()), (header::DRAFT, draft)]
    }

    /// What recipients' reports are asked for (RFC 3461 §4.1).
    pub(super) fn dsn(&self) -> RcptDsn {
        let notify = self.report.then_some(Notify { success: true, failure: true, delay: true });
        RcptDsn { notify, ..RcptDsn::default() }
    }

    /// When it may leave (RFC 4865): then, or after a moment in which it can be taken back. An error tells what is wrong.
    pub(super) fn release(&self, context: &Context<'_>, to_think: bool) -> Result<Option<Release>, String> {
        let longest = context.server.config.submission.longest_wait;
        if self.at.is_empty() {
            return Ok((to_think && longest >= Duration::from_secs(TO_THINK.into())).then_some(Release::After(TO_THINK)));
        }
        let now = context.server.clock.now();
        let at = date::local(&self.at).ok_or("The time to send it can't be understood.")?;
        let span = u64::try_from(at.seconds() - now.seconds()).unwrap_or(0);
        if span == 0 {
            return Err("The time to send it is over.".to_owned());
        }
        match u32::try_from(span) {
            Ok(seconds) if span <= longest.as_secs() => Ok(Some(Release::After(seconds))),
            _ => Err(format!("A message can wait for {} days at most.", longest.as_secs() / 86_400)),
        }
    }

    pub(super) fn markup(&self, zone: &str) -> Markup {
        let is = |word: &str| self.importance == word;
        html! {
            details.manner open[*self != Manner::default()] {
                summary { "More" }
                label {
                    span { "Importance" }
                    select name="importance" {
                        option value="" { "normal" }
                        option value="high" selected[is("high")] { "high" }
                        option value="low" selected[is("low")] { "low" }
                    }
                }
                label { span { "Send at" } input type="datetime-local" name="at" value=(self.at) title={ "By the clock of this server, " (zone) ". Empty: at once." }; }
                label.line { input type="checkbox" name="report" value="1" checked[self.report]; " Tell me when it is delivered" }
            }
        }
    }
}
