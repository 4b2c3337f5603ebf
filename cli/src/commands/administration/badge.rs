//! `badge`: prints the address of a repository's badge, which anyone can see, or revokes it.

use crate::{
    args::Badge,
    deployment::{Deployment, query_encoded},
    execution::repository,
    failure::{Failure, Outcome},
    output,
    settings::Settings,
};
use serde_json::json;
use tidemill_core::api::{BadgeReply, BadgeRequest, RevokeBadgeReply, path};

/// `tidemill badge`.
pub async fn badge(settings: &Settings, args: &Badge) -> Outcome {
    let repo = repository::address(args.repo.as_deref())?;
    let deployment = Deployment::connect(settings).await?;
    let url = deployment.server_url(settings).await?;
    let request = BadgeRequest { repo };
    if args.revoke {
        let reply: RevokeBadgeReply = deployment.post(path::REVOKE_BADGE, &request).await?;
        deployment.close().await;
        output::print_reply(args.format.is_json(), &reply, || {
            if reply.revoked { "the badge is revoked".to_owned() } else { "there was no badge".to_owned() }
        })?;
        return Ok(());
    }
    let Some(url) = url else {
        deployment.close().await;
        return Err(Failure::usage(
            "a badge needs a server that shows it: start one on this data directory with `tidemill server`, or select one \
             with --server or --profile",
        ));
    };
    let reply: BadgeReply = deployment.post(path::BADGES, &request).await?;
    deployment.close().await;
    let pipeline = args.pipeline.as_deref().map(|name| format!("?pipeline={}", query_encoded(name)));
    let image = path::BADGE.replace("{badgeKey}", &reply.key);
    let address = format!("{}{image}.svg{}", url.trim_end_matches('/'), pipeline.unwrap_or_default());
    output::print_reply(args.format.is_json(), &json!({ "key": reply.key, "url": address }), || {
        address.clone()
    })?;
    Ok(())
}
