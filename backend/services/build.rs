//! Puts the files of the web UI, from `web/dist`, into the crate.

use flate2::{Compression, write::GzEncoder};
use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Kinds of files that compress well.
const TEXT_EXTENSIONS: [&str; 5] = ["css", "html", "js", "json", "svg"];

fn main() -> Result<(), Box<dyn Error>> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../web/dist");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", dist.display());
    let index = dist.join("index.html");
    let index_text = fs::read(&index).map_err(|error| {
        format!(
            "cannot read {}: {error}; the built web UI is part of the sources, so restore web/dist",
            index.display()
        )
    })?;
    fs::write(out.join("index.html"), index_text)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(dist.join("assets"))? {
        let entry = entry?;
        println!("cargo::rerun-if-changed={}", entry.path().display());
        if entry.file_type()?.is_file() {
            names.push(
                entry.file_name().into_string().map_err(|name| format!("{}: no UTF-8", name.display()))?,
            );
        }
    }
    // The order of a directory is not the same everywhere.
    names.sort_unstable();
    let mut table = "&[".to_owned();
    for (number, name) in names.iter().enumerate() {
        let bytes = fs::read(dist.join("assets").join(name))?;
        let compressed = compress(name, &bytes)?;
        let file = format!("asset-{number}");
        fs::write(out.join(&file), &bytes)?;
        let gzip = match compressed {
            Some(compressed) => {
                fs::write(out.join(format!("{file}.gz")), compressed)?;
                format!("Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}.gz\")))")
            }
            None => "None".to_owned(),
        };
        write!(
            table,
            "Asset {{ name: {name:?}, bytes: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\")), gzip: {gzip} }},"
        )?;
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// Compresses a file of text if that saves a tenth of it or more.
fn compress(name: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, Box<dyn Error>> {
    let is_text = name.rsplit_once('.').is_some_and(|(_, extension)| TEXT_EXTENSIONS.contains(&extension));
    if !is_text {
        return Ok(None);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    let compressed = encoder.finish()?;
    Ok((compressed.len() < bytes.len() / 10 * 9).then_some(compressed))
}
