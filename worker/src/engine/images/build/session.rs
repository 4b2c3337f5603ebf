//! The session of a build: the engine's BuildKit asks in it for logins and secrets, and reaches an SSH agent through it.

use super::{
    super::logins::{JobLogins, RegistrySettings},
    connection::EngineHttp,
    grpc::{Messages, Reply, Status, reject},
    messages::{
        BytesMessage, CredentialsRequest, CredentialsResponse, GetSecretRequest, GetSecretResponse,
        HealthCheckResponse,
    },
};
use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Method, Request};
use prost::Message;
use reqwest::{Body, Upgraded};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};
use tidemill_core::{
    execution::failure::{FailureKind, FailureReason},
    pipeline::RegistryScope,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::{AbortHandle, JoinSet},
};

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CHECK_AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD_AGENT: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
/// Maximum number of requests that are handled at the same time.
const MAX_CONCURRENT_REQUESTS: usize = 256;
/// Maximum number of images of a registry that are tried in the search of a login.
const MAX_NAMED_IMAGES: usize = 100;
/// Bytes that are passed on from the SSH agent at a time.
const CHUNK_SIZE: usize = 32 << 10;

/// What a build may ask for.
#[derive(Clone)]
pub struct SessionSettings {
    /// Secrets by their ids.
    pub secrets: Vec<(String, String)>,
    /// The worker's logins at registries.
    pub registries: RegistrySettings,
    /// Those of the job.
    pub logins: JobLogins,
    /// The images that the build names. A login that is only for some paths of a registry is found by them.
    pub images: Vec<String>,
    /// The socket of the SSH agent that the build may use.
    pub ssh_agent: Option<PathBuf>,
}

/// An open session; it ends when this is dropped.
#[derive(Debug)]
pub struct BuildSession {
    /// Its id.
    pub id: String,
    serving: AbortHandle,
}

impl Drop for BuildSession {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl BuildSession {
    /// Opens a session.
    pub async fn open(http: &EngineHttp, settings: SessionSettings) -> Result<Self, FailureReason> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let mut request = Request::builder()
            .method(Method::POST)
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id)
            .header("X-Docker-Expose-Session-Name", "tidemill")
            .header("X-Docker-Expose-Session-Sharedkey", "");
        let mut methods = vec![HEALTH, CREDENTIALS, SECRET];
        if settings.ssh_agent.is_some() {
            methods.extend([CHECK_AGENT, FORWARD_AGENT]);
        }
        for method in methods {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let Some(upgraded) = http.upgrade("/session", request, Body::default()).await? else {
            let message = "the container engine of this worker has no BuildKit, which `build` needs; use Docker 19.03 or newer, \
                           or choose another worker with `runs_on`";
            return Err(FailureReason::new(FailureKind::NotAllowed, message));
        };
        let serving = tokio::spawn(serve(upgraded, Arc::new(settings))).abort_handle();
        Ok(Self { id, serving })
    }
}

/// Handles requests until the connection ends.
async fn serve(connection: Upgraded, settings: Arc<SessionSettings>) {
    let Ok(mut connection) = h2::server::handshake(connection).await else { return };
    let mut answers = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        while answers.try_join_next().is_some() {}
        if answers.len() < MAX_CONCURRENT_REQUESTS {
            let settings = settings.clone();
            answers.spawn(async move {
                if let Err(error) = answer(request, respond, &settings).await {
                    tracing::debug!(%error, "a request of a build session failed");
                }
            });
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    settings: &SessionSettings,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let mut messages = Messages::new(request.into_body());
    match path.as_str() {
        HEALTH => reply(&mut respond, &HealthCheckResponse { status: 1 }).await,
        CREDENTIALS => match messages.next().await.map(CredentialsRequest::decode) {
            Some(Ok(question)) => reply(&mut respond, &credentials(settings, &question.host).await).await,
            _ => reject(&mut respond, Status::InvalidArgument),
        },
        SECRET => {
            let question = messages.next().await.and_then(|bytes| GetSecretRequest::decode(bytes).ok());
            let secret = question.and_then(|question| {
                settings.secrets.iter().find(|(id, _)| *id == question.id).map(|(_, value)| value.clone())
            });
            match secret {
                Some(value) => reply(&mut respond, &GetSecretResponse { data: value.into_bytes() }).await,
                None => reject(&mut respond, Status::NotFound),
            }
        }
        CHECK_AGENT if settings.ssh_agent.is_some() => reply(&mut respond, &BytesMessage::default()).await,
        FORWARD_AGENT => match &settings.ssh_agent {
            Some(socket) => match UnixStream::connect(socket).await {
                Ok(agent) => forward(agent, messages, respond).await,
                Err(_) => reject(&mut respond, Status::Unavailable),
            },
            None => reject(&mut respond, Status::Unimplemented),
        },
        _ => reject(&mut respond, Status::Unimplemented),
    }
}

async fn reply(respond: &mut SendResponse<Bytes>, message: &impl Message) -> Result<(), h2::Error> {
    let mut reply = Reply::begin(respond)?;
    reply.send(message).await?;
    reply.end(Status::Ok)
}

/// Returns the login at a registry; an empty one: there is none.
async fn credentials(settings: &SessionSettings, host: &str) -> CredentialsResponse {
    // BuildKit names the host that it connects to.
    let host = if host == "registry-1.docker.io" { "docker.io" } else { host };
    let wanted = RegistryScope::of_image(&format!("{host}/image")).host;
    let named = settings.images.iter().filter(|image| RegistryScope::of_image(image).host == wanted);
    // A Dockerfile can name any number of images.
    let named: BTreeSet<String> = named.take(MAX_NAMED_IMAGES).cloned().collect();
    for image in named.into_iter().chain([format!("{host}/image")]) {
        let search = settings.registries.search(&settings.logins, &image).await;
        if let Some(login) = search.login {
            let login = login.credentials();
            let token = login.identitytoken.is_some();
            return CredentialsResponse {
                // Without a name, the secret is a token that the registry exchanges.
                username: login.username.filter(|_| !token).unwrap_or_default(),
                secret: login.password.or(login.identitytoken).unwrap_or_default(),
            };
        }
    }
    CredentialsResponse::default()
}

/// Passes bytes on between the build and the SSH agent.
async fn forward(
    agent: UnixStream,
    mut messages: Messages,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut reply = Reply::begin(&mut respond)?;
    let (mut from_agent, mut to_agent) = agent.into_split();
    let sending = async {
        while let Some(bytes) = messages.next().await {
            let Ok(message) = BytesMessage::decode(bytes) else { break };
            if to_agent.write_all(&message.data).await.is_err() {
                break;
            }
        }
        let _ = to_agent.shutdown().await;
    };
    let receiving = async {
        let mut buffer = vec![0; CHUNK_SIZE];
        while let Ok(count @ 1..) = from_agent.read(&mut buffer).await {
            reply.send(&BytesMessage { data: buffer[..count].to_vec() }).await?;
        }
        Ok::<(), h2::Error>(())
    };
    let (received, ()) = tokio::join!(receiving, sending);
    received?;
    reply.end(Status::Ok)
}
