//! Checks the tar of an image before an engine loads it: it must give no names to images, as other jobs use images by name.

use super::tar_writer::BUFFER_SIZE;
use crate::engine::BUILT_NAME;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{
    collections::BTreeSet,
    fmt,
    io::{self, BufReader, Read},
};

/// Maximum size of a list of images in the tar.
const MAX_LIST_BYTES: u64 = 4 << 20;
/// The lists of a tar whose contents give names to images.
const LISTS: [&str; 3] = ["manifest.json", "index.json", "repositories"];
/// The annotations of an index in which engines look for the name of an image.
const NAME_ANNOTATIONS: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// Why a tar is not loaded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForeignTar {
    #[error(
        "it would give the name `{0}` to an image of this machine, which only a registry or the machine's user may"
    )]
    Name(String),
    #[error("it has an entry that no engine writes: `{0}`")]
    Entry(String),
    #[error("its `{0}` is not a list of images: {1}")]
    List(&'static str, String),
    #[error("it is not the tar of an image")]
    NoImage,
}

impl From<ForeignTar> for io::Error {
    fn from(error: ForeignTar) -> Self {
        Self::other(error)
    }
}

/// Fails unless the tar is one that engines write for an image without names, or with those of builds.
pub(super) fn check_image_tar(tar: impl Read) -> io::Result<()> {
    let mut tar = BufReader::with_capacity(BUFFER_SIZE, tar);
    let mut start = [0; 4];
    tar.read_exact(&mut start).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ForeignTar::NoImage.into(),
        _ => error,
    })?;
    // An engine decompresses what looks compressed, and would then see other entries. No name of its own looks so.
    if !start.iter().all(u8::is_ascii_graphic) || start.starts_with(b"BZh") {
        return Err(ForeignTar::NoImage.into());
    }
    let mut tar = tar::Archive::new(start.chain(tar));
    let mut seen = [false; LISTS.len()];
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let foreign = || ForeignTar::Entry(path.chars().take(100).collect());
        if !has_one_name(&mut entry)?
            || !path.bytes().all(|byte| byte.is_ascii_graphic())
            || path.split('/').any(|part| part == "..")
        {
            return Err(foreign().into());
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let kind = entry.header().entry_type();
        // A link beside the lists could lead to another file, and a list below it could replace one.
        let is_fitting = match parts.len() {
            0 => kind.is_dir(),
            1 => kind.is_file() || kind.is_dir(),
            _ => kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link(),
        };
        let list = parts.last().and_then(|last| LISTS.iter().position(|list| list == last));
        if !is_fitting {
            return Err(foreign().into());
        }
        let Some(list) = list else { continue };
        if parts.len() > 1 || !kind.is_file() || std::mem::replace(&mut seen[list], true) {
            return Err(foreign().into());
        }
        check_list(LISTS[list], &mut entry)?;
    }
    if seen[0] || seen[1] { Ok(()) } else { Err(ForeignTar::NoImage.into()) }
}

