//! Checks names, images, globs and paths.

use std::borrow::Cow;

use super::finding::{Fault, quoted};

/// Maximum length of the name of a pipeline, stage or job: GitLab's limit.
const MAX_NAME_CHARS: usize = 255;

/// Maximum length of a label's name or value.
const MAX_LABEL_CHARS: usize = 128;

/// Maximum length of the name of a secret, in bytes.
const MAX_SECRET_NAME_BYTES: usize = 100;

/// Maximum length of the name of a variable, in bytes.
const MAX_VARIABLE_NAME_BYTES: usize = 128;

/// Host names that every container has for itself.
const LOOPBACK_NAMES: [&str; 6] =
    ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-allnodes"];

/// Checks the name of a pipeline, a stage or a job.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    let rule = "names are 1 to 255 characters without line breaks, and without spaces at both ends";
    let bad = |what: String| Err(Fault::new("bad-name", what).help(rule));
    if name.is_empty() {
        return bad("is an empty name".to_owned());
    }
    let length = name.chars().count();
    if length > MAX_NAME_CHARS {
        return bad(format!("is a name of {length} characters, and {MAX_NAME_CHARS} is the limit"));
    }
    if name.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return bad(format!("is the name {}, which holds a control character", quoted(name)));
    }
    if name.trim() != name {
        return bad(format!("is the name {}, which starts or ends with a space", quoted(name)));
    }
    Ok(())
}

/// Whether `name` can be that of an environment variable: letters, digits and `_`, not starting with a digit, at most 128.
#[must_use]
pub fn is_variable_name(name: &str) -> bool {
    check_variable_name(name).is_ok()
}

/// Checks the name of a variable or of a matrix key: both become environment variables.
pub(crate) fn check_variable_name(name: &str) -> Result<(), Fault> {
    let start = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if start
        && name.len() <= MAX_VARIABLE_NAME_BYTES
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Ok(());
    }
    Err(Fault::new("bad-variable-name", "is not a name that an environment variable can have")
        .help("use letters, digits and `_`, not starting with a digit, at most 128 in all"))
}

/// Checks the name of an input, of which the name of a variable is made.
pub(crate) fn check_input_name(name: &str) -> Result<(), Fault> {
    const MAX_LEN: usize = 100;
    if name.len() > MAX_LEN || check_variable_name(name).is_err() {
        let message = format!(
            "is not the name of an input: it has up to {MAX_LEN} letters, digits and `_`, and begins with no digit"
        );
        return Err(Fault::new("bad-name", message));
    }
    Ok(())
}

/// Checks an image reference; its `${NAME}` references may have any value.
pub(crate) fn check_image(image: &str) -> Result<(), Fault> {
    let bad = |why: &str| {
        Fault::new("bad-image", format!("is not an image reference: {}: {why}", quoted(image)))
            .help("write `name:tag`, such as `rust:1.95` or `registry.example.com/team/app:2`")
    };
    let filled = fill_references(image);
    if filled.is_empty() {
        return Err(bad("it is empty"));
    }
    if filled.len() > 500 {
        return Err(bad("it is longer than 500 characters"));
    }
    if filled.bytes().any(|b| !b.is_ascii_graphic()) && filled.contains(char::is_whitespace) {
        return Err(bad("it holds a space"));
    }
    let (named, digest) = match filled.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (filled.as_ref(), None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:");
        let whole = hex.is_some_and(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
        if !whole && digest != "x" && hex != Some("x") {
            return Err(bad("a digest is `sha256:` and 64 hexadecimal digits"));
        }
    }
    // A colon after the last slash starts the tag; one before it is a registry's port.
    let last_slash = named.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match named[last_slash..].find(':') {
        Some(at) => (&named[..last_slash + at], Some(&named[last_slash + at + 1..])),
        None => (named, None),
    };
    if let Some(tag) = tag {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if tag.is_empty() || tag.len() > 128 || !tag.chars().all(inner) || tag.starts_with(['.', '-']) {
            return Err(bad("a tag is 1 to 128 letters, digits, `_`, `.` and `-`"));
        }
    }
    let mut parts = repository.split('/');
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let first = repository.split_once('/').map(|(first, _)| first);
    if let Some(first) = first.filter(|first| is_registry(first)) {
        let (host, port) = first.split_once(':').unwrap_or((first, "1"));
        let host_good =
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
        if !host_good || (port != "x" && port.parse::<u16>().is_err()) {
            return Err(bad("the registry before the first `/` is not a host name"));
        }
        parts.next();
    }
    for part in parts {
        if part.is_empty() {
            return Err(bad("a part of its name is empty"));
        }
        if part.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(bad("image names are lower case"));
        }
        let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !part.bytes().all(inner) || !part.starts_with(edge) || !part.ends_with(edge) {
            return Err(bad("names are lower-case letters and digits, joined by `.`, `_` or `-`"));
        }
    }
    Ok(())
}

/// Maximum length of a user or of a group, in bytes: that of names on Linux with some room.
const MAX_USER_BYTES: usize = 64;

