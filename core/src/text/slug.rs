//! Slugs: names in forms that hosts, paths and labels allow, as GitLab computes them.

use sha2::{Digest, Sha256};

/// Maximum length of a slug: that of a host name label.
const MAX_SLUG_LEN: usize = 63;
/// Maximum length of the slug of an environment.
const MAX_ENVIRONMENT_SLUG_LEN: usize = 24;
/// Length of the part of an environment's slug that identifies a name that had to be changed.
const SUFFIX_LEN: usize = 6;

/// Returns a name in the form of a host name label: lowercase letters, digits and hyphens, at most 63.
#[must_use]
pub fn slug(name: &str) -> String {
    let normalize = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = name.chars().map(normalize).take(MAX_SLUG_LEN).collect();
    slug.trim_matches('-').to_owned()
}

/// Returns the slug of an environment: at most 24 lowercase letters, digits and hyphens, of which the first is a letter. A name
/// that is not such a slug gets a suffix that depends on the whole name, so that the slugs of two names differ.
#[must_use]
pub fn environment_slug(name: &str) -> String {
    let normalize = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let mut normalized: String = name.to_lowercase().chars().map(normalize).collect();
    if !normalized.starts_with(|c: char| c.is_ascii_lowercase()) {
        normalized.insert_str(0, "env-");
    }
    let mut slug = String::with_capacity(normalized.len());
    for c in normalized.chars() {
        if c != '-' || !slug.ends_with('-') {
            slug.push(c);
        }
    }
    if slug.len() <= MAX_ENVIRONMENT_SLUG_LEN && slug == name {
        return slug.strip_suffix('-').unwrap_or(&slug).to_owned();
    }
    slug.truncate(MAX_ENVIRONMENT_SLUG_LEN - SUFFIX_LEN - 1);
    if !slug.ends_with('-') {
        slug.push('-');
    }
    slug + &suffix(&Sha256::digest(name.as_bytes()))
}

/// Returns the last digits of a number, in base 36.
fn suffix(number: &[u8]) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let modulus = (0..SUFFIX_LEN).fold(1_u64, |modulus, _| modulus * 36);
    let mut rest = number.iter().fold(0_u64, |rest, byte| (rest * 256 + u64::from(*byte)) % modulus);
    let mut digits = Vec::with_capacity(SUFFIX_LEN);
    for _ in 0..SUFFIX_LEN {
        digits.push(char::from(DIGITS[(rest % 36) as usize]));
        rest /= 36;
    }
    digits.into_iter().rev().collect()
}

/// Returns the tier that GitLab assumes for an environment of this name.
#[must_use]
pub fn environment_tier(name: &str) -> &'static str {
    const TIERS: [(&str, &[&str]); 4] = [
        ("development", &["dev", "review", "trunk"]),
        ("testing", &["test", "tst", "int", "accept", "acpt", "qa", "qc", "control", "quality"]),
        ("staging", &["stag", "stg", "model", "modl", "pre", "demo", "non"]),
        ("production", &["prod", "prd", "live"]),
    ];
    let name = name.to_ascii_lowercase();
    let tier = TIERS.iter().find(|(_, words)| words.iter().any(|word| name.contains(word)));
    tier.map_or("other", |(tier, _)| tier)
}

#[cfg(test)]
mod tests {
    use super::{environment_slug, environment_tier, slug, suffix};

    #[test]
    fn slugs_are_host_name_labels() {
        assert_eq!(slug(&format!("-{}", "Ä".repeat(100))), "");
        assert_eq!(slug(&"a".repeat(100)).len(), 63);
        assert_eq!(slug("Feature/Log-In"), "feature-log-in");
    }

    #[test]
    fn environment_slugs_match_gitlab() {
        // The suffix of GitLab's own tests.
        assert_eq!(suffix(&[0xaa; 32]), "q517sa");
        for (name, expected) in [
            ("staging-12345678901234567", "staging-123456789-*"),
            ("9-staging-123456789012345", "env-9-staging-123-*"),
            ("staging-1234567890123456", "staging-1234567890123456"),
            ("staging-1234567890123456-", "staging-123456789-*"),
            ("production", "production"),
            ("PRODUCTION", "production-*"),
            ("review/1-foo", "review-1-foo-*"),
            ("1-foo", "env-1-foo-*"),
            ("foo-", "foo"),
            ("foo--bar", "foo-bar-*"),
            ("*-foo", "env-foo-*"),
            ("staging-12345678-", "staging-12345678"),
            ("staging-12345678-01234567", "staging-12345678-*"),
            ("", "env-*"),
        ] {
            let slug = environment_slug(name);
            match expected.strip_suffix('*') {
                Some(start) => {
                    assert!(slug.starts_with(start) && slug.len() == start.len() + 6, "{name}: {slug}");
                }
                None => assert_eq!(slug, expected, "{name}"),
            }
            assert!(slug.len() <= 24, "{name}: {slug}");
        }
        assert_ne!(environment_slug("review/a"), environment_slug("review-A"));
    }

    #[test]
    fn tiers_follow_from_names() {
        for (name, tier) in [
            ("review/x", "development"),
            ("Production", "production"),
            ("prd", "production"),
            ("stg", "staging"),
            ("acceptance", "testing"),
            ("europe", "other"),
        ] {
            assert_eq!(environment_tier(name), tier, "{name}");
        }
    }
}
