//! The OpenAPI document in the sources, from which the types of the web UI are made.

use std::{env, fs, path::Path};
use tidemill_services::http::openapi_document;

#[test]
fn web_openapi_document_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/openapi.json");
    let mut current = serde_json::to_string_pretty(&openapi_document()).unwrap();
    current.push('\n');
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&file, &current).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    assert!(
        kept == current,
        "web/openapi.json is old; run this test with UPDATE_SCHEMA=1, then `npm run api` in web/"
    );
}