/// Checks the user of a container, `user` or `user:group`; its `${NAME}` references may have any value.
pub(crate) fn check_user(user: &str) -> Result<(), Fault> {
    let filled = fill_references(user);
    let is_id = |part: &str| part.parse::<u32>().is_ok_and(|id| id < u32::MAX);
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.len() <= MAX_USER_BYTES
            && part.chars().all(inner)
    };
    let (name, group) = filled.split_once(':').unwrap_or((&filled, "0"));
    if [name, group].into_iter().all(|part| is_id(part) || is_name(part)) {
        return Ok(());
    }
    Err(Fault::new("bad-user", format!("is not a user: {}", quoted(user)))
        .help("write a name or a number, and optionally a group, such as `node` or `1000:1000`"))
}

/// Checks the platform of an image; its `${NAME}` references may have any value.
pub(crate) fn check_platform(platform: &str) -> Result<(), Fault> {
    let filled = fill_references(platform);
    let parts: Vec<&str> = filled.split('/').collect();
    let is_word = |part: &&str| {
        (1..=32).contains(&part.len())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.'))
    };
    if (1..=3).contains(&parts.len()) && parts.iter().all(is_word) && (parts.len() > 1 || filled != platform)
    {
        return Ok(());
    }
    Err(Fault::new("bad-platform", format!("is not a platform: {}", quoted(platform)))
        .help("write `os/architecture`, such as `linux/amd64` or `linux/arm64`"))
}

/// An image reference with `x` for each `${NAME}`.
fn fill_references(image: &str) -> Cow<'_, str> {
    if !image.contains("${") {
        return Cow::Borrowed(image);
    }
    let mut filled = String::with_capacity(image.len());
    let mut rest = image;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        filled.push('x');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    filled.push_str(rest);
    Cow::Owned(filled)
}

/// Checks a host name of a container.
pub(crate) fn check_host(name: &str) -> Result<(), Fault> {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let good = name.len() <= 63
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if LOOPBACK_NAMES.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(Fault::new(
            "bad-alias",
            format!("is a name of the job's own container: {}", quoted(name)),
        )
        .help("choose another name"));
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(Fault::new("bad-alias", format!("is an address, not a host name: {}", quoted(name)))
            .help("choose a name; the address is given by the engine"));
    }
    if good {
        return Ok(());
    }
    Err(Fault::new("bad-alias", format!("is not a host name: {}", quoted(name)))
        .help("use 1 to 63 letters, digits and `- _ .`, with a letter or a digit at both ends"))
}

/// Whether `name` can be that of a secret: 1 to 100 letters, digits and `_ - .`, not starting with `-` or `.`.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= MAX_SECRET_NAME_BYTES
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Checks the name of a secret.
pub(crate) fn check_secret_name(name: &str) -> Result<(), Fault> {
    if is_secret_name(name) {
        return Ok(());
    }
    Err(Fault::new("bad-name", format!("is not the name of a secret: {}", quoted(name)))
        .help("use 1 to 100 letters, digits and `_ - .`, and start with a letter, a digit or `_`"))
}

/// Checks a glob.
pub(crate) fn check_glob(glob: &str) -> Result<(), Fault> {
    if glob.is_empty() {
        return Err(Fault::new("bad-glob", "is empty"));
    }
    if let Err(message) = crate::condition::check_size(glob) {
        return Err(Fault::new("bad-glob", message).help("write several globs"));
    }
    match globset::GlobBuilder::new(glob).literal_separator(true).build() {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new("bad-glob", format!("is not a valid glob: {}", error.kind()))
            .help("`*` and `?` match within a name, `**` across directories, `[ab]` one of, `{a,b}` either")),
    }
}

/// Checks a glob of files that must lie within the sources.
pub(crate) fn check_inside(glob: &str) -> Result<(), Fault> {
    if glob.starts_with('/') || glob.starts_with('~') {
        return Err(Fault::new("path-outside", format!("is an absolute path: {}", quoted(glob)))
            .help("write it relative to the sources; copy what lies elsewhere there first"));
    }
    if climbs_out(glob) {
        return Err(Fault::new("path-outside", format!("climbs out of the sources: {}", quoted(glob)))
            .help("write it relative to the sources, without `..`"));
    }
    check_glob(glob)
}

/// Whether a path contains `..`, even if it stays inside.
pub(crate) fn climbs_out(path: &str) -> bool {
    path.split(['/', '\\', '{', '}', ',']).any(|part| part == "..")
}

/// Whether `text` can be a label's name or value: 1 to 128 characters without control characters, `,` and `=`, which separate
/// labels, and without spaces at both ends.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let is_separator = |c: char| c.is_control() || matches!(c, ',' | '=');
    !text.is_empty()
        && text.chars().count() <= MAX_LABEL_CHARS
        && text.trim() == text
        && !text.contains(is_separator)
}

/// What [`is_label`] allows, for messages.
pub(crate) const LABEL_RULE: &str =
    "labels are 1 to 128 characters without `,` and `=`, and without spaces at both ends";

/// The limits of setrlimit(2) that engines know.
pub(crate) const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The capabilities of capabilities(7).
const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Whether `name` is a limit of processes, as setrlimit(2) has it in lower case.
#[must_use]
pub fn is_ulimit(name: &str) -> bool {
    ULIMITS.contains(&name)
}

/// Whether `name` is a capability without the prefix `CAP_`, or `ALL`.
#[must_use]
pub fn is_capability(name: &str) -> bool {
    name == "ALL" || CAPABILITIES.contains(&name)
}
