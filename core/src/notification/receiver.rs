//! Who is notified, and of what.

use super::{content::NotificationEvent, quiet_hours::QuietHours};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Minimum and maximum length of a receiver's secret, in bytes.
const SECRET_LEN: std::ops::RangeInclusive<usize> = 16..=1_000;
/// Maximum length of a URL, in bytes.
const MAX_URL_LEN: usize = 1_000;
/// Maximum number of patterns of branches, and of addresses of a mail.
const MAX_ITEMS: usize = 20;
/// Maximum length of each, in bytes.
const MAX_ITEM_LEN: usize = 250;

/// The format of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyKind {
    /// JSON, signed with the secret.
    Webhook,
    /// `{"text": ...}`, which chats such as Mattermost and Rocket.Chat accept, too.
    Chat,
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams that posts a card.
    Teams,
    /// A webhook of Discord.
    Discord,
    /// A room of a Matrix homeserver, whose address is the `url`; `secret` is the access token.
    Matrix,
    /// An e-mail, by the server's SMTP settings.
    Email,
}

/// A receiver of notifications.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// The format.
    pub kind: NotifyKind,
    /// The address: `https://` or `http://`; none for e-mail. The address of a chat is itself a secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The secret that signs webhooks, or the access token for Matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The room of Matrix: `!id:example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// The addresses of an e-mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// The events; none: failures and recoveries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<NotificationEvent>,
    /// Patterns of branches and tags, such as `release/*`; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// When notifications wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietHours>,
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Notify {
    /// Creates a receiver of failures and recoveries on all branches.
    pub fn new(kind: NotifyKind, url: impl Into<String>) -> Self {
        let (secret, room, quiet) = (None, None, None);
        let (to, events, branches) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, url: url.into(), secret, room, to, events, branches, quiet }
    }

    /// Checks that everything that the format needs is there.
    ///
    /// # Errors
    /// Returns what is wrong, for a user.
    pub fn check(&self) -> Result<(), String> {
        let is_mail = self.kind == NotifyKind::Email;
        if is_mail != self.url.is_empty() {
            return Err(if is_mail {
                "a receiver of e-mails has `to` instead of a URL".to_owned()
            } else {
                "the receiver needs a URL".to_owned()
            });
        }
        let has_scheme = self.url.starts_with("https://") || self.url.starts_with("http://");
        let is_url = has_scheme && is_plain(&self.url) && self.url.len() <= MAX_URL_LEN;
        if !(is_mail || is_url) {
            return Err("the URL of a notification target must start with https:// or http://".to_owned());
        }
        let length = self.secret.as_deref().unwrap_or_default().len();
        let needs_secret = matches!(self.kind, NotifyKind::Webhook | NotifyKind::Matrix);
        if needs_secret && !SECRET_LEN.contains(&length) {
            let (min, max) = (SECRET_LEN.start(), SECRET_LEN.end());
            return Err(if self.kind == NotifyKind::Webhook {
                format!("a webhook that receives notifications needs a secret of {min} to {max} bytes")
            } else {
                format!("Matrix needs an access token of {min} to {max} bytes as `secret`")
            });
        }
        if !needs_secret && length > 0 {
            return Err("only webhooks and Matrix have a `secret`".to_owned());
        }
        let is_room = |room: &str| room.starts_with('!') && room.len() <= MAX_ITEM_LEN && is_plain(room);
        match (&self.room, self.kind) {
            (Some(room), NotifyKind::Matrix) if is_room(room) => {}
            (None, kind) if kind != NotifyKind::Matrix => {}
            _ => return Err("Matrix, and only Matrix, needs a `room` such as `!id:example.org`".to_owned()),
        }
        self.check_addresses()?;
        if self.branches.len() > MAX_ITEMS {
            return Err(format!("a receiver has at most {MAX_ITEMS} patterns of branches"));
        }
        for pattern in &self.branches {
            if pattern.len() > MAX_ITEM_LEN || crate::condition::glob(pattern).is_err() {
                return Err(format!("`{}` is not a pattern of branches", pattern.escape_debug()));
            }
        }
        self.quiet.as_ref().map_or(Ok(()), QuietHours::check)
    }

    fn check_addresses(&self) -> Result<(), String> {
        if self.kind != NotifyKind::Email {
            return if self.to.is_empty() { Ok(()) } else { Err("only e-mails have `to`".to_owned()) };
        }
        if self.to.is_empty() || self.to.len() > MAX_ITEMS {
            return Err(format!("an e-mail has 1 to {MAX_ITEMS} addresses in `to`"));
        }
        let is_address = |to: &String| {
            to.len() <= MAX_ITEM_LEN
                && is_plain(to)
                && to.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
                && !to.contains(['<', '>', ',', ';', '"'])
        };
        match self.to.iter().find(|to| !is_address(to)) {
            Some(wrong) => Err(format!("`{}` is not the address of a mailbox", wrong.escape_debug())),
            None => Ok(()),
        }
    }

    /// Whether it is notified of this event on this branch or tag.
    #[must_use]
    pub fn accepts(&self, event: NotificationEvent, branch: Option<&str>) -> bool {
        let by_default = matches!(event, NotificationEvent::Failure | NotificationEvent::Recovery);
        let is_chosen = if self.events.is_empty() { by_default } else { self.events.contains(&event) };
        is_chosen && (self.branches.is_empty() || branch.is_some_and(|branch| self.matches(branch)))
    }

    fn matches(&self, branch: &str) -> bool {
        let patterns = self.branches.iter().filter_map(|pattern| crate::condition::glob(pattern).ok());
        patterns.into_iter().any(|glob| glob.compile_matcher().is_match(branch))
    }

    /// Returns when a notification of this moment is sent.
    #[must_use]
    pub fn send_at(&self, now: Timestamp) -> Timestamp {
        self.quiet.as_ref().map_or(now, |quiet| quiet.next_allowed(now))
    }
}

