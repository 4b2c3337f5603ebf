//! Cookies of sessions and sign-ins.

use axum::http::{HeaderMap, HeaderValue, header::COOKIE};
use tidemill_core::access::sessions::{CSRF_HEADER, MAX_SESSION_MS, RequestOrigin};

/// Lifetime of the cookie of a sign-in, in seconds.
const SIGN_IN_AGE_S: i64 = 600;

/// Browsers accept a cookie with this prefix only over TLS, for the whole host and for no other one.
const HOST_PREFIX: &str = "__Host-";

/// Whether cookies of the server at this address are sent over TLS only. The address is one of this machine otherwise.
fn is_secure(public_url: &str) -> bool {
    public_url.starts_with("https://")
}

fn name(public_url: &str, name: &str) -> String {
    format!("{}{name}", if is_secure(public_url) { HOST_PREFIX } else { "" })
}

/// Returns the name of the cookie of a session.
pub fn session_name(public_url: &str) -> String {
    name(public_url, "tidemill-session")
}

/// Returns the name of the cookie of a sign-in that has not ended.
pub fn sign_in_name(public_url: &str) -> String {
    name(public_url, "tidemill-sign-in")
}

/// Returns the value of a cookie of the request.
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(one, _)| *one == name).map(|(_, value)| value)
}

fn cookie(public_url: &str, name: &str, value: &str, max_age_s: i64) -> Option<HeaderValue> {
    let secure = if is_secure(public_url) { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Returns the header that sets the cookie of a session; an empty value removes it.
pub fn session(public_url: &str, value: &str) -> Option<HeaderValue> {
    let age = if value.is_empty() { 0 } else { MAX_SESSION_MS / 1_000 };
    cookie(public_url, &session_name(public_url), value, age)
}

/// Returns the header that sets the cookie of a sign-in; an empty value removes it.
pub fn sign_in(public_url: &str, value: &str) -> Option<HeaderValue> {
    let age = if value.is_empty() { 0 } else { SIGN_IN_AGE_S };
    cookie(public_url, &sign_in_name(public_url), value, age)
}

/// Returns where a request comes from.
pub fn request_origin(headers: &HeaderMap) -> RequestOrigin<'_> {
    // A value that is no text is not that of a browser's own page.
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("invalid"));
    RequestOrigin {
        has_header: headers.contains_key(CSRF_HEADER),
        fetch_site: text("sec-fetch-site"),
        origin: text("origin"),
    }
}
