//! `sessions`: lists the browsers in which people are signed in, and ends sessions.

use crate::{
    args::{Sessions, SessionsAction},
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::Write;
use tidemill_core::{
    access::sessions::{EndSessionReply, SessionInfo, SessionList, SessionView},
    api::path,
};
use uuid::Uuid;

/// `tidemill sessions`.
pub async fn sessions(settings: &Settings, args: &Sessions) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    match &args.action {
        SessionsAction::List { person, all, format } => {
            list(&deployment, person.as_deref(), *all, format.is_json()).await?;
        }
        SessionsAction::Revoke { session, person, format } => {
            revoke(&deployment, *session, person.as_deref(), format.is_json()).await?;
        }
    }
    deployment.close().await;
    Ok(())
}

async fn list(deployment: &Deployment, person: Option<&str>, all: bool, json: bool) -> Outcome {
    let query = match person {
        Some(person) => format!("?person={}", query_encoded(person)),
        // A token that belongs to nobody has no sessions of its own.
        None if all || is_machine(deployment).await? => "?all=true".to_owned(),
        None => String::new(),
    };
    let list: SessionList = deployment.get(&format!("{}{query}", path::SESSIONS)).await?;
    if json {
        return Ok(output::print_json(&list)?);
    }
    let mut out = output::stdout();
    if list.sessions.is_empty() {
        writeln!(out, "no sessions")?;
    }
    for session in &list.sessions {
        writeln!(out, "{}", line(session))?;
    }
    if list.truncated {
        writeln!(out, "there are more sessions; --person lists those of one person")?;
    }
    Ok(out.flush()?)
}

/// Whether the token is not of a person.
async fn is_machine(deployment: &Deployment) -> Outcome<bool> {
    let info: SessionInfo = deployment.get(path::SESSION).await?;
    Ok(info.caller.is_some_and(|caller| caller.person.is_none()))
}

async fn revoke(deployment: &Deployment, id: Uuid, person: Option<&str>, json: bool) -> Outcome {
    let query = person.map(|person| format!("?person={}", query_encoded(person))).unwrap_or_default();
    let path = format!("{}{query}", path::OWN_SESSION.replace("{sessionId}", &id.to_string()));
    let reply: EndSessionReply = deployment.api.delete(&path).await?;
    if !reply.ended {
        return Err(Failure::usage(format!(
            "no such session {id}; `tidemill sessions list` lists yours, and --person ID names another person"
        )));
    }
    output::print_reply(json, &reply, || format!("ended session {id}"))?;
    Ok(())
}

/// Formats a session as one line of a list.
fn line(session: &SessionView) -> String {
    let text = |text: &Option<String>| {
        text.as_deref().map(|text| format!("  {}", Printable(text))).unwrap_or_default()
    };
    let person = session.person.as_deref().zip(session.name.as_deref());
    let person =
        person.map(|(id, name)| format!("  {} ({})", Printable(name), Printable(id))).unwrap_or_default();
    format!(
        "{}{person}  signed in {}, used {}, until {}{}{}",
        session.id,
        session.created_at,
        session.used_at,
        session.expires_at,
        text(&session.from),
        text(&session.browser)
    )
}

#[cfg(test)]
mod tests {
    use super::line;
    use tidemill_core::{access::sessions::SessionView, time::Timestamp};
    use uuid::Uuid;

    #[test]
    fn line_shows_person_and_browser_without_control_characters() {
        let session = SessionView {
            id: Uuid::nil(),
            created_at: Timestamp(0),
            used_at: Timestamp(0),
            expires_at: Timestamp(0),
            browser: Some("Firefox\u{1b}[2J".into()),
            from: Some("192.0.2.1".into()),
            current: false,
            person: Some("oidc:#7".into()),
            name: Some("Alice".into()),
        };
        let text = line(&session);
        assert!(
            text.starts_with("00000000-0000-0000-0000-000000000000  Alice (oidc:#7)  signed in "),
            "{text}"
        );
        assert!(text.contains("  192.0.2.1  Firefox") && !text.contains('\u{1b}'), "{text}");
        let own = line(&SessionView { person: None, name: None, ..session });
        assert!(own.starts_with("00000000-0000-0000-0000-000000000000  signed in "), "{own}");
    }
}
