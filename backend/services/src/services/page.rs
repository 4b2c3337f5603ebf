//! Pages of listings: how large one is, and where the next begins.

use crate::error::{Error, Result};

/// Page size of a listing that names none.
const USUAL: u32 = 50;
const MOST: u32 = 200;

/// The page size that was asked for.
pub fn page_size(limit: Option<u32>) -> Result<u32> {
    let limit = limit.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::Invalid(format!("`limit` is {limit}; it may be 1 to {MOST}")))
}

/// What was given as a cursor is none.
pub fn no_cursor(text: &str) -> Error {
    Error::Invalid(format!("`{text}` is no cursor; give back `next_cursor` of the page before, as it was"))
}
