//! The formats in which chats, webhooks and mailboxes receive notifications. Texts come from repositories and logs, so each format
//! quotes what would be markup, a mention or a link there.

use super::{
    content::{Notification, NotificationEvent, Paragraph, cut},
    markdown::unfenced,
    message::{Message, Method, OutgoingMail, OutgoingRequest},
    receiver::{Notify, NotifyKind},
};
use crate::repository::webhook::sign;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Maximum number of characters of a section of Slack.
const MAX_SLACK_SECTION: usize = 2_900;
/// Maximum numbers of characters in a card of Discord, which rejects those with more than 6,000 in total: of its title, of the name and
/// the text of a field, and of the description beside fields and alone.
const MAX_DISCORD_TITLE: usize = 250;
const MAX_DISCORD_NAME: usize = 150;
const MAX_DISCORD_FIELD: usize = 750;
const MAX_DISCORD_DESCRIPTION: usize = 1_000;
const MAX_DISCORD_DESCRIPTION_ALONE: usize = 3_000;
/// Keeps characters from being markup together: those that end a block of code, a mention, or a link.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// A delivery: what identifies it at its receiver, and when it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The same for each attempt.
    pub id: &'a str,
    /// The time of the attempt, as RFC 3339.
    pub at: &'a str,
}

impl Notification {
    /// Returns the message for a receiver.
    #[must_use]
    pub fn message(&self, to: &Notify, delivery: Delivery<'_>) -> Message {
        let post = |body: &Value| Message::Request(OutgoingRequest::post(&to.url, Vec::new(), body));
        match to.kind {
            NotifyKind::Webhook => Message::Request(self.webhook_request(to, delivery)),
            NotifyKind::Chat => post(&json!({ "text": self.chat_text() })),
            NotifyKind::Slack => post(&self.slack()),
            NotifyKind::Teams => post(&self.teams()),
            NotifyKind::Discord => post(&self.discord()),
            NotifyKind::Matrix => Message::Request(self.matrix_request(to, delivery)),
            NotifyKind::Email => Message::Mail(OutgoingMail {
                to: to.to.clone(),
                subject: self.headline(),
                text: self.plain_text(),
                id: delivery.id.replace(':', "-"),
            }),
        }
    }

    /// Signed JSON. The signature covers the delivery and the time, so that a receiver can recognise repetitions.
    fn webhook_request(&self, to: &Notify, delivery: Delivery<'_>) -> OutgoingRequest {
        let mut body = serde_json::to_value(self).unwrap_or(Value::Null);
        body["delivery"] = json!(delivery.id);
        body["sent_at"] = json!(delivery.at);
        let text = body.to_string();
        let secret = to.secret.as_deref().unwrap_or_default();
        let signature = format!("sha256={}", sign(secret.as_bytes(), text.as_bytes()));
        let headers =
            vec![("x-tidemill-signature-256", signature), ("x-tidemill-delivery", delivery.id.to_owned())];
        OutgoingRequest { method: Method::Post, url: to.url.clone(), headers, body: text }
    }

    /// Text for chats of any kind, some of which read Markdown in it.
    fn chat_text(&self) -> String {
        let at = self.url.as_ref().map(|url| format!(": {}", slack_quoted(url))).unwrap_or_default();
        let mut text = format!("{}{at}", chat_quoted(&self.headline()));
        for paragraph in self.paragraphs() {
            let _ = match paragraph {
                Paragraph::Line(line) => write!(text, "\n{}", chat_quoted(&line)),
                Paragraph::Excerpt { heading, lines } => {
                    write!(text, "\n{}\n{}", chat_quoted(&heading), chat_quoted(&indented(&lines)))
                }
            };
        }
        text
    }

