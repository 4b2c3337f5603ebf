//! The users of containers: to whom the files in a workspace must belong.

use super::{super::manager::DockerManager, config::ImageConfig, known_users::Ids};
use crate::workspace::FileOwner;
use bollard::{models::ContainerCreateBody, query_parameters::DownloadFromContainerOptions};
use futures_util::StreamExt;
use std::{io::Read, sync::Arc};
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// The list of users of an image.
const USERS: &str = "/etc/passwd";
/// The list of groups of an image.
const GROUPS: &str = "/etc/group";
/// Maximum size of a list of an image, as a tar.
const MAX_LIST_BYTES: usize = 1 << 20;

/// The user of a container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerUser {
    /// Root, who may write to any file.
    Root,
    /// This user and group.
    Ids(u32, u32),
    /// Another user, whose ids are not known.
    Unknown,
}

impl ContainerUser {
    /// Its ids, unless it is root or unknown.
    pub const fn ids(self) -> Option<(u32, u32)> {
        match self {
            Self::Ids(uid, gid) => Some((uid, gid)),
            Self::Root | Self::Unknown => None,
        }
    }

    /// Reads `user` or `user:group`, where both may be a name or a number; the name if only the image has its ids.
    fn parse(text: &str) -> Result<Self, &str> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() || user == "root" {
            return Ok(Self::Root);
        }
        match user.parse() {
            Ok(0) => Ok(Self::Root),
            // The group does not matter for what the user may do with files of its own.
            Ok(uid) => Ok(Self::Ids(uid, group.parse().unwrap_or(0))),
            Err(_) => Err(user),
        }
    }
}

impl DockerManager {
    /// Returns the user of containers of `image` that run as `user`, or as the image's own user; an error if the image does not
    /// have it.
    pub(in crate::engine) async fn container_user(
        self: &Arc<Self>,
        image: &ImageConfig,
        user: Option<&str>,
    ) -> Result<ContainerUser, FailureReason> {
        let name = match ContainerUser::parse(user.unwrap_or(&image.user)) {
            Ok(user) => return Ok(user),
            Err(name) => name,
        };
        match self.ids_of(image, name).await {
            Some(Some((0, _))) => Ok(ContainerUser::Root),
            Some(Some((uid, gid))) => Ok(ContainerUser::Ids(uid, gid)),
            Some(None) => {
                let message = format!(
                    "the image has no user `{name}`: its /etc/passwd does not list it; use the number of a user, such as \
                     `1000`, or add the user to the image"
                );
                Err(FailureReason::new(FailureKind::ImageUnavailable, message))
            }
            None => Ok(ContainerUser::Unknown),
        }
    }

    /// Returns the owner of files on this machine that `user` can change in a container.
    pub(in crate::engine) async fn file_owner(&self, user: ContainerUser) -> FileOwner {
        match user {
            ContainerUser::Root => FileOwner::Worker,
            ContainerUser::Ids(uid, gid)
                if rustix::process::geteuid().is_root() && !self.maps_ids().await =>
            {
                FileOwner::User { uid, gid }
            }
            ContainerUser::Ids(..) | ContainerUser::Unknown => FileOwner::Everyone,
        }
    }

    /// Whether the engine maps ids in containers to other ids. If it does not answer, it counts as doing so.
    async fn maps_ids(&self) -> bool {
        let known = self.users.are_mapped.get_or_try_init(|| async {
            let options = self.docker.info().await?.security_options.unwrap_or_default();
            let is_mapping =
                |option: &String| option.contains("name=userns") || option.contains("name=rootless");
            Ok::<_, bollard::errors::Error>(options.iter().any(is_mapping))
        });
        known.await.copied().unwrap_or(true)
    }

    /// Returns the ids of a user of an image, if the image has it; `None` if its users cannot be read.
    async fn ids_of(self: &Arc<Self>, image: &ImageConfig, name: &str) -> Option<Ids> {
        let known = self.users.get(&image.id, name);
        if known.is_some() {
            return known;
        }
        let users = self.read_list(&image.id, USERS).await?;
        let ids = find_user(&users, name);
        self.users.insert(&image.id, name, ids);
        Some(ids)
    }

    /// Explains why the engine did not start a container of `image` as `user`: the image has no such user or group. `None` if
    /// that is not the reason.
    pub(in crate::engine) async fn missing_account(
        self: &Arc<Self>,
        image: &str,
        user: &str,
    ) -> Option<String> {
        let (user, group) = user.split_once(':').unwrap_or((user, ""));
        for (what, name, list) in [("user", user, USERS), ("group", group, GROUPS)] {
            if name.is_empty() || name.parse::<u32>().is_ok() {
                continue;
            }
            if !self.read_list(image, list).await?.lines().any(|line| line.split(':').next() == Some(name)) {
                return Some(format!(
                    "the image has no {what} `{name}`: its {list} does not list it; use the number of a {what}, such as \
                     `1000`, or add the {what} to the image"
                ));
            }
        }
        None
    }

    /// Returns a list of users or groups of an image. The engine reads files only from containers, so one is created and not
    /// started.
    async fn read_list(self: &Arc<Self>, image: &str, path: &str) -> Option<String> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["sh".into()]),
            labels: Some(self.labels()),
            ..Default::default()
        };
        let container = self
            .create(None, body)
            .await
            .inspect_err(|error| tracing::debug!(%error, "the users of an image are not known"))
            .ok()?;
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let mut stream = std::pin::pin!(self.docker.download_from_container(container.id(), Some(options)));
        let mut tar = Vec::new();
        while let Some(Ok(chunk)) = stream.next().await {
            tar.extend_from_slice(&chunk);
            if tar.len() > MAX_LIST_BYTES {
                break;
            }
        }
        drop(container);
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut file =
            archive.entries().ok()?.next()?.ok().filter(|entry| entry.header().entry_type().is_file())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Returns the ids of a user in a list of users (passwd(5)).
fn find_user(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::{ContainerUser, find_user};

    #[test]
    fn user_is_read_with_and_without_a_group() {
        for root in ["", "0", "root", "0:0", "root:staff", "0:1000", "00"] {
            assert_eq!(ContainerUser::parse(root), Ok(ContainerUser::Root), "{root}");
        }
        assert_eq!(ContainerUser::parse("1000"), Ok(ContainerUser::Ids(1000, 0)));
        assert_eq!(ContainerUser::parse("1000:1001"), Ok(ContainerUser::Ids(1000, 1001)));
        assert_eq!(ContainerUser::parse("1000:staff"), Ok(ContainerUser::Ids(1000, 0)));
        assert_eq!(ContainerUser::parse("node:node"), Err("node"));
        assert_eq!(ContainerUser::parse("4294967296"), Err("4294967296"), "no id is so large");
    }

    #[test]
    fn user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnode2:x:7:7::/:\nnode:x:1000:1001:,,,:/home/node:/bin/bash\nbad:x:a:1\n";
        assert_eq!(find_user(users, "node"), Some((1000, 1001)));
        assert_eq!(find_user(users, "root"), Some((0, 0)));
        assert_eq!(
            (find_user(users, "nod"), find_user(users, "bad"), find_user("", "node")),
            (None, None, None)
        );
    }
}
