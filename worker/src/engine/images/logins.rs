//! Logins of a worker and of its jobs at registries of images.

use super::{
    credential_helper,
    docker_config::{Account, DockerConfig, MAX_CONFIG_BYTES},
};
use bollard::auth::DockerCredentials;
use std::{fmt, fs::File, io::Read, path::PathBuf};
use tidemill_core::{
    execution::assignment::{Assignment, RegistryLogin},
    pipeline::RegistryScope,
};

/// The variable with logins in the format of Docker's configuration.
pub const AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// Where logins at Amazon ECR come from, in messages.
#[cfg(feature = "ecr")]
const ECR_ORIGIN: &str = "the worker's credentials of AWS";

/// Where a worker finds logins of its own.
#[derive(Clone, Default)]
pub struct RegistrySettings {
    /// The value of `DOCKER_AUTH_CONFIG`.
    pub auth_config: Option<String>,
    /// The file `config.json` of Docker's client. It is read for each pull, and may not exist.
    pub config_file: Option<PathBuf>,
    /// The credentials for Amazon ECR. `None`: those of the process.
    #[cfg(feature = "ecr")]
    pub aws: Option<std::sync::Arc<aws_config::SdkConfig>>,
}

impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySettings").field("config_file", &self.config_file).finish_non_exhaustive()
    }
}

/// The logins that came with a job. They take precedence over those of its worker.
#[derive(Debug, Clone, Default)]
pub struct JobLogins {
    auth_config: Option<AuthConfigText>,
    stored: Vec<RegistryLogin>,
}

/// The text of a `DOCKER_AUTH_CONFIG`, which is never shown.
#[derive(Clone)]
struct AuthConfigText(String);

impl fmt::Debug for AuthConfigText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthConfigText")
    }
}

impl JobLogins {
    /// Returns the logins of `assignment`: its `DOCKER_AUTH_CONFIG`, a secret or a variable, and those stored on the server.
    pub fn of(assignment: &Assignment) -> Self {
        let extras = &assignment.extras;
        let secret = extras.secrets.iter().find(|secret| secret.variable == AUTH_CONFIG);
        let text = secret.map(|secret| &secret.value).or_else(|| assignment.variables.get(AUTH_CONFIG));
        let auth_config = text.filter(|text| !text.trim().is_empty()).cloned().map(AuthConfigText);
        Self { auth_config, stored: extras.registries.clone() }
    }

    /// Returns the secrets of all these logins.
    fn secrets(&self) -> Vec<String> {
        let config = self.auth_config.as_ref().and_then(|text| DockerConfig::parse(text.0.as_bytes()).ok());
        let of_config = config.iter().flat_map(DockerConfig::secrets).map(str::to_owned);
        of_config.chain(self.stored.iter().map(|login| login.password.clone())).collect()
    }

    fn stored(&self, image: &RegistryScope) -> Option<Account> {
        let logins =
            self.stored.iter().filter_map(|login| Some((RegistryScope::parse(&login.registry)?, login)));
        let best = logins.filter(|(scope, _)| scope.covers(image)).max_by_key(|(scope, _)| scope.path.len());
        let (_, login) = best?;
        Some(Account::Password { username: login.username.clone(), password: login.password.clone() })
    }
}

/// A login for one image, with where it was found.
#[derive(Debug)]
pub struct Login {
    account: Account,
    server: String,
    /// Where it was found.
    pub origin: String,
}

impl Login {
    /// Returns the name of the user.
    pub fn user(&self) -> &str {
        self.account.user()
    }

    /// Returns the login as the engine receives it.
    pub fn credentials(&self) -> DockerCredentials {
        let mut credentials =
            DockerCredentials { serveraddress: Some(self.server.clone()), ..DockerCredentials::default() };
        match self.account.clone() {
            Account::Password { username, password } => {
                (credentials.username, credentials.password) = (Some(username), Some(password));
            }
            Account::IdentityToken { username, token } => {
                (credentials.username, credentials.identitytoken) = (Some(username), Some(token));
            }
            Account::RegistryToken(token) => credentials.registrytoken = Some(token),
        }
        credentials
    }
}

/// The result of a search for a login.
#[derive(Debug, Default)]
pub struct LoginSearch {
    /// The login; `None`: the image is pulled without one.
    pub login: Option<Login>,
    /// Configurations and helpers that could not be used.
    pub problems: Vec<String>,
}