    /// Blocks of Slack (<https://docs.slack.dev/reference/block-kit/blocks/>).
    fn slack(&self) -> Value {
        let headline = slack_quoted(&self.headline());
        let mut sections = vec![match &self.url {
            Some(url) => format!("*<{}|{headline}>*", slack_quoted(url)),
            None => format!("*{headline}*"),
        }];
        for paragraph in self.paragraphs() {
            sections.push(match paragraph {
                Paragraph::Line(line) => slack_quoted(&line),
                Paragraph::Excerpt { heading, lines } => {
                    format!(
                        "{}\n```{}```",
                        slack_quoted(&heading),
                        unfenced(&slack_quoted(&lines.join("\n")))
                    )
                }
            });
        }
        let blocks = sections.into_iter().map(|text| {
            let text = json!({ "type": "mrkdwn", "text": cut(&text, MAX_SLACK_SECTION), "verbatim": true });
            json!({ "type": "section", "text": text })
        });
        json!({ "text": headline, "blocks": blocks.collect::<Vec<_>>() })
    }

    /// An adaptive card (<https://adaptivecards.io/explorer/AdaptiveCard.html>) of runs of text, in which nothing is markup.
    fn teams(&self) -> Value {
        let run = |text: &str| json!({ "type": "TextRun", "text": text });
        let block = |inlines: Vec<Value>| json!({ "type": "RichTextBlock", "inlines": inlines });
        let headline = json!({ "type": "TextRun", "text": self.headline(), "weight": "Bolder" });
        let mut body = vec![block(vec![headline])];
        for paragraph in self.paragraphs() {
            match paragraph {
                Paragraph::Line(line) => body.push(block(vec![run(&line)])),
                Paragraph::Excerpt { heading, lines } => {
                    body.push(block(vec![run(&heading)]));
                    for line in lines.iter().filter(|line| !line.is_empty()) {
                        let line = json!({ "type": "TextRun", "text": line, "fontType": "Monospace" });
                        body.push(block(vec![line]));
                    }
                }
            }
        }
        let open = |url: &String| json!({ "type": "Action.OpenUrl", "title": "Open", "url": url });
        let actions: Vec<Value> = self.url.iter().map(open).collect();
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": body,
                    "actions": actions,
                },
            }],
        })
    }

    /// An embed of Discord (<https://discord.com/developers/docs/resources/message#embed-object>).
    fn discord(&self) -> Value {
        let color = match self.event {
            NotificationEvent::Failure => 0x00cf_222e,
            NotificationEvent::Recovery => 0x001a_7f37,
            NotificationEvent::Approval | NotificationEvent::Flaky => 0x009a_6700,
        };
        let (mut description, mut fields) = (String::new(), Vec::new());
        for paragraph in self.paragraphs() {
            match paragraph {
                Paragraph::Line(line) => {
                    let _ = writeln!(description, "{}", markdown_quoted(&line));
                }
                Paragraph::Excerpt { heading, lines } => {
                    let code = cut(&unfenced(&lines.join("\n")), MAX_DISCORD_FIELD);
                    let name = cut(&markdown_quoted(&heading), MAX_DISCORD_NAME);
                    fields.push(json!({ "name": name, "value": format!("```\n{code}\n```") }));
                }
            }
        }
        let max = if fields.is_empty() { MAX_DISCORD_DESCRIPTION_ALONE } else { MAX_DISCORD_DESCRIPTION };
        let mut embed = json!({
            "title": cut(&markdown_quoted(&self.headline()), MAX_DISCORD_TITLE),
            "description": cut(&description, max),
            "color": color,
            "fields": fields,
        });
        if let Some(url) = &self.url {
            embed["url"] = json!(url);
        }
        json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
    }

    /// A notice in a room of Matrix (<https://spec.matrix.org/latest/client-server-api/#mnotice>). The transaction id makes a
    /// repetition the same message.
    fn matrix_request(&self, to: &Notify, delivery: Delivery<'_>) -> OutgoingRequest {
        let mut html = match &self.url {
            Some(url) => format!("<a href=\"{}\">{}</a>", html_quoted(url), html_quoted(&self.headline())),
            None => html_quoted(&self.headline()),
        };
        for paragraph in self.paragraphs() {
            let _ = match paragraph {
                Paragraph::Line(line) => write!(html, "<br>{}", html_quoted(&line)),
                Paragraph::Excerpt { heading, lines } => write!(
                    html,
                    "<br>{}<pre><code>{}</code></pre>",
                    html_quoted(&heading),
                    html_quoted(&lines.join("\n"))
                ),
            };
        }
        let body = json!({
            "msgtype": "m.notice",
            "body": self.plain_text(),
            "format": "org.matrix.custom.html",
            "formatted_body": html,
            // Without it, servers and clients search the text for names and for @room.
            "m.mentions": {},
        });
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let room = encoded(to.room.as_deref().unwrap_or_default());
        let base = to.url.trim_end_matches('/');
        let url =
            format!("{base}/_matrix/client/v3/rooms/{room}/send/m.room.message/{}", encoded(delivery.id));
        let token = to.secret.as_deref().unwrap_or_default();
        let headers = vec![("authorization", format!("Bearer {token}"))];
        OutgoingRequest { method: Method::Put, url, headers, body: body.to_string() }
    }

    fn plain_text(&self) -> String {
        let mut text = format!("{}\n", self.headline());
        if let Some(url) = &self.url {
            let _ = writeln!(text, "{url}");
        }
        for paragraph in self.paragraphs() {
            let _ = match paragraph {
                Paragraph::Line(line) => writeln!(text, "\n{line}"),
                Paragraph::Excerpt { heading, lines } => writeln!(text, "\n{heading}\n{}", indented(&lines)),
            };
        }
        text
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Quotes the three characters that begin links and mentions in Slack's texts.
fn slack_quoted(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Quotes for chats that read Slack's texts, and for those that read Markdown: names after @ and targets of links and images stay text.
fn chat_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in slack_quoted(text).chars() {
        if matches!(c, '(' | '[' | ':') && quoted.ends_with(']') {
            quoted.push(ZERO_WIDTH_SPACE);
        }
        quoted.push(c);
        if c == '@' {
            quoted.push(ZERO_WIDTH_SPACE);
        }
    }
    quoted
}

fn html_quoted(text: &str) -> String {
    slack_quoted(text).replace('"', "&quot;").replace('\'', "&#39;")
}

/// Quotes each character with which Markdown could begin something.
fn markdown_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, ',' | '/' | ';' | '?' | '"' | '\'' | '%' | '&' | '=') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Delivery, Notification, NotificationEvent};
    use crate::notification::{
        content::NotifiedJob,
        message::{Message, Method, OutgoingRequest},
        receiver::{Notify, NotifyKind},
    };
    use crate::repository::webhook::sign;
    use serde_json::Value;

    const DELIVERY: Delivery<'_> = Delivery { id: "e:0", at: "2026-01-01T00:00:00Z" };

    fn notification() -> Notification {
        Notification {
            event: NotificationEvent::Failure,
            repository: "x/y".into(),
            pipeline: "<!channel>".into(),
            run_number: 3,
            execution_id: "e".into(),
            branch: Some("main".into()),
            commit: Some("c0ffee1234567".into()),
            title: Some("Add @everyone **now**".into()),
            author: Some("Eve".into()),
            jobs: vec![NotifiedJob {
                name: "test".into(),
                reason: Some("exit code 1".into()),
                lines: vec!["error: </code>```<@U1>".into(), "at \"x\"".into()],
            }],
            more_jobs: 2,
            tests: Vec::new(),
            url: Some("https://ci.example.org/executions/e".into()),
        }
    }

    fn request(to: &Notify) -> (OutgoingRequest, Value) {
        let Message::Request(request) = notification().message(to, DELIVERY) else { panic!("not a request") };
        let body = serde_json::from_str(&request.body).unwrap();
        (request, body)
    }

    fn post(kind: NotifyKind) -> Value {
        let (request, body) = request(&Notify::new(kind, "https://chat"));
        assert_eq!((request.method, request.url.as_str()), (Method::Post, "https://chat"));
        assert_eq!(request.headers, []);
        body
    }

    #[test]
    fn webhook_is_signed_json() {
        let secret = Some("secret".to_owned());
        let (request, body) = request(&Notify { secret, ..Notify::new(NotifyKind::Webhook, "https://n") });
        assert_eq!(body["event"], "failure");
        assert_eq!((&body["sent_at"], &body["delivery"]), (&DELIVERY.at.into(), &"e:0".into()));
        assert_eq!(body["jobs"][0]["lines"][1], "at \"x\"");
        assert_eq!(request.headers[0].1, format!("sha256={}", sign(b"secret", request.body.as_bytes())));
    }

    #[test]
    fn chat_text_has_no_mention_and_no_link_of_others() {
        let text = post(NotifyKind::Chat)["text"].as_str().unwrap().to_owned();
        assert!(
            text.starts_with(
                "&lt;!channel&gt; 3 of x/y on main failed: https://ci.example.org/executions/e\n"
            ),
            "{text}"
        );
        assert!(text.contains(
            "\nc0ffee12 Add @\u{200b}everyone **now** (Eve)\ntest: exit code 1\n    error: &lt;/code&gt;"
        ));
        assert!(text.ends_with("\nand 2 more jobs"), "{text}");
        let title = Some("![x](http://e/p.png) [Approve](http://e) [a][b] [b]: http://e".to_owned());
        let of = Notification { title, branch: Some("@all".into()), ..notification() };
        let text = of.chat_text();
        for markup in ["@all", "](", "][", "]:"] {
            assert!(!text.contains(markup), "{markup}: {text}");
        }
    }

    /// Returns a notification whose texts are as long as what is stored allows, or longer.
    fn long_notification(text: &str) -> Notification {
        let job = NotifiedJob {
            name: text.repeat(200),
            reason: Some(text.repeat(2_000)),
            lines: vec![text.repeat(200); 6],
        };
        Notification {
            title: Some(text.repeat(16_000)),
            author: Some(text.repeat(1_000)),
            branch: Some(text.repeat(1_000)),
            repository: text.repeat(1_000),
            jobs: vec![job; 5],
            ..notification()
        }
    }

    #[test]
    fn long_texts_do_not_make_messages_that_chats_reject() {
        let length = |value: &Value| value.as_str().unwrap().chars().count();
        for text in ["a", "`", "*", "<", "\""] {
            let tests = vec![text.repeat(1_000); 10];
            let failure = long_notification(text);
            let flaky = Notification { jobs: Vec::new(), tests, ..failure.clone() };
            for of in [&failure, &flaky] {
                let embed = &of.discord()["embeds"][0];
                let fields = embed["fields"].as_array().unwrap();
                let mut total = length(&embed["title"]) + length(&embed["description"]);
                for field in fields {
                    assert!(length(&field["name"]) <= 256 && length(&field["value"]) <= 1_024, "{text}");
                    total += length(&field["name"]) + length(&field["value"]);
                }
                assert!(length(&embed["title"]) <= 256 && total <= 6_000, "{text}: {total}");
                assert!(of.teams().to_string().len() <= 28_000, "{text}: {}", of.teams().to_string().len());
                for block in of.slack()["blocks"].as_array().unwrap() {
                    assert!(length(&block["text"]["text"]) <= 3_000, "{text}");
                }
                assert!(of.headline().chars().count() <= 301 && of.headline().ends_with(" failed"), "{text}");
            }
        }
    }

    #[test]
    fn slack_blocks_quote_markup() {
        let body = post(NotifyKind::Slack);
        let sections: Vec<&str> = body["blocks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["text"]["text"].as_str().unwrap())
            .collect();
        assert_eq!(
            sections[0],
            "*<https://ci.example.org/executions/e|&lt;!channel&gt; 3 of x/y on main failed>*"
        );
        assert_eq!(
            sections[2],
            "test: exit code 1\n```error: &lt;/code&gt;`\u{200b}`\u{200b}`\u{200b}&lt;@U1&gt;\nat \"x\"```"
        );
        assert_eq!(body["blocks"][0]["text"]["verbatim"], true);
    }

    #[test]
    fn teams_card_has_text_without_markup() {
        let card = &post(NotifyKind::Teams)["attachments"][0];
        assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
        let content = &card["content"];
        assert_eq!((&content["type"], &content["version"]), (&"AdaptiveCard".into(), &"1.4".into()));
        let blocks = content["body"].as_array().unwrap();
        assert!(blocks.iter().all(|block| block["type"] == "RichTextBlock"));
        assert_eq!(blocks[1]["inlines"][0]["text"], "c0ffee12 Add @everyone **now** (Eve)");
        assert_eq!(content["actions"][0]["url"], "https://ci.example.org/executions/e");
    }

    #[test]
    fn discord_embed_allows_no_mention() {
        let body = post(NotifyKind::Discord);
        assert_eq!(body["allowed_mentions"]["parse"], serde_json::json!([]));
        let embed = &body["embeds"][0];
        assert_eq!(embed["title"], "\\<\\!channel\\> 3 of x/y on main failed");
        assert!(embed["description"].as_str().unwrap().contains("\\@everyone \\*\\*now\\*\\*"));
        let code = embed["fields"][0]["value"].as_str().unwrap();
        assert_eq!(code.matches("```").count(), 2, "{code}");
        assert!(code.chars().count() <= 1_024);
    }

    #[test]
    fn matrix_event_is_put_once() {
        let to = Notify {
            secret: Some("token".into()),
            room: Some("!r:example.org".into()),
            ..Notify::new(NotifyKind::Matrix, "https://matrix.example.org/")
        };
        let (request, body) = request(&to);
        assert_eq!(request.method, Method::Put);
        assert_eq!(
            request.url,
            "https://matrix.example.org/_matrix/client/v3/rooms/%21r%3Aexample%2Eorg/send/m.room.message/e%3A0"
        );
        assert_eq!(request.headers, [("authorization", "Bearer token".to_owned())]);
        assert_eq!(
            (&body["msgtype"], &body["format"]),
            (&"m.notice".into(), &"org.matrix.custom.html".into())
        );
        let html = body["formatted_body"].as_str().unwrap();
        assert!(html.contains("&lt;!channel&gt; 3 of") && html.contains("&lt;/code&gt;"), "{html}");
        assert_eq!(body["m.mentions"], serde_json::json!({}), "nobody is mentioned");
    }

    #[test]
    fn mail_is_plain_text() {
        let to = Notify { to: vec!["a@b".into()], ..Notify::new(NotifyKind::Email, "") };
        let Message::Mail(mail) = notification().message(&to, DELIVERY) else { panic!("not a mail") };
        assert_eq!((mail.subject.as_str(), mail.id.as_str()), ("<!channel> 3 of x/y on main failed", "e-0"));
        assert_eq!(
            mail.text,
            "<!channel> 3 of x/y on main failed\nhttps://ci.example.org/executions/e\n\n\
             c0ffee12 Add @everyone **now** (Eve)\n\ntest: exit code 1\n    error: </code>```<@U1>\n    at \"x\"\n\n\
             and 2 more jobs\n"
        );
    }

    #[test]
    fn line_breaks_in_names_stay_in_one_line() {
        let mut of = notification();
        of.pipeline = "ci\r\nBcc: x".into();
        assert_eq!(of.headline(), "ci  Bcc: x 3 of x/y on main failed");
        of.pipeline = "c\u{200b}i\u{202e}x".into();
        assert_eq!(of.headline(), "ci x 3 of x/y on main failed");
    }
}
