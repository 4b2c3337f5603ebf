//! Pages of listings: how large one is, and where the next begins.

use crate::error::{Error, Result};

/// Page size of a listing that names none.
const DEFAULT_PAGE_SIZE: u32 = 50;
const MAX_PAGE_SIZE: u32 = 200;

/// The page size that was asked for.
pub fn page_size(limit: Option<u32>) -> Result<u32> {
    let limit = limit.unwrap_or(DEFAULT_PAGE_SIZE);
    if (1..=MAX_PAGE_SIZE).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::Invalid(format!("`limit` is {limit}; it may be 1 to {MAX_PAGE_SIZE}")))
}

/// What was given as a cursor is none.
pub fn no_cursor(text: &str) -> Error {
    Error::Invalid(format!("`{text}` is no cursor; give back `next_cursor` of the page before, as it was"))
}
