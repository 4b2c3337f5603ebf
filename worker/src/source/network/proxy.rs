//! A loopback HTTP proxy through which this process's git commands contact git servers. It connects only to permitted hosts: it
//! resolves each name itself, checks the addresses, and connects to a checked one.

use super::resolver::{ConnectError, Resolver, permitted_addresses};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::HashMap,
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use tidemill_core::repository::{AddressPolicy, AddressPolicyError, HostName};
use uuid::Uuid;

/// Maximum size of a request head in bytes.
const MAX_HEADER_SIZE: usize = 16 << 10;
/// Timeout for reading a request head, and for connecting.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent connections.
const MAX_CONNECTIONS: usize = 256;
/// The user name in proxy URLs; only the password identifies the command.
const PROXY_USER: &str = "git";

/// The proxy; it runs until the process exits.
#[derive(Debug)]
pub(super) struct GitProxy {
    address: SocketAddr,
    credentials: ProxyCredentials,
}

type ProxyCredentials = Arc<Mutex<HashMap<String, Arc<AllowedHosts>>>>;

/// The hosts that one git command may contact.
#[derive(Debug)]
struct AllowedHosts {
    /// A host and port that may have a private address.
    private: Option<(HostName, u16)>,
    /// The reason of the first rejected connection.
    refusal: OnceLock<AddressPolicyError>,
}

/// The credential with which one git command may use the proxy, until it is dropped.
pub(super) struct ProxyCredential {
    address: SocketAddr,
    secret: String,
    allowed: Arc<AllowedHosts>,
    credentials: ProxyCredentials,
}

impl fmt::Debug for ProxyCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyCredential").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl ProxyCredential {
    /// Returns the URL of the proxy, with the secret.
    pub fn url(&self) -> String {
        format!("http://{PROXY_USER}:{}@{}", self.secret, self.address)
    }

    /// Returns the reason of the first rejected connection, if any.
    pub fn refusal(&self) -> Option<AddressPolicyError> {
        self.allowed.refusal.get().copied()
    }
}

impl Drop for ProxyCredential {
    fn drop(&mut self) {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.secret);
    }
}

