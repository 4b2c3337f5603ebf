//! One name for each repository, however its address is written.

/// The name of the repository at `address`: `host/path` for what is on a network, the path itself for what is on this
/// machine's disk. Two addresses of one repository over different protocols have one name.
#[must_use]
pub fn canonical(address: &str) -> String {
    let address = address.trim();
    let (host, path) = if let Some((scheme, rest)) = address.split_once("://") {
        if scheme.eq_ignore_ascii_case("file") {
            return trimmed(rest).to_owned();
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        (authority.rsplit('@').next().unwrap_or_default(), path)
    } else {
        // `git@host:path`, as scp has it; a colon after a slash is part of a path.
        match address.split_once(':') {
            Some((host, path)) if !host.contains('/') && !host.is_empty() && !path.is_empty() => {
                (host.rsplit('@').next().unwrap_or_default(), path)
            }
            _ => return trimmed(address).to_owned(),
        }
    };
    let host = host.to_ascii_lowercase();
    // The ports that the protocols have anyway say nothing.
    let host = [":443", ":22", ":80"].iter().find_map(|port| host.strip_suffix(port)).unwrap_or(&host);
    format!("{host}/{}", trimmed(path.trim_start_matches('/')))
}

/// Without what makes no difference at its end.
fn trimmed(path: &str) -> &str {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    path.strip_suffix(".git").filter(|path| !path.is_empty() && !path.ends_with('/')).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn every_address_of_a_repository_has_one_name() {
        for address in [
            "https://Git.Example.org/team/app.git",
            "https://git.example.org/team/app",
            "https://git.example.org/team/app/",
            "https://user:token@git.example.org:443/team/app.git",
            "ssh://git@git.example.org:22/team/app.git",
            "git@git.example.org:team/app.git",
            "git.example.org:/team/app",
        ] {
            assert_eq!(canonical(address), "git.example.org/team/app", "{address}");
        }
        for (address, name) in [
            ("/srv/git/app.git", "/srv/git/app"),
            ("file:///srv/git/app.git/", "/srv/git/app"),
            ("/srv/git/app/.git", "/srv/git/app/.git"),
            ("./a:b", "./a:b"),
            ("http://127.0.0.1:3000/x/y.git", "127.0.0.1:3000/x/y"),
            ("app", "app"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(canonical(address), name, "{address}");
        }
    }
}
