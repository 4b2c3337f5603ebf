//! Properties of repository addresses, over texts that are nearly such.

use proptest::prelude::*;
use tidemill_core::fuzzing::repository_address;
use tidemill_core::repository::{RepositoryAddress, canonical_name, names_same_repository};

/// Addresses composed of parts that parsers read differently.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "https://",
            "http://",
            "ssh://",
            "git://",
            "file://",
            "ext::",
            "git@",
            "user:pw@",
            "@",
            ":",
            "::",
            "/",
            "//",
            "\\",
            "?",
            "#",
            "%2f",
            "%2e",
            "%41",
            "%",
            "..",
            ".",
            "-",
            "[",
            "]",
            "[::1]",
            "[fd00::1]",
            "127.0.0.1",
            "0x7f.1",
            "git.example.org",
            "EXAMPLE.org",
            "xn--",
            ":22",
            ":443",
            ":0",
            ":65536",
            "team/app",
            ".git",
            " ",
            "\n",
            "\u{0}",
            "\u{e4}",
            "~",
            "local",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9]{1,4}",
    ];
    proptest::collection::vec(piece, 1..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accepted_address_matches_git(text in nearly()) {
        repository_address(text.as_bytes());
    }

    #[test]
    fn only_addresses_of_one_repository_have_one_name(one in nearly(), other in nearly()) {
        if names_same_repository(&one, &other) && one != other {
            // Both name the same repository, or one of them cannot be fetched.
            if let (Ok(a), Ok(b)) = (RepositoryAddress::parse(&one), RepositoryAddress::parse(&other)) {
                prop_assert_eq!(a.host(), b.host());
                prop_assert_eq!(canonical_name(&a.to_git_url()), canonical_name(&b.to_git_url()));
                let usual = |address: &RepositoryAddress| address.port() == address.scheme().port();
                prop_assert!(a.port() == b.port() || usual(&a) && usual(&b));
            }
        }
    }
}
