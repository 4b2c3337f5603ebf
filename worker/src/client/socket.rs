//! WebSockets to the server, for shells in jobs.

use super::{
    error::ApiError,
    request::{ApiClient, RequestOptions},
};
use ::http::{Method, StatusCode, header::SEC_WEBSOCKET_ACCEPT};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use reqwest::{Body, Upgraded};
use std::time::Duration;
use tidemill_core::execution::debug::{MAX_MESSAGE, ShellMessage};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// How long the server may take to open a WebSocket.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server may take to read a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// An open WebSocket. Both directions can be used at the same time.
#[derive(Debug)]
pub struct Socket {
    /// To the server.
    pub sender: SocketSender,
    /// From the server.
    pub receiver: SocketReceiver,
}

/// The direction to the server.
#[derive(Debug)]
pub struct SocketSender(SplitSink<WebSocketStream<Upgraded>, Message>);

/// The direction from the server.
#[derive(Debug)]
pub struct SocketReceiver(SplitStream<WebSocketStream<Upgraded>>);

/// A message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketMessage {
    /// Bytes of the terminal.
    Bytes(Bytes),
    /// A message about the shell.
    Shell(ShellMessage),
}

impl ApiClient {
    /// Opens a WebSocket at `path`.
    pub async fn open_socket(&self, path: &str) -> Result<Socket, ApiError> {
        let key = STANDARD.encode(uuid::Uuid::new_v4().as_bytes());
        let headers = [
            ("connection", "Upgrade".to_owned()),
            ("upgrade", "websocket".to_owned()),
            ("sec-websocket-version", "13".to_owned()),
            ("sec-websocket-key", key.clone()),
        ];
        let options = RequestOptions { headers: &headers, ..RequestOptions::default() };
        let failed = |message: &str| ApiError::unreachable(&self.address(path), message.to_owned());
        let opening = async {
            let reply = self.send(Method::GET, path, options, Body::default()).await?;
            let accepted = reply.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_vec());
            if reply.status() != StatusCode::SWITCHING_PROTOCOLS
                || accepted.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes())
            {
                return Err(failed("the server, or a proxy before it, does not open a WebSocket"));
            }
            reply.upgrade().await.map_err(|error| failed(&error.to_string()))
        };
        let upgraded = self.within(path, OPEN_TIMEOUT, opening).await?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        let (sink, stream) = stream.split();
        Ok(Socket { sender: SocketSender(sink), receiver: SocketReceiver(stream) })
    }
}

impl SocketReceiver {
    /// Returns the next message; `None` once the connection has ended.
    pub async fn receive(&mut self) -> Option<SocketMessage> {
        loop {
            match self.0.next().await? {
                Ok(Message::Binary(bytes)) => return Some(SocketMessage::Bytes(bytes)),
                Ok(Message::Text(text)) => {
                    // A message that this version does not know is skipped.
                    if let Ok(message) = serde_json::from_str(text.as_str()) {
                        return Some(SocketMessage::Shell(message));
                    }
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

impl SocketSender {
    /// Sends bytes of the terminal. Returns whether the connection is still open.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        for part in bytes.chunks(MAX_MESSAGE) {
            if !self.send(Message::Binary(Bytes::copy_from_slice(part))).await {
                return false;
            }
        }
        true
    }

    /// Sends a message about the shell. Returns whether the connection is still open.
    pub async fn send_message(&mut self, message: &ShellMessage) -> bool {
        match serde_json::to_string(message) {
            Ok(text) => self.send(Message::Text(text.into())).await,
            Err(_) => true,
        }
    }

    /// Ends the connection.
    pub async fn close(&mut self) {
        // The other side may be gone.
        let _ = tokio::time::timeout(SEND_TIMEOUT, self.0.close()).await;
    }

    async fn send(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(SEND_TIMEOUT, self.0.send(message)).await, Ok(Ok(())))
    }
}
