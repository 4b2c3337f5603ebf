//! Size of pages of listings.

use crate::error::{Error, Result};

/// Default page size.
const DEFAULT_PAGE_SIZE: u32 = 50;
const MAX_PAGE_SIZE: u32 = 200;

/// Returns the requested page size, or the default.
pub fn page_size(limit: Option<u32>) -> Result<u32> {
    let limit = limit.unwrap_or(DEFAULT_PAGE_SIZE);
    if (1..=MAX_PAGE_SIZE).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::Invalid(format!("`limit` is {limit}; it must be 1 to {MAX_PAGE_SIZE}")))
}