/// Whether a text has neither spaces nor control characters.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Notify, NotifyKind, QuietHours};
    use crate::notification::content::NotificationEvent::{Approval, Failure, Flaky, Recovery};

    #[test]
    fn receiver_chooses_events_and_branches() {
        let all = Notify::new(NotifyKind::Chat, "https://c");
        for (event, expected) in [(Failure, true), (Recovery, true), (Approval, false), (Flaky, false)] {
            assert_eq!(all.accepts(event, None), expected, "{event:?}");
            assert_eq!(all.accepts(event, Some("topic")), expected, "{event:?}");
        }
        let some = Notify {
            events: vec![Approval, Failure],
            branches: vec!["main".into(), "release/*".into()],
            ..all
        };
        for (event, branch, expected) in [
            (Failure, Some("main"), true),
            (Approval, Some("release/1"), true),
            (Recovery, Some("main"), false),
            (Failure, Some("release/1/2"), false),
            (Failure, Some("mainly"), false),
            (Failure, None, false),
        ] {
            assert_eq!(some.accepts(event, branch), expected, "{event:?} {branch:?}");
        }
    }

    #[test]
    fn incomplete_receiver_is_rejected() {
        let of = |kind| Notify::new(kind, "https://example.org/x");
        let mail = |to: &[&str]| Notify {
            url: String::new(),
            to: to.iter().map(ToString::to_string).collect(),
            ..of(NotifyKind::Email)
        };
        let token = Some("0123456789abcdef".to_owned());
        let room = Some("!r:example.org".to_owned());
        let quiet = |from: &str| Some(QuietHours { from: from.into(), to: "07:00".into(), time_zone: None });
        for (receiver, why) in [
            (of(NotifyKind::Webhook), "needs a secret of 16"),
            (of(NotifyKind::Email), "has `to` instead of a URL"),
            (Notify::new(NotifyKind::Slack, ""), "needs a URL"),
            (Notify::new(NotifyKind::Teams, "ftp://x"), "must start with https://"),
            (Notify { secret: token.clone(), ..of(NotifyKind::Discord) }, "only webhooks and Matrix"),
            (Notify { secret: token.clone(), ..of(NotifyKind::Matrix) }, "needs a `room`"),
            (Notify { room: room.clone(), ..of(NotifyKind::Matrix) }, "needs an access token"),
            (Notify { room: room.clone(), ..of(NotifyKind::Slack) }, "needs a `room`"),
            (Notify { to: vec!["a@b".into()], ..of(NotifyKind::Slack) }, "only e-mails"),
            (mail(&[]), "1 to 20 addresses"),
            (mail(&["a b@example.org"]), "not the address of a mailbox"),
            (mail(&["a@b,c@d"]), "not the address of a mailbox"),
            (mail(&["a@b\r\nBcc: c@d"]), "not the address of a mailbox"),
            (Notify { branches: vec!["[".into()], ..of(NotifyKind::Slack) }, "not a pattern"),
            (Notify { quiet: quiet("7"), ..of(NotifyKind::Slack) }, "not a time of day"),
        ] {
            let error = receiver.check().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for valid in [
            of(NotifyKind::Slack),
            mail(&["team@example.org"]),
            Notify { secret: token.clone(), ..of(NotifyKind::Webhook) },
            Notify { secret: token, room, ..of(NotifyKind::Matrix) },
            Notify { quiet: quiet("22:00"), branches: vec!["v*".into()], ..of(NotifyKind::Teams) },
        ] {
            assert_eq!(valid.check(), Ok(()), "{valid:?}");
        }
    }
}
