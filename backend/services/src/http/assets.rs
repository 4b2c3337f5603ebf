//! The files of the web UI, compiled into the program from `web/dist`.

/// A file below `/assets/`. Its name has a hash of its content, so the content of a name never changes.
#[derive(Debug)]
pub struct Asset {
    /// Name of the file.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Its bytes, compressed by gzip, if that is worth it.
    pub gzip: Option<&'static [u8]>,
}

/// All files, in the order of their names.
pub const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The document of all pages.
pub const INDEX_HTML: &str = include_str!(concat!(env!("OUT_DIR"), "/index.html"));

impl Asset {
    /// Returns the file with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        let at = ASSETS.binary_search_by(|asset| asset.name.cmp(name)).ok()?;
        ASSETS.get(at)
    }

    /// Returns the media type, which the browser relies on because of `nosniff`.
    pub fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("json" | "map") => "application/json",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("ico") => "image/x-icon",
            Some("woff2") => "font/woff2",
            Some("txt") => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }
}
