//! Messages of gRPC in the streams of HTTP/2.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use std::future::poll_fn;

/// Maximum size of a received message in bytes.
const MAX_MESSAGE_SIZE: usize = 4 << 20;
/// The flag of a message that is not compressed, and its length.
const PREFIX_LEN: usize = 5;

/// A status of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    InvalidArgument = 3,
    NotFound = 5,
    Unimplemented = 12,
    Unavailable = 14,
}

/// The messages of a request's body.
#[derive(Debug)]
pub struct Messages {
    body: RecvStream,
    received: BytesMut,
}

impl Messages {
    pub fn new(body: RecvStream) -> Self {
        Self { body, received: BytesMut::new() }
    }

    /// Returns the next message; `None` at the end, and if it is not valid.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = message_length(&self.received) {
                if length > MAX_MESSAGE_SIZE {
                    return None;
                }
                if self.received.len() >= PREFIX_LEN + length {
                    self.received.advance(PREFIX_LEN);
                    return Some(self.received.split_to(length).freeze());
                }
            }
            let chunk = self.body.data().await?.ok()?;
            self.received.extend_from_slice(&chunk);
            self.body.flow_control().release_capacity(chunk.len()).ok()?;
        }
    }
}

/// Returns the length of the message that `received` begins with, once it is known. This side accepts no compressed messages.
fn message_length(received: &[u8]) -> Option<usize> {
    let (prefix, _) = received.split_first_chunk::<PREFIX_LEN>()?;
    let [flag, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    Some(if flag == 0 { length } else { usize::MAX })
}

/// A reply that is being sent.
#[derive(Debug)]
pub struct Reply(SendStream<Bytes>);

impl Reply {
    /// Begins a reply.
    pub fn begin(respond: &mut SendResponse<Bytes>) -> Result<Self, h2::Error> {
        respond.send_response(head(), false).map(Self)
    }

    /// Sends a message once there is room for it.
    pub async fn send(&mut self, message: &impl prost::Message) -> Result<(), h2::Error> {
        let bytes = message.encode_to_vec();
        let mut frame = BytesMut::with_capacity(PREFIX_LEN + bytes.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(&bytes);
        let mut rest = frame.freeze();
        while !rest.is_empty() {
            self.0.reserve_capacity(rest.len());
            match poll_fn(|context| self.0.poll_capacity(context)).await {
                Some(Ok(room)) => self.0.send_data(rest.split_to(room.min(rest.len())), false)?,
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Ends the reply.
    pub fn end(mut self, status: Status) -> Result<(), h2::Error> {
        self.0.send_trailers(trailers(status))
    }
}

/// Replies with a status only.
pub fn reject(respond: &mut SendResponse<Bytes>, status: Status) -> Result<(), h2::Error> {
    let mut response = head();
    response.headers_mut().extend(trailers(status));
    respond.send_response(response, true).map(drop)
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn trailers(status: Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(status as u16));
    trailers
}

#[cfg(test)]
mod tests {
    use super::message_length;

    #[test]
    fn length_is_known_with_the_prefix_and_compressed_messages_are_too_long() {
        assert_eq!(message_length(&[0, 0, 0, 1]), None);
        assert_eq!(message_length(&[0, 0, 0, 1, 2]), Some(258));
        assert_eq!(message_length(&[1, 0, 0, 0, 2]), Some(usize::MAX));
    }
}
