#![allow(clippy::unwrap_used)]

use super::{IncludeAccess, IncludeFetcher, parse_refs, read_template};
use crate::source::{GitSetUp, HostPolicy};
use std::{fs, path::Path};
use tidemill_core::pipeline::{GitSource, IncludeError, IncludeSources, MAX_FILE_BYTES};
use tidemill_core::repository::RepositoryAddress;

fn access(cache: &Path) -> IncludeAccess {
    IncludeAccess {
        policy: HostPolicy::default(),
        set_up: GitSetUp::None,
        repository: RepositoryAddress::parse("https://git.example.org/group/app").ok(),
        private_host: false,
        cache: cache.to_owned(),
        templates: None,
        offline: false,
    }
}

#[test]
fn annotated_tags_are_commits() {
    let (one, two) = ("1".repeat(40), "2".repeat(40));
    let lines =
        format!("{one}\tHEAD\n{one}\trefs/heads/main\n{one}\trefs/tags/v1\n{two}\trefs/tags/v1^{{}}\nx\ty\n");
    let refs = parse_refs(&lines).unwrap();
    assert_eq!((refs.head.as_deref(), refs.branches["main"].as_str()), (Some(one.as_str()), one.as_str()));
    assert_eq!((refs.tags.len(), refs.tags["v1"].as_str()), (1, two.as_str()));
    let many: Vec<String> = (0..60_000).map(|number| format!("{one}\trefs/heads/b{number}\n")).collect();
    assert_eq!(parse_refs(&many.concat()), None);
}

#[test]
fn templates_are_files_of_their_directory() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("templates");
    fs::create_dir_all(directory.join("Jobs")).unwrap();
    fs::write(directory.join("Jobs/Go.yml"), "go: {}\n").unwrap();
    fs::write(directory.join("big.yml"), "x".repeat(MAX_FILE_BYTES + 1)).unwrap();
    fs::write(directory.join("bytes.yml"), [0xff, 0xfe]).unwrap();
    fs::write(root.path().join("secret.yml"), "secret").unwrap();
    std::os::unix::fs::symlink(root.path().join("secret.yml"), directory.join("link.yml")).unwrap();
    assert_eq!(read_template(&directory, "Jobs/Go.yml").as_deref(), Ok("go: {}\n"));
    assert_eq!(read_template(&directory, "big.yml"), Err(IncludeError::TooLarge));
    assert_eq!(read_template(&directory, "bytes.yml"), Err(IncludeError::NotText));
    for name in ["none.yml", "link.yml", "../secret.yml", "Jobs"] {
        let path = directory.join(name).display().to_string();
        assert_eq!(read_template(&directory, name), Err(IncludeError::NoTemplate { path }), "{name}");
    }
    assert_eq!(IncludeFetcher::new(access(root.path())).template("a.yml"), Err(IncludeError::NoTemplates));
}

#[test]
fn private_addresses_are_not_contacted() {
    let cache = tempfile::tempdir().unwrap();
    let fetcher = IncludeFetcher::new(access(cache.path()));
    for url in
        ["https://127.0.0.1:1/a.yml", "https://169.254.169.254/latest/meta-data", "https://localhost:1/a"]
    {
        let Err(IncludeError::Unavailable(why)) = fetcher.download(url, None) else { panic!("{url}") };
        assert!(why.contains("private, local or reserved address"), "{url}: {why}");
    }
    let address = RepositoryAddress::parse("https://127.0.0.1:1/group/lib").unwrap();
    let source = GitSource { address, is_public: false };
    let Err(IncludeError::Unavailable(why)) = fetcher.refs(&source) else { panic!() };
    assert!(why.contains("private, local or reserved address"), "{why}");
}

#[test]
fn offline_reader_contacts_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let policy = HostPolicy::new(tidemill_core::repository::AddressPolicy::unrestricted());
    let fetcher = IncludeFetcher::new(IncludeAccess { offline: true, policy, ..access(cache.path()) });
    let address = RepositoryAddress::parse("https://127.0.0.1:1/group/lib").unwrap();
    let source = GitSource { address, is_public: false };
    assert_eq!(fetcher.refs(&source), Err(IncludeError::Offline));
    assert_eq!(fetcher.read(&source, &"1".repeat(40), "a.yml"), Err(IncludeError::Offline));
    assert_eq!(fetcher.download("https://127.0.0.1:1/a.yml", None), Err(IncludeError::Offline));
    fetcher.stored.set_content("https://127.0.0.1:1/a.yml", "a: {}\n");
    assert_eq!(fetcher.download("https://127.0.0.1:1/a.yml", None).as_deref(), Ok("a: {}\n"));
}
