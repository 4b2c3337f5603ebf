//! The worker's side of the HTTP API.

mod address;
mod api;
mod causes;
mod error;
mod forwarding;
mod http;
mod plain_http;
mod request;
mod retry;
mod socket;
mod trust;

pub use address::check_server_address;
pub(crate) use causes::format_causes;
pub use error::ApiError;
pub use forwarding::{ConnectionPlace, Connections, Outgoing};
pub use http::{ClientError, HttpError, send_elsewhere};
pub(crate) use http::{HttpClient, read_body};
pub use request::{ApiClient, ApiReply};
pub use retry::{BackOff, exponential};
pub use socket::{Socket, SocketMessage, SocketReceiver, SocketSender};
pub use trust::{AuthoritiesError, TrustError};
pub use trust::{CertificateAuthorities, TlsFailure};
