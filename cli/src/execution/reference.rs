//! How a command line names an execution: by run number, by id, or by the start of an id.

use tidemill_core::ids::ExecutionId;
use uuid::Uuid;

/// Length of an id as text.
const ID_LEN: usize = 36;
/// Positions of hyphens in an id.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Minimum length of the start of an id: shorter texts are more likely names of jobs.
const MIN_PREFIX_LEN: usize = 4;

/// The name of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A run number, which is counted for each repository and pipeline.
    Run(u64),
    /// An id.
    Id(ExecutionId),
    /// The start of an id, in lower case.
    IdPrefix(String),
}

impl Reference {
    /// Parses an argument. `None`: it names no execution, but it may name a job.
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        if let Some(number) = text.parse().ok().filter(|_| is_number) {
            return Some(Self::Run(number));
        }
        if let Ok(id) = text.parse() {
            return Some(Self::Id(id));
        }
        let fits = |(index, byte): (usize, u8)| {
            if HYPHENS.contains(&index) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        };
        let is_prefix = (MIN_PREFIX_LEN..ID_LEN).contains(&text.len()) && text.bytes().enumerate().all(fits);
        is_prefix.then(|| Self::IdPrefix(text.to_ascii_lowercase()))
    }
}

/// Returns the id after the last one that begins with `prefix`, so that a list of smaller ids begins with those.
pub fn first_after_prefix(prefix: &str) -> String {
    const LARGEST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let rest = LARGEST.get(prefix.len()..).unwrap_or_default();
    let last = format!("{prefix}{rest}");
    match last.parse::<Uuid>() {
        Ok(id) => Uuid::from_u128(id.as_u128().saturating_add(1)).to_string(),
        Err(_) => last,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Reference, first_after_prefix};

    #[test]
    fn numbers_ids_and_starts_of_ids_are_references() {
        let id = "01980000-0000-7000-8000-00000000000a";
        assert_eq!(Reference::parse("12"), Some(Reference::Run(12)));
        assert_eq!(Reference::parse(id), Some(Reference::Id(id.parse().unwrap())));
        assert_eq!(Reference::parse(&id.to_uppercase()), Some(Reference::Id(id.parse().unwrap())));
        for prefix in ["0198", "01980000-", "01980000-0000-7000-8000-00000000000", "feed"] {
            assert_eq!(Reference::parse(prefix), Some(Reference::IdPrefix(prefix.to_owned())), "{prefix}");
        }
        assert_eq!(Reference::parse("019A"), Some(Reference::IdPrefix("019a".to_owned())));
    }

    #[test]
    fn other_texts_are_not_references() {
        let long = "0".repeat(37);
        let others = [
            "",
            "unit",
            "0",
            "012",
            "-",
            "-12",
            "#12",
            "1.2",
            "0198000-",
            "019800000",
            "0198_",
            "bad",
            "１２",
            &long,
        ];
        for text in others {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
        assert_eq!(Reference::parse("99999999999999999999999"), None, "more than any run number");
    }

    #[test]
    fn id_after_a_prefix_is_larger_than_each_id_that_begins_with_it() {
        assert_eq!(first_after_prefix("0198"), "01990000-0000-0000-0000-000000000000");
        assert_eq!(first_after_prefix("01980000-0"), "01980000-1000-0000-0000-000000000000");
        let last = "01980000-0000-7000-8000-00000000000f";
        assert_eq!(first_after_prefix(&last[..35]), "01980000-0000-7000-8000-000000000010");
        assert_eq!(first_after_prefix("ffff"), "ffffffff-ffff-ffff-ffff-ffffffffffff");
    }
}
