//! Re-encryption of the secrets of repositories under the newest key.

use super::{
    credential::SEALED_AS,
    github_app,
    record::{DOCUMENT_KIND, Repository, parse_record, sealing_place},
    service::RepositoryService,
};
use crate::error::{Error, Result};
use tidemill_core::api::RekeyReply;

const PAGE_SIZE: usize = 200;

impl RepositoryService {
    /// Re-encrypts the secrets of repositories under the newest key. Call it again while `more` is set.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        let documents = &self.context.stores.documents;
        let mut reply = RekeyReply { renewed: 0, more: false, unreadable: Vec::new() };
        let mut after = None::<String>;
        loop {
            let (page, more) = documents.list(DOCUMENT_KIND, "", after.as_deref(), PAGE_SIZE).await?;
            for document in page {
                let mut repository = parse_record(&document)?;
                after = Some(document.key.name);
                let renewed = self.reseal(&mut repository, &mut reply.unreadable).await?;
                if renewed > 0 {
                    if !self.write(&repository, Some(document.version)).await? {
                        // It was changed meanwhile, perhaps by a process that knows only the older key.
                        reply.more = true;
                        return Ok(reply);
                    }
                    reply.renewed += renewed;
                }
            }
            if !more {
                return Ok(reply);
            }
        }
    }

    /// Re-encrypts the secrets of a repository, and returns their number.
    async fn reseal(&self, of: &mut Repository, unreadable: &mut Vec<String>) -> Result<usize> {
        let name = of.name();
        let texts = std::iter::once(("webhook", &mut of.webhook_secret))
            .chain(of.status_token.iter_mut().map(|token| ("status", token)))
            .chain(of.credential.iter_mut().map(|stored| (SEALED_AS, &mut stored.sealed)))
            .chain(of.app.iter_mut().map(|app| (github_app::SEALED_AS, &mut app.sealed)))
            .chain(of.notify.iter_mut().map(|target| ("notify", &mut target.sealed)));
        let mut renewed = 0;
        for (what, sealed) in texts {
            match self.seal.resealed(&sealing_place(&name, what), sealed).await {
                Ok(None) => {}
                Ok(Some(new)) => {
                    *sealed = new;
                    renewed += 1;
                }
                Err(Error::CannotOpen(_)) => {
                    let description = match what {
                        "webhook" => "the secret of webhooks",
                        "status" => "the token of commit statuses",
                        SEALED_AS => "the credential",
                        github_app::SEALED_AS => "the key of the GitHub App",
                        _ => "an address of notifications",
                    };
                    unreadable.push(format!("{description} of {name}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(renewed)
    }
}