impl RegistrySettings {
    /// Searches the login for `image`: in the job's `DOCKER_AUTH_CONFIG`, on the server, in the worker's `DOCKER_AUTH_CONFIG`,
    /// in its `config.json`, and at Amazon ECR by the worker's own credentials. Only the worker's own configurations may name
    /// credential helpers, as these are programs.
    pub async fn search(&self, job: &JobLogins, image: &str) -> LoginSearch {
        let image = RegistryScope::of_image(image);
        let mut search = LoginSearch::default();
        if let Some(text) = &job.auth_config
            && let Some(config) = search.parse(text.0.as_bytes(), "the job's DOCKER_AUTH_CONFIG")
        {
            if config.helper(&image).is_some() {
                search.problems.push(
                    "the job's DOCKER_AUTH_CONFIG names a credential helper, which only a worker's own configuration may"
                        .to_owned(),
                );
            }
            search.use_entry(&config, &image, "the job's DOCKER_AUTH_CONFIG");
        }
        if search.login.is_none() {
            search.login = job
                .stored(&image)
                .map(|account| Login::new(account, &image, "`tidemill registry`".to_owned()));
        }
        if let (None, Some(text)) = (&search.login, &self.auth_config) {
            search.use_config(text.as_bytes(), &image, "the worker's DOCKER_AUTH_CONFIG").await;
        }
        if let (None, Some(path)) = (&search.login, &self.config_file) {
            let origin = path.display().to_string();
            match self.read_file() {
                Ok(Some(text)) => search.use_config(&text, &image, &origin).await,
                Ok(None) => {}
                Err(error) => search.problems.push(format!("{origin} cannot be read: {error}")),
            }
        }
        #[cfg(feature = "ecr")]
        if let (None, Some(registry)) = (&search.login, super::ecr::EcrRegistry::of_host(&image.host)) {
            // Boxed, as the SDK's futures are large.
            match Box::pin(registry.login(self.aws.as_deref())).await {
                Ok(account) => search.login = Some(Login::new(account, &image, ECR_ORIGIN.to_owned())),
                Err(error) => search.problems.push(error.to_string()),
            }
        }
        search
    }

    /// Returns the secrets to mask in the output of a job: those that came with it, and those of the worker for its images.
    pub fn secrets_of(&self, assignment: &Assignment) -> Vec<String> {
        let mut secrets = JobLogins::of(assignment).secrets();
        let file = self.read_file().ok().flatten();
        let texts = [self.auth_config.as_deref().map(str::as_bytes), file.as_deref()];
        let configs: Vec<_> = texts.into_iter().flatten().flat_map(DockerConfig::parse).collect();
        if !configs.is_empty() {
            let services = assignment.extras.services.iter().map(|service| service.image.as_str());
            let build =
                assignment.extras.build.iter().flat_map(|build| build.tags.iter().chain(&build.cache_from));
            let images =
                services.chain([assignment.preparation.image.as_str()]).chain(build.map(String::as_str));
            for image in images {
                let image = RegistryScope::of_image(image);
                let accounts = configs.iter().filter_map(|config| config.account(&image)?.as_ref().ok());
                secrets.extend(accounts.map(|account| account.secret().to_owned()));
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }

    /// Returns the content of the file, at most one byte more than allowed; `None` if there is no such file.
    fn read_file(&self) -> std::io::Result<Option<Vec<u8>>> {
        let Some(path) = &self.config_file else { return Ok(None) };
        match std::fs::metadata(path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(std::io::Error::other("it is not a file")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut text = Vec::new();
        File::open(path)?.take(MAX_CONFIG_BYTES as u64 + 1).read_to_end(&mut text)?;
        Ok(Some(text))
    }
}

impl Login {
    fn new(account: Account, image: &RegistryScope, origin: String) -> Self {
        Self { account, server: image.server_address().to_owned(), origin }
    }
}

impl LoginSearch {
    fn parse(&mut self, text: &[u8], origin: &str) -> Option<DockerConfig> {
        let parsed = DockerConfig::parse(text);
        parsed.map_err(|error| self.problems.push(format!("{origin} cannot be used: {error}"))).ok()
    }

    /// Uses the entry of `config` for `image`, if it has one.
    fn use_entry(&mut self, config: &DockerConfig, image: &RegistryScope, origin: &str) {
        match config.account(image) {
            Some(Ok(account)) => self.login = Some(Login::new(account.clone(), image, origin.to_owned())),
            Some(Err(error)) => {
                self.problems.push(format!("{origin} cannot be used for {}: {error}", image.host));
            }
            None => {}
        }
    }

    /// Uses a configuration of the worker: the registry's credential helper, the common one, or the entry.
    async fn use_config(&mut self, text: &[u8], image: &RegistryScope, origin: &str) {
        let Some(config) = self.parse(text, origin) else { return };
        if let Some(helper) = config.helper(image).or(config.store.as_deref()) {
            match credential_helper::login(helper, image.server_address()).await {
                Ok(Some(account)) => {
                    let origin = format!("docker-credential-{helper}");
                    self.login = Some(Login::new(account, image, origin));
                    return;
                }
                Ok(None) => {}
                Err(error) => {
                    self.problems.push(format!(
                        "the credential helper `docker-credential-{helper}` of {origin} {error}"
                    ));
                }
            }
        }
        self.use_entry(&config, image, origin);
    }
}
