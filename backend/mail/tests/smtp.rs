//! E-mails over the wire, to a mail server on loopback that speaks SMTP with and without TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;
use tidemill_core::notification::message::OutgoingMail;
use tidemill_mail::{MailSettings, SmtpSender};
use tidemill_services::ports::{MailError, MailSender};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::mpsc,
};

/// What the server received of one mail: the lines of the conversation, and the text.
struct Received {
    commands: Vec<String>,
    text: String,
}

/// Starts a mail server. It rejects receivers at `rejected.example.org`.
async fn mail_server() -> (String, mpsc::UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = mpsc::unbounded_channel();
    let sender = Arc::new(sender);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move { converse(stream, &sender).await });
        }
    });
    (address, receiver)
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    sender: &mpsc::UnboundedSender<Received>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut commands = Vec::new();
    stream.write_all(b"220 mail.example.org\r\n").await.ok()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let command = line.trim_end().to_owned();
        let reply: &[u8] = match command.split(' ').next().unwrap_or_default() {
            "EHLO" => b"250-mail.example.org\r\n250 AUTH PLAIN\r\n",
            "RCPT" if command.contains("rejected.example.org") => b"550 no such mailbox\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut text).await.ok()?;
                }
                sender.send(Received { commands: std::mem::take(&mut commands), text }).ok()?;
                b"250 accepted\r\n"
            }
            "QUIT" => return None,
            _ => b"250 ok\r\n",
        };
        commands.push(command);
        stream.write_all(reply).await.ok()?;
    }
}

fn settings(url: String) -> MailSettings {
    MailSettings { url, password: None, from: "ci@example.org".into() }
}

fn mail(to: &str) -> OutgoingMail {
    OutgoingMail {
        to: vec![to.to_owned(), "second@example.org".to_owned()],
        subject: "ci 7 of team/app on mäin failed".to_owned(),
        text: "ci 7 failed\n\n.a line with a dot\n    error: ✗\n".to_owned(),
        id: "0190-end-0".to_owned(),
    }
}

#[tokio::test]
async fn mail_arrives_with_its_text_and_receivers() {
    let (address, mut received) = mail_server().await;
    let sender = SmtpSender::new(&settings(format!("smtp://{address}"))).unwrap();
    for _ in 0..2 {
        sender.send(&mail("team@example.org")).await.unwrap();
        let Received { commands, text } = received.recv().await.unwrap();
        let has = |start: &str| commands.iter().any(|command| command.starts_with(start));
        assert!(has("MAIL FROM:<ci@example.org>"), "{commands:?}");
        assert!(has("RCPT TO:<team@example.org>") && has("RCPT TO:<second@example.org>"), "{commands:?}");
        assert!(text.contains("Message-ID: <0190-end-0@example.org>\r\n"), "{text}");
        assert!(text.contains("To: team@example.org, second@example.org\r\n"), "{text}");
        assert!(text.contains("From: Tidemill <ci@example.org>\r\n") && text.contains("Date: "), "{text}");
        assert!(
            text.contains("Subject: =?utf-8?") || text.contains("Subject: ci 7 of team/app on =?"),
            "{text}"
        );
        assert!(text.contains("ci 7 failed\r\n"), "{text}");
    }
}

#[tokio::test]
async fn rejected_receiver_is_an_error_with_the_servers_reason() {
    let (address, _received) = mail_server().await;
    let sender = SmtpSender::new(&settings(format!("smtp://{address}"))).unwrap();
    let error = sender.send(&mail("a@rejected.example.org")).await.unwrap_err();
    assert!(matches!(error, MailError::Server(_)), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("550") || error.contains("no such mailbox"), "{error}");
    // A server that is not there.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sender = SmtpSender::new(&settings(format!("smtp://{free}"))).unwrap();
    assert!(sender.send(&mail("a@example.org")).await.is_err());
}

#[tokio::test]
async fn invalid_settings_are_rejected() {
    let of = |url: &str, password: Option<&str>| MailSettings {
        password: password.map(str::to_owned),
        ..settings(url.to_owned())
    };
    for (settings, why) in [
        (of("mail.example.org", None), "must start with smtps:// or smtp://"),
        (of("smtp://user:word@mail.example.org", None), "belongs into a file"),
        (of("smtps://mail.example.org", Some("word")), "needs a user"),
        (of("smtp://user@mail.example.org", Some("word")), "by TLS only"),
        (MailSettings { from: "nobody".into(), ..of("smtps://mail.example.org", None) }, "is not one"),
    ] {
        let error = SmtpSender::new(&settings).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("word@"), "{error}");
    }
    for valid in ["smtps://user@mail.example.org", "smtp://u%40x@mail.example.org:587?tls=required"] {
        assert!(SmtpSender::new(&of(valid, Some("word"))).is_ok(), "{valid}");
    }
}
