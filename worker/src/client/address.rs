//! Checks addresses of servers that users enter.

use super::error::ApiError;
use http::Uri;

/// Maximum length of an address in bytes.
const MAX_ADDRESS_LEN: usize = 2048;

/// Checks the address of a server: `http://` or `https://`, a host, and optionally a port and a path.
pub fn check_server_address(address: &str) -> Result<(), ApiError> {
    let invalid = || ApiError::Address(address.chars().take(MAX_ADDRESS_LEN).collect());
    if address.len() > MAX_ADDRESS_LEN {
        return Err(invalid());
    }
    let uri: Uri = address.parse().map_err(|_| invalid())?;
    let authority = uri.authority().ok_or_else(invalid)?;
    if authority.as_str().contains('@') {
        // The message does not repeat the address: it may have a password.
        return Err(ApiError::Settings(
            "the server's address has a user name or a password, which servers do not use: remove it, and pass a token".to_owned(),
        ));
    }
    if address.contains(['?', '#']) {
        return Err(ApiError::Settings(format!(
            "the server's address {address} has a query or a fragment; use the part before it"
        )));
    }
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = authority.host();
    let has_valid_port = authority.as_str().len() == host.len() || authority.port_u16().is_some();
    if is_http && !host.is_empty() && has_valid_port { Ok(()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::check_server_address;

    #[test]
    fn addresses_of_servers_have_a_host_and_neither_credentials_nor_a_query() {
        for address in
            ["https://ci.example.org", "http://127.0.0.1:7600/", "https://[::1]:1/ci", "https://h/prefix/"]
        {
            assert!(check_server_address(address).is_ok(), "{address}");
        }
        let long = format!("https://h/{}", "a".repeat(3000));
        for address in [
            "",
            "foo",
            "ftp://x",
            "http://",
            "http://:80",
            "http://h:99999",
            "http://a b",
            "/x",
            "http:x",
            &long,
        ] {
            let error = check_server_address(address).map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| error.contains("is not a valid address")), "{address}");
        }
        for address in ["https://h/?a=b", "https://h#f", "https://user:secret@h", "https://user@h/x"] {
            let error = check_server_address(address).map_err(|error| error.to_string());
            assert!(
                error.is_err_and(
                    |error| error.starts_with("the server's address") && !error.contains("secret")
                )
            );
        }
    }
}
