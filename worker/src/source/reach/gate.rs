//! An HTTP proxy on the loopback through which git of this process contacts git servers, and which connects to no host that may
//! not be contacted: it resolves each name itself, checks the addresses, and connects to one of those that it checked.

use super::resolver::{ConnectError, Resolver, addresses};
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
use tidemill_core::repository::{AddressPolicy, AddressRefusal, HostName};
use uuid::Uuid;

/// The longest head of a request.
const MAX_HEADER_SIZE: usize = 16 << 10;
/// How long a head, and a connection, may take.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at the same time.
const MAX_CONNECTIONS: usize = 256;
/// The user that proxies' addresses name; who it is says the password alone.
const PROXY_USER: &str = "git";

/// The proxy; it ends with the process.
#[derive(Debug)]
pub(super) struct Gate {
    address: SocketAddr,
    passes: ProxyCredentials,
}

type ProxyCredentials = Arc<Mutex<HashMap<String, Arc<AllowedHosts>>>>;

/// What one git command may contact.
#[derive(Debug)]
struct AllowedHosts {
    /// A host that may have a private address, at this port.
    private: Option<(HostName, u16)>,
    /// Why something was refused.
    refused: OnceLock<AddressRefusal>,
}

/// The right of one git command to use the gate, until it is dropped.
pub(super) struct ProxyCredential {
    address: SocketAddr,
    secret: String,
    permit: Arc<AllowedHosts>,
    passes: ProxyCredentials,
}

impl fmt::Debug for ProxyCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("permit", &self.permit).finish_non_exhaustive()
    }
}

impl ProxyCredential {
    /// The proxy's address, with the secret.
    pub fn proxy(&self) -> String {
        format!("http://{PROXY_USER}:{}@{}", self.secret, self.address)
    }

    /// Why something was refused, if it was.
    pub fn refusal(&self) -> Option<AddressRefusal> {
        self.permit.refused.get().copied()
    }
}

impl Drop for ProxyCredential {
    fn drop(&mut self) {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.secret);
    }
}

