//! Makes images trust the certificate authorities of the worker, before a container starts: whatever user runs in it, and without
//! a program of the image.

use super::{
    failures::{engine_failure, is_not_found},
    manager::DockerManager,
};
use bollard::{
    body_full,
    query_parameters::{DownloadFromContainerOptions, InspectContainerOptions, UploadToContainerOptions},
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::io::{self, Read};
use tidemill_core::execution::failure::{FailureKind, FailureReason};

/// The certificate authorities of an image and of the worker, in every container.
pub(super) const BUNDLE: &str = "/etc/tidemill/ca-certificates.crt";

/// Variables that name the file for programs with certificate authorities of their own: OpenSSL and Go, curl, Python, pip, git,
/// Node, Cargo, and the AWS command line.
pub(super) const VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
];

/// Where systems have the file of all certificate authorities: Debian, Alpine and Arch; Fedora and its relatives; older ones of
/// these; openSUSE. The other names that they have for it are links to these.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// Where `update-ca-certificates` and `update-ca-trust` look for more, should a job run them: with the bundle of that system.
const ANCHORS: [(&str, &str); 4] = [
    ("/etc/ssl/certs/ca-certificates.crt", "usr/local/share/ca-certificates"),
    ("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/pki/ca-trust/source/anchors"),
    ("/etc/pki/tls/certs/ca-bundle.crt", "etc/pki/ca-trust/source/anchors"),
    ("/var/lib/ca-certificates/ca-bundle.pem", "etc/pki/trust/anchors"),
];

/// Maximum size of a file of an image that is read.
const MAX_BUNDLE_BYTES: usize = 4 << 20;
impl DockerManager {
    /// Puts the worker's certificate authorities into a container that is not started yet, if the worker has any.
    pub(super) async fn trust_certificates(&self, container: &str) -> Result<(), FailureReason> {
        let Some(own) = &self.settings.ca_certificates else { return Ok(()) };
        let context = "the worker's certificate authorities could not be put into the container";
        let inspected = self.docker.inspect_container(container, None::<InspectContainerOptions>).await;
        let inspected = inspected.map_err(|error| engine_failure(context, &error))?;
        let image = inspected.image.unwrap_or_default();
        let tar = if let Some(tar) = self.trusting.get(&image) {
            tar
        } else {
            let mut bundles = Vec::new();
            for path in SYSTEM_BUNDLES {
                if let Some(text) = self.read_file(container, path, context).await? {
                    bundles.push((path, text));
                }
            }
            let tar = files(own, &bundles);
            let tar = tar.map_err(|error| FailureReason::new(FailureKind::Internal, error.to_string()))?;
            let tar = Bytes::from(tar);
            self.trusting.insert(image, tar.clone());
            tar
        };
        let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
        let uploaded = self.docker.upload_to_container(container, Some(options), body_full(tar)).await;
        uploaded.map_err(|error| engine_failure(context, &error))
    }

    /// Reads a file of a container; `None` if it does not exist, is a link, or is too large.
    async fn read_file(
        &self,
        container: &str,
        path: &str,
        context: &str,
    ) -> Result<Option<Vec<u8>>, FailureReason> {
        let options = DownloadFromContainerOptions { path: path.into() };
        let mut stream = self.docker.download_from_container(container, Some(options));
        let mut tar = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(chunk)) if tar.len() + chunk.len() > MAX_BUNDLE_BYTES => return Ok(None),
                Ok(Some(chunk)) => tar.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) if is_not_found(&error) => return Ok(None),
                Err(error) => return Err(engine_failure(context, &error)),
            }
        }
        Ok(first_file(&tar))
    }
}

/// Returns the content of the first entry of a tar if it is a file.
fn first_file(tar: &[u8]) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    if !entry.header().entry_type().is_file() {
        return None;
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).ok()?;
    Some(content)
}

/// Returns a tar of the files that make a system with these `bundles` trust `own`.
fn files(own: &str, bundles: &[(&str, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path.trim_start_matches('/'), content)
    };
    let extended = |bundle: &[u8]| [bundle, b"\n", own.as_bytes()].concat();
    for (path, bundle) in bundles {
        add(path, &extended(bundle))?;
        let anchors = ANCHORS.iter().filter(|(system, _)| system == path);
        for (_, directory) in anchors {
            // One certificate in each file, as `update-ca-certificates` requires.
            for (certificate, number) in certificates(own).zip(1_u32..) {
                add(&format!("{directory}/tidemill-{number}.crt"), certificate.as_bytes())?;
            }
        }
    }
    let first = bundles.first().map_or(&[][..], |(_, bundle)| bundle);
    add(BUNDLE, &extended(first))?;
    if bundles.is_empty() {
        add(SYSTEM_BUNDLES[0], own.as_bytes())?;
    }
    builder.into_inner()
}

/// Returns the certificates of a text in PEM form, one by one.
fn certificates(text: &str) -> impl Iterator<Item = String> {
    const END: &str = "-----END CERTIFICATE-----";
    text.split_inclusive(END).filter_map(|part| {
        let start = part.find("-----BEGIN CERTIFICATE-----")?;
        part.ends_with(END).then(|| format!("{}\n", &part[start..]))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{BUNDLE, files, first_file};
    use std::{collections::BTreeMap, io::Read};

    fn pem(name: &str) -> String {
        format!("# {name}\n-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n")
    }

    fn unpacked(tar: &[u8]) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        entries.collect()
    }

    #[test]
    fn bundles_of_the_system_are_extended_and_anchors_laid() {
        let own = pem("one") + &pem("two");
        let debian = ("/etc/ssl/certs/ca-certificates.crt", pem("debian").into_bytes());
        let all = unpacked(&files(&own, &[debian]).unwrap());
        let expected = pem("debian") + "\n" + &own;
        assert_eq!(all["etc/ssl/certs/ca-certificates.crt"], expected);
        assert_eq!(all[BUNDLE.trim_start_matches('/')], expected);
        let second = &all["usr/local/share/ca-certificates/tidemill-2.crt"];
        assert_eq!(second, "-----BEGIN CERTIFICATE-----\ntwo\n-----END CERTIFICATE-----\n");
        assert_eq!(all.len(), 4, "{:?}", all.keys());
    }

    #[test]
    fn image_without_certificates_gets_those_of_the_worker() {
        let all = unpacked(&files(&pem("one"), &[]).unwrap());
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["etc/ssl/certs/ca-certificates.crt", "etc/tidemill/ca-certificates.crt"]);
        assert!(first_file(b"no tar").is_none());
    }
}