/// Whether all readers of tars find the same name for this entry: records before it neither repeat each other nor are of an
/// extension that has names of its own.
fn has_one_name(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<bool> {
    let mut keys = BTreeSet::new();
    for record in entry.pax_extensions()?.into_iter().flatten() {
        let key = record?.key_bytes().to_vec();
        if key.starts_with(b"GNU.") || !keys.insert(key) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fails if a list gives another name to an image than one of builds.
fn check_list(list: &'static str, entry: &mut impl Read) -> io::Result<()> {
    let mut text = Vec::new();
    entry.take(MAX_LIST_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_LIST_BYTES {
        return Err(ForeignTar::List(list, format!("it has more than {MAX_LIST_BYTES} bytes")).into());
    }
    let json: Json =
        serde_json::from_slice(&text).map_err(|error| ForeignTar::List(list, error.to_string()))?;
    if list == "repositories" {
        // Its keys are names without tags; engines that do not need it write it empty.
        let Json::Object(names) = json else { return Ok(()) };
        return Ok(names.iter().try_for_each(|(name, _)| check_name(name))?);
    }
    Ok(check_names(list, &json)?)
}

/// Fails if a key somewhere in `json`, whose value is the name of an image, has another value than a name of builds.
fn check_names(list: &'static str, json: &Json) -> Result<(), ForeignTar> {
    match json {
        Json::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            // Engines ignore the case of keys, which have variants beyond ASCII.
            if !key.is_ascii() {
                return Err(ForeignTar::List(list, "it has a key that no engine writes".to_owned()));
            }
            let is_name = NAME_ANNOTATIONS.iter().any(|name| key.eq_ignore_ascii_case(name));
            match value {
                Json::Text(name) if is_name => check_name(name),
                Json::Array(names) if key.eq_ignore_ascii_case("RepoTags") => {
                    names.iter().try_for_each(|name| match name {
                        Json::Text(name) => check_name(name),
                        _ => Err(ForeignTar::List(list, "a name in it is not a text".to_owned())),
                    })
                }
                value => check_names(list, value),
            }
        }),
        Json::Array(values) => values.iter().try_for_each(|value| check_names(list, value)),
        Json::Text(_) | Json::Other => Ok(()),
    }
}

/// Fails unless this is the name of builds, with or without a tag.
fn check_name(name: &str) -> Result<(), ForeignTar> {
    let short = name.strip_prefix("docker.io/").unwrap_or(name);
    match short.strip_prefix(BUILT_NAME) {
        Some(tag) if tag.is_empty() || tag.starts_with(':') => Ok(()),
        _ => Err(ForeignTar::Name(name.chars().take(200).filter(|c| !c.is_control()).collect())),
    }
}

/// JSON with all keys of its objects, also those that are repeated.
enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Object(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = values.next_element()? {
            all.push(value);
        }
        Ok(Json::Array(all))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Json, E> {
        if number.is_finite() { Ok(Json::Other) } else { Err(E::custom("a number is not finite")) }
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::check_image_tar;
    use tar::{Builder, EntryType, Header};

    /// Returns a tar with these files.
    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            // As it is, and not as the crate would write it.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn problem(tar: &[u8]) -> String {
        check_image_tar(tar).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn tars_of_engines_are_images() {
        let unnamed = r#"[{"Config":"ab.json","RepoTags":null,"Layers":["cd/layer.tar"]}]"#;
        let index = r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:ab","size":1,"annotations":{"org.opencontainers.image.created":"2026"}}]}"#;
        let built = r#"[{"RepoTags":["tidemill/build:01a2"],"Layers":null}]"#;
        for files in [
            &[("ab.json", "{}"), ("cd/json", "{}"), ("cd/layer.tar", ""), ("manifest.json", unnamed)][..],
            &[
                ("blobs/sha256/ab", ""),
                ("index.json", index),
                ("manifest.json", unnamed),
                ("oci-layout", "{}"),
            ],
            &[("manifest.json", r#"[{"RepoTags":[]}]"#), ("repositories", "{}")],
            &[("manifest.json", built), ("repositories", r#"{"tidemill/build":{"01a2":"ab"}}"#)],
        ] {
            assert_eq!(problem(&tar(files)), "", "{files:?}");
        }
        let mut linked = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        linked.append_link(&mut header, "cd/layer.tar", "../ab/layer.tar").unwrap();
        let mut linked = linked.into_inner().unwrap();
        linked.truncate(512);
        linked.extend(tar(&[("manifest.json", unnamed)]));
        assert_eq!(problem(&linked), "", "engines link equal layers");
    }

    #[test]
    fn tar_that_names_images_is_refused() {
        for (path, list) in [
            ("manifest.json", r#"[{"RepoTags":["alpine:3"]}]"#),
            ("./manifest.json", r#"[{"RepoTags":["tidemill/build:1","tidemill/builder:1"]}]"#),
            ("manifest.json", r#"[{"repotags":["alpine:3"],"RepoTags":null}]"#),
            ("manifest.json", r#"[{"RepoTags":["alpine:3"],"RepoTags":[]}]"#),
            ("repositories", r#"{"alpine":{"3":"ab"}}"#),
            (
                "index.json",
                r#"{"manifests":[{"annotations":{"io.containerd.image.name":"docker.io/library/alpine:3"}}]}"#,
            ),
            (
                "index.json",
                r#"{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"3"},"annotations":{}}]}"#,
            ),
        ] {
            let problem = problem(&tar(&[(path, list)]));
            assert!(problem.starts_with("it would give the name"), "{list}: {problem}");
        }
    }

    #[test]
    fn tar_that_engines_may_read_in_another_way_is_refused() {
        let list = ("manifest.json", "[]");
        for files in [
            &[("manifest.json", "[]"), ("manifest.json", "[]")][..],
            &[list, ("a/../index.json", "{}")],
            &[list, ("link/index.json", "{}")],
            &[list, ("ä", "")],
            &[("BZh91AY&SY", ""), list],
            &[("manifest.json", "[] []")],
            &[("manifest.json", "[{\"RepoTag\u{17f}\":[\"alpine\"]}]")],
            &[("cd/json", "{}")],
            &[],
        ] {
            assert!(!problem(&tar(files)).is_empty(), "{files:?}");
        }
        for records in [
            &[("GNU.sparse.major", "1"), ("GNU.sparse.name", "index.json")][..],
            &[("path", "a"), ("path", "index.json")],
        ] {
            let mut pax = Builder::new(Vec::new());
            pax.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_bytes()))).unwrap();
            // Another entry comes first, as the header of these records has no name: no tar of an engine begins so.
            let mut named = tar(&[("oci-layout", "{}")]);
            named.truncate(1024);
            named.extend(&pax.into_inner().unwrap()[..1024]);
            named.extend(tar(&[("a", "{}"), list]));
            let problem = problem(&named);
            assert!(problem.contains("no engine writes"), "{records:?}: {problem}");
        }
        let mut link = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        link.append_link(&mut header, "manifest.json", "cd/json").unwrap();
        assert!(problem(&link.into_inner().unwrap()).contains("manifest.json"));
    }
}