impl Gate {
    /// Begins to listen.
    pub fn start(policy: AddressPolicy, resolver: Arc<dyn Resolver>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let passes = ProxyCredentials::default();
        let keeper =
            Arc::new(ProxyServer { policy, resolver, passes: passes.clone(), busy: AtomicUsize::new(0) });
        thread::Builder::new().name("git gate".into()).spawn(move || {
            for client in listener.incoming().flatten() {
                let keeper = keeper.clone();
                if keeper.busy.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                    keeper.busy.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let serving = thread::Builder::new().name("git gate".into()).spawn({
                    let keeper = keeper.clone();
                    move || {
                        if let Err(error) = keeper.serve(client) {
                            tracing::debug!(%error, "a connection of git broke off");
                        }
                        keeper.busy.fetch_sub(1, Ordering::Relaxed);
                    }
                });
                if serving.is_err() {
                    keeper.busy.fetch_sub(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Self { address, passes })
    }

    /// Lets one git command contact public hosts, and the host and port that may be private.
    pub fn admit(&self, private: Option<(HostName, u16)>) -> ProxyCredential {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let permit = Arc::new(AllowedHosts { private, refused: OnceLock::new() });
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        passes.insert(secret.clone(), permit.clone());
        ProxyCredential { address: self.address, secret, permit, passes: self.passes.clone() }
    }
}

#[derive(Debug)]
struct ProxyServer {
    policy: AddressPolicy,
    resolver: Arc<dyn Resolver>,
    passes: ProxyCredentials,
    busy: AtomicUsize,
}

/// The head of a request to a proxy.
struct RequestHead {
    host: HostName,
    port: u16,
    /// What the server is to get of it; `None`: a tunnel is asked for.
    forwarded: Option<String>,
    secret: Option<String>,
}

impl ProxyServer {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        let Some((head, rest)) = read_head(&mut client)? else { return Ok(()) };
        let Some(head) = parse(&head) else { return answer(&client, "400 Bad Request", "") };
        let permit = head.secret.as_ref().and_then(|secret| {
            self.passes.lock().unwrap_or_else(PoisonError::into_inner).get(secret).cloned()
        });
        let Some(permit) = permit else {
            let how = "Proxy-Authenticate: Basic realm=\"git\"\r\n";
            return answer(&client, "407 Proxy Authentication Required", how);
        };
        let named =
            permit.private.as_ref().is_some_and(|(host, port)| *host == head.host && *port == head.port);
        let private = named || self.policy.allows(&head.host, head.port);
        let found = match addresses(&*self.resolver, &head.host, head.port, private) {
            Ok(found) => found,
            Err(ConnectError::Refused(refusal)) => {
                let _ = permit.refused.set(refusal);
                return answer(&client, "403 Forbidden", "");
            }
            Err(ConnectError::Unknown) => return answer(&client, "502 Bad Gateway", ""),
        };
        let connected =
            found.iter().find_map(|address| TcpStream::connect_timeout(address, CLIENT_TIMEOUT).ok());
        let Some(mut server) = connected else { return answer(&client, "502 Bad Gateway", "") };
        match head.forwarded {
            Some(head) => server.write_all(head.as_bytes())?,
            None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
        }
        server.write_all(&rest)?;
        client.set_read_timeout(None)?;
        join(client, server)
    }
}

fn answer(mut client: &TcpStream, status: &str, more: &str) -> io::Result<()> {
    let text = format!("HTTP/1.1 {status}\r\n{more}Connection: close\r\nContent-Length: 0\r\n\r\n");
    client.write_all(text.as_bytes())?;
    client.shutdown(Shutdown::Write)
}

/// Passes bytes on in both directions until one side ends.
fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let upwards = thread::Builder::new().name("git gate".into()).spawn(move || {
        // A client that ended wants no answer any more.
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    })?;
    let (mut from_server, mut to_client) = (server, client);
    let copied = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Write);
    if copied.is_err() {
        let _ = to_client.shutdown(Shutdown::Both);
    }
    let _ = upwards.join();
    Ok(())
}

/// The head of a request, and what was read beyond it. `None`: the client left.
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
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    let mut secret = None;
    let mut kept = String::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name = name.to_ascii_lowercase();
        if name == "proxy-authorization" {
            secret = secret_of(value.trim());
        }
        if !name.starts_with("proxy-") && !matches!(name.as_str(), "connection" | "keep-alive") {
            kept.push_str(line);
            kept.push_str("\r\n");
        }
    }
    if method == "CONNECT" {
        let (host, port) = HostName::parse_with_port(target).ok()?;
        return Some(RequestHead { host, port: port?, forwarded: None, secret });
    }
    let rest = target.strip_prefix("http://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    let (host, port) = HostName::parse_with_port(place).ok()?;
    let path = if path.is_empty() { "/" } else { path };
    // One request for each connection, so that none goes to a host that was not checked for it.
    let forwarded = format!("{method} {path} {version}\r\n{kept}Connection: close\r\n\r\n");
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
        let read = parse(&head).unwrap();
        assert_eq!((read.host.as_str(), read.port, read.secret.as_deref()), ("h", 81, Some("s")));
        assert_eq!(read.forwarded.unwrap(), "GET /a?b HTTP/1.1\r\nHost: h:81\r\nConnection: close\r\n\r\n");
        let read = parse("CONNECT [::1]:443 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((read.host.as_str(), read.port), ("[::1]", 443));
        assert!(read.forwarded.is_none() && read.secret.is_none());
        for odd in [
            "CONNECT h HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.1\r\n\r\n",
            "GET http://0x7f.1/ HTTP/1.1\r\n\r\n",
            "x\r\n\r\n",
        ] {
            assert!(parse(odd).is_none(), "{odd}");
        }
    }
}
