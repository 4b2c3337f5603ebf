//! Signs in the command line with a browser: a page of the server passes a code to a listener on this machine (RFC 8252), and only
//! who began can exchange it for a token, because only they know the text behind the challenge.

use crate::{
    commands::execution::open::try_browser,
    failure::{Failure, Outcome},
    output::{Printable, printable},
    workers,
};
use std::{collections::HashMap, time::Duration};
use tidemill_core::{
    access::{
        TokenReply,
        sessions::{CodeExchange, SessionInfo, challenge_of},
    },
    api::{page, path},
};
use tidemill_worker::client::{ApiClient, ApiError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use uuid::Uuid;

/// How long to wait for the person.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// How long a browser has for its request, and its maximum length in bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REQUEST_LEN: usize = 16 << 10;
/// Timeout of the exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of the name of this machine, in bytes.
const MAX_MACHINE_LEN: usize = 60;

/// What the page of the server replied.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Code(String),
    Denied,
}

/// Signs in with a browser, and returns a token of the person. `api` needs no token.
pub async fn token_of_browser(api: &ApiClient) -> Outcome<String> {
    let url = api.server();
    let info = api.fetch(path::SESSION, None).await?.map(|reply| reply.body).unwrap_or_default();
    let info: SessionInfo = serde_json::from_slice(&info).map_err(|error| {
        Failure::system(format!(
            "{url}{} returned an invalid reply: {}",
            path::SESSION,
            Printable(error.to_string())
        ))
    })?;
    if info.providers.is_empty() {
        return Err(Failure::usage(format!(
            "{url} has no way to sign in with a browser: leave out --browser and enter a token, or ask its administrator to configure a provider"
        )));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    // Each has 122 random bits.
    let verifier = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let state = Uuid::new_v4().simple().to_string();
    let address = format!(
        "{url}/{}?challenge={}&port={}&state={state}",
        page::SIGN_IN,
        challenge_of(&verifier),
        listener.local_addr()?.port()
    );
    crate::output::errln!("sign in with a browser on this machine: {address}");
    try_browser(&address);
    let answer = timeout(MAX_WAIT, answer(&listener, &state)).await.map_err(|_| {
        Failure::system(format!("nobody signed in within {} minutes; try again", MAX_WAIT.as_secs() / 60))
    })??;
    let Answer::Code(code) = answer else {
        return Err(Failure::usage("the sign-in was refused in the browser; nothing was saved"));
    };
    let exchange = CodeExchange { code, verifier, machine: machine() };
    // Not repeated: a code is valid once.
    let reply = api.post(path::SESSION_TOKEN, &exchange, EXCHANGE_TIMEOUT).await;
    let reply: TokenReply = match reply {
        // It is the code that is not valid: no token was sent.
        Err(ApiError::Rejected { status: 401, message, .. }) => {
            return Err(Failure::usage(printable(&message)));
        }
        reply => reply?,
    };
    Ok(reply.token)
}

/// Returns the name of this machine, for the list of tokens.
fn machine() -> String {
    let mut name = printable(&workers::machine_name());
    while name.len() > MAX_MACHINE_LEN {
        name.pop();
    }
    name
}

/// Waits for the request with which the page passes on the code. A browser may open connections that it does not use, and other
/// programs of this machine may send anything.
async fn answer(listener: &TcpListener, state: &str) -> Outcome<Answer> {
    let (sender, mut answers) = mpsc::channel(1);
    loop {
        tokio::select! {
            Some(answer) = answers.recv() => return Ok(answer),
            accepted = listener.accept() => {
                let (connection, _) = accepted?;
                let (sender, state) = (sender.clone(), state.to_owned());
                tokio::spawn(async move {
                    if let Ok(Some(answer)) = timeout(REQUEST_TIMEOUT, serve(connection, &state)).await {
                        let _ = sender.send(answer).await;
                    }
                });
            }
        }
    }
}

/// Serves one request. Returns the answer if it is the one of the page.
async fn serve(mut connection: TcpStream, state: &str) -> Option<Answer> {
    let mut request = Vec::new();
    let mut buffer = [0; 2_048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = connection.read(&mut buffer).await.ok()?;
        if length == 0 || request.len() + length > MAX_REQUEST_LEN {
            return None;
        }
        request.extend_from_slice(&buffer[..length]);
    }
    let answer = parse(&String::from_utf8_lossy(&request), state);
    let (status, text) = match &answer {
        Some(Answer::Code(_)) => {
            ("200 OK", "You are signed in on the command line. You can close this page.")
        }
        Some(Answer::Denied) => ("200 OK", "The command line was not signed in. You can close this page."),
        None => ("404 Not Found", "There is nothing here."),
    };
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    // The answer counts even if the browser does not wait for the reply.
    let _ = connection.write_all(reply.as_bytes()).await;
    let _ = connection.shutdown().await;
    answer
}

/// Returns the answer of a request with this state.
fn parse(request: &str, state: &str) -> Option<Answer> {
    let target = request.lines().next()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let query = target.strip_prefix("/?")?;
    // Neither codes nor states have characters that are encoded.
    let fields: HashMap<&str, &str> = query.split('&').filter_map(|field| field.split_once('=')).collect();
    if fields.get("state") != Some(&state) {
        return None;
    }
    match (fields.get("code"), fields.contains_key("error")) {
        (Some(code), false) if !code.is_empty() => Some(Answer::Code((*code).to_owned())),
        (None, true) => Some(Answer::Denied),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Answer, answer, parse};
    use std::time::Duration;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    #[test]
    fn only_a_request_with_the_state_is_an_answer() {
        let parse = |target: &str| parse(&format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"), "s");
        assert_eq!(parse("/?code=tm_x&state=s"), Some(Answer::Code("tm_x".into())));
        assert_eq!(parse("/?state=s&error=denied"), Some(Answer::Denied));
        for target in [
            "/",
            "/?code=x",
            "/?code=x&state=other",
            "/?code=&state=s",
            "/?state=s",
            "/?code=x&state=s&error=denied",
            "/other?code=x&state=s",
            "http://127.0.0.1/?code=x&state=s",
        ] {
            assert_eq!(parse(target), None, "{target}");
        }
        assert_eq!(super::parse("POST /?code=x&state=s HTTP/1.1\r\n\r\n", "s"), None);
    }

    #[tokio::test]
    async fn listener_ignores_idle_and_foreign_connections() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _idle = TcpStream::connect(address).await.unwrap();
        let send = async |query: &str| {
            let mut connection = TcpStream::connect(address).await.unwrap();
            let request = format!("GET /?{query} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
            connection.write_all(request.as_bytes()).await.unwrap();
            let mut reply = String::new();
            connection.read_to_string(&mut reply).await.unwrap();
            reply
        };
        let requests = async {
            let foreign = send("code=foreign&state=other").await;
            let own = send("code=own&state=s").await;
            (foreign, own)
        };
        let both = async { tokio::join!(answer(&listener, "s"), requests) };
        let (answer, (foreign, own)) = timeout(Duration::from_secs(60), both).await.unwrap();
        assert_eq!(answer.unwrap(), Answer::Code("own".into()));
        assert!(foreign.starts_with("HTTP/1.1 404 ") && own.starts_with("HTTP/1.1 200 "), "{foreign} {own}");
    }
}