impl GitProxy {
    /// Starts to listen.
    pub fn start(policy: AddressPolicy, resolver: Arc<dyn Resolver>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let credentials = ProxyCredentials::default();
        let server = Arc::new(ProxyServer {
            policy,
            resolver,
            credentials: credentials.clone(),
            busy: AtomicUsize::new(0),
        });
        thread::Builder::new().name("git proxy".into()).spawn(move || {
            for client in listener.incoming().flatten() {
                let server = server.clone();
                if server.busy.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                    server.busy.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let spawned = thread::Builder::new().name("git proxy".into()).spawn({
                    let server = server.clone();
                    move || {
                        if let Err(error) = server.serve(client) {
                            tracing::debug!(%error, "a proxied git connection failed");
                        }
                        server.busy.fetch_sub(1, Ordering::Relaxed);
                    }
                });
                if spawned.is_err() {
                    server.busy.fetch_sub(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Self { address, credentials })
    }

    /// Creates a credential for public hosts, and for one host and port that may be private.
    pub fn issue_credential(&self, private: Option<(HostName, u16)>) -> ProxyCredential {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let allowed = Arc::new(AllowedHosts { private, refusal: OnceLock::new() });
        let mut credentials = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        credentials.insert(secret.clone(), allowed.clone());
        ProxyCredential { address: self.address, secret, allowed, credentials: self.credentials.clone() }
    }
}

#[derive(Debug)]
struct ProxyServer {
    policy: AddressPolicy,
    resolver: Arc<dyn Resolver>,
    credentials: ProxyCredentials,
    busy: AtomicUsize,
}

/// The head of a proxy request.
struct RequestHead {
    host: HostName,
    port: u16,
    /// The head to forward to the server; `None` for a `CONNECT` tunnel.
    forwarded: Option<String>,
    secret: Option<String>,
}

impl ProxyServer {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        let Some((head, rest)) = read_head(&mut client)? else { return Ok(()) };
        let Some(head) = parse(&head) else { return respond(&client, "400 Bad Request", "") };
        let allowed = head.secret.as_ref().and_then(|secret| {
            self.credentials.lock().unwrap_or_else(PoisonError::into_inner).get(secret).cloned()
        });
        let Some(allowed) = allowed else {
            let challenge = "Proxy-Authenticate: Basic realm=\"git\"\r\n";
            return respond(&client, "407 Proxy Authentication Required", challenge);
        };
        let is_allowed_host =
            allowed.private.as_ref().is_some_and(|(host, port)| *host == head.host && *port == head.port);
        let private = is_allowed_host || self.policy.allows(&head.host, head.port);
        let resolved = match permitted_addresses(&*self.resolver, &head.host, head.port, private) {
            Ok(resolved) => resolved,
            Err(ConnectError::Forbidden(refusal)) => {
                let _ = allowed.refusal.set(refusal);
                return respond(&client, "403 Forbidden", "");
            }
            Err(ConnectError::Unknown) => return respond(&client, "502 Bad Gateway", ""),
        };
        let connected =
            resolved.iter().find_map(|address| TcpStream::connect_timeout(address, CLIENT_TIMEOUT).ok());
        let Some(mut server) = connected else { return respond(&client, "502 Bad Gateway", "") };
        match head.forwarded {
            Some(head) => server.write_all(head.as_bytes())?,
            None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
        }
        server.write_all(&rest)?;
        client.set_read_timeout(None)?;
        copy_both(client, server)
    }
}

fn respond(mut client: &TcpStream, status: &str, headers: &str) -> io::Result<()> {
    let text = format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n");
    client.write_all(text.as_bytes())?;
    client.shutdown(Shutdown::Write)
}

/// Copies bytes in both directions until one side closes.
fn copy_both(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let upload = thread::Builder::new().name("git proxy".into()).spawn(move || {
        // A client that closed its side needs no response.
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    })?;
    let (mut from_server, mut to_client) = (server, client);
    let copied = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Write);
    if copied.is_err() {
        let _ = to_client.shutdown(Shutdown::Both);
    }
    let _ = upload.join();
    Ok(())
}

/// Reads the head of a request; returns it with the bytes read beyond it, or `None` if the client closed the connection.
fn read_head(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; 2048];
    loop {
        let read = client.read(&mut chunk)?;
        if read == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let head = String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            return Ok(Some((head, rest)));
        }
        if bytes.len() > MAX_HEADER_SIZE {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn parse(head: &str) -> Option<RequestHead> {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let mut parts = lines.next()?.split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    let mut secret = None;
    let mut headers = String::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name = name.to_ascii_lowercase();
        if name == "proxy-authorization" {
            secret = secret_of(value.trim());
        }
        if !name.starts_with("proxy-") && !matches!(name.as_str(), "connection" | "keep-alive") {
            headers.push_str(line);
            headers.push_str("\r\n");
        }
    }
    if method == "CONNECT" {
        let (host, port) = HostName::parse_with_port(target).ok()?;
        return Some(RequestHead { host, port: port?, forwarded: None, secret });
    }
    let rest = target.strip_prefix("http://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = HostName::parse_with_port(authority).ok()?;
    let path = if path.is_empty() { "/" } else { path };
    // One request per connection, so that none goes to an unchecked host.
    let forwarded = format!("{method} {path} {version}\r\n{headers}Connection: close\r\n\r\n");
    Some(RequestHead { host, port: port.unwrap_or(80), forwarded: Some(forwarded), secret })
}

fn secret_of(value: &str) -> Option<String> {
    let encoded = value.strip_prefix("Basic ").or_else(|| value.strip_prefix("basic "))?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    text.strip_prefix(PROXY_USER)?.strip_prefix(':').map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;

    #[test]
    fn proxy_headers_are_not_forwarded() {
        let secret = "Proxy-Authorization: Basic Z2l0OnM=\r\n";
        let head = format!(
            "GET http://h:81/a?b HTTP/1.1\r\nHost: h:81\r\n{secret}Proxy-Connection: Keep-Alive\r\n\r\n"
        );
        let request = parse(&head).unwrap();
        assert_eq!((request.host.as_str(), request.port, request.secret.as_deref()), ("h", 81, Some("s")));
        assert_eq!(
            request.forwarded.unwrap(),
            "GET /a?b HTTP/1.1\r\nHost: h:81\r\nConnection: close\r\n\r\n"
        );
        let request = parse("CONNECT [::1]:443 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((request.host.as_str(), request.port), ("[::1]", 443));
        assert!(request.forwarded.is_none() && request.secret.is_none());
        for invalid in [
            "CONNECT h HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.1\r\n\r\n",
            "GET http://0x7f.1/ HTTP/1.1\r\n\r\n",
            "x\r\n\r\n",
        ] {
            assert!(parse(invalid).is_none(), "{invalid}");
        }
    }
}
