//! `token`: creates, lists and revokes a deployment's tokens.

use crate::{
    args::{CreateToken, TokenAction, TokenArgs},
    deployment::Deployment,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::Write;
use tidemill_core::{
    access::{RevokeReply, TokenList, TokenReply, TokenRequest, TokenView},
    api::path,
    text::choices::listed,
};
use uuid::Uuid;

/// Minimum length of the start of an id.
const MIN_PREFIX_LEN: usize = 4;

/// `tidemill token`.
pub async fn token(settings: &Settings, args: &TokenArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    match &args.action {
        TokenAction::Create(args) => create(&deployment, args).await?,
        TokenAction::List { format } => list(&deployment, format.is_json()).await?,
        TokenAction::Revoke { name, format } => {
            let id = find(&deployment, name).await?;
            let path = path::TOKEN.replace("{tokenId}", &id.to_string());
            let reply: RevokeReply = deployment.api.delete(&path).await?;
            output::print_reply(format.is_json(), &reply, || {
                format!("revoked {} ({id})", Printable(&reply.revoked.name))
            })?;
        }
    }
    deployment.close().await;
    Ok(())
}

/// Returns the id of the only token with this id, start of an id, or name.
async fn find(deployment: &Deployment, name: &str) -> Outcome<Uuid> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let list: TokenList = deployment.get(path::TOKENS).await?;
    let prefix = name.to_ascii_lowercase();
    let starts =
        |token: &TokenView| prefix.len() >= MIN_PREFIX_LEN && token.id.to_string().starts_with(&prefix);
    let found: Vec<&TokenView> =
        list.tokens.iter().filter(|token| token.name == name || starts(token)).collect();
    match found.as_slice() {
        [only] => Ok(only.id),
        [] => Err(Failure::usage(format!(
            "no token has the name `{0}`, or an id that begins with it; `tidemill token list` lists tokens",
            Printable(name)
        ))),
        _ => {
            let ids: Vec<String> = found.iter().map(|token| token.id.to_string()).collect();
            Err(Failure::usage(format!(
                "several tokens match `{}`; name one by its id; nothing was revoked: {}",
                Printable(name),
                listed(&ids.iter().map(String::as_str).collect::<Vec<_>>())
            )))
        }
    }
}

async fn create(deployment: &Deployment, args: &CreateToken) -> Outcome {
    let request = TokenRequest {
        name: args.name.clone(),
        scopes: args.scopes.iter().copied().collect(),
        repo: args.repo.clone(),
        expire_in_s: args.expires,
    };
    // Do not retry: after a lost reply, a retry would create a second token, and the first one would remain valid but unknown.
    let timeout = std::time::Duration::from_secs(30);
    let reply: TokenReply = deployment.api.post(path::TOKENS, &request, timeout).await?;
    if args.format.is_json() {
        return Ok(output::print_json(&reply)?);
    }
    crate::output::errln!("{}; save the token now, it is not shown again:", describe(&reply.view));
    let mut out = output::stdout();
    writeln!(out, "{}", Printable(&reply.token))?;
    Ok(out.flush()?)
}

async fn list(deployment: &Deployment, json: bool) -> Outcome {
    let list: TokenList = deployment.get(path::TOKENS).await?;
    if json {
        return Ok(output::print_json(&list.tokens)?);
    }
    let mut out = output::stdout();
    if list.tokens.is_empty() {
        writeln!(out, "no tokens; create one with `tidemill token create`")?;
    }
    for token in &list.tokens {
        let used = token.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {at}"));
        writeln!(out, "{}  {}, {used}", token.id, describe(token))?;
    }
    Ok(out.flush()?)
}

fn describe(token: &TokenView) -> String {
    let scopes = token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
    let repo = token.repo.as_ref().map(|repo| format!(" of {}", Printable(repo))).unwrap_or_default();
    let until = token.expires_at.map_or_else(|| "until revoked".to_owned(), |at| format!("until {at}"));
    format!("{} ({scopes}){repo}, {until}", Printable(&token.name))
}
