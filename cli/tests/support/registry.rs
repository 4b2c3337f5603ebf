//! A private registry of images on this machine: Debian's `docker-registry` with one user.

use super::wait_until;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

pub const USER: &str = "mill";
pub const PASSWORD: &str = "grain-4711";
/// The password's hash, as `htpasswd -B` writes it.
const HTPASSWD: &str = "mill:$2y$05$abcdefghijklmnopqrstuuBNW3V1ciumODMUzoyZKN5cHiCgaRXXC\n";

/// A running registry. It is stopped, and its images are removed from the engine, on drop.
pub struct Registry {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
    log: Arc<std::sync::Mutex<String>>,
}

impl Registry {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("htpasswd"), HTPASSWD).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\n\
             http: {{ addr: '127.0.0.1:0' }}\nauth: {{ htpasswd: {{ realm: mill, path: {} }} }}\n",
            path("store"),
            path("htpasswd")
        );
        fs::write(path("config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry, which scripts/setup installs");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("the registry runs").unwrap();
            if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                break rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
            }
        };
        let log = Arc::new(std::sync::Mutex::new(String::new()));
        let written = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let registry = Self { process, port, dir, log };
        registry.write_config("login", &registry.auths(USER, PASSWORD));
        registry
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns what the registry logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Returns a configuration of Docker's client with this login.
    pub fn auths(&self, user: &str, password: &str) -> String {
        auths_of(&self.host(), user, password)
    }

    /// Writes a `config.json` and returns its directory.
    pub fn write_config(&self, name: &str, text: &str) -> PathBuf {
        let directory = self.dir.path().join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.json"), text).unwrap();
        directory
    }

    /// Returns the directory of the `config.json` with the right login.
    pub fn login(&self) -> PathBuf {
        self.dir.path().join("login")
    }

    /// Pushes the test image under this name and removes it from the engine. Returns its reference.
    pub fn push(&self, name: &str) -> String {
        let reference = format!("{}/{name}", self.host());
        self.docker(&["tag", &super::image(), &reference]);
        self.docker(&["push", "-q", &reference]);
        self.docker(&["rmi", &reference]);
        reference
    }

    /// Pushes the test image with a further layer of random bytes, and removes it from the engine. Returns its reference.
    pub fn push_with_layer(&self, name: &str, bytes: usize) -> String {
        let reference = format!("{}/{name}", self.host());
        let file = self.dir.path().join("random");
        let mut random = vec![0; bytes];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        fs::write(&file, random).unwrap();
        let container = self.docker(&["create", &super::image(), "true"]).trim().to_owned();
        self.docker(&["cp", &file.display().to_string(), &format!("{container}:/random")]);
        self.docker(&["commit", &container, &reference]);
        self.docker(&["rm", &container]);
        self.docker(&["push", "-q", &reference]);
        self.docker(&["rmi", &reference]);
        reference
    }

    /// Removes an image from the engine, once no container uses it any more.
    pub fn forget(&self, reference: &str) {
        wait_until(|| self.try_docker(&["rmi", "-f", reference]).status.success()).expect("image removed");
    }

    /// Returns the digest of a reference in the registry.
    pub fn digest(&self, reference: &str) -> String {
        let (name, tag) =
            reference.strip_prefix(&format!("{}/", self.host())).unwrap().rsplit_once(':').unwrap();
        let link = format!("store/docker/registry/v2/repositories/{name}/_manifests/tags/{tag}/current/link");
        fs::read_to_string(self.dir.path().join(link)).unwrap()
    }

    /// Runs Docker's client with the right login.
    pub fn docker(&self, args: &[&str]) -> String {
        let output = self.try_docker(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        super::text(&output.stdout)
    }

    fn try_docker(&self, args: &[&str]) -> Output {
        Command::new("docker").env("DOCKER_CONFIG", self.login()).args(args).output().unwrap()
    }

    /// Removes the registry's images from the engine, once no container uses them any more.
    pub fn forget_images(&self) {
        let forgotten = wait_until(|| self.try_forget_images());
        forgotten.expect("images that no container uses can be removed");
    }

    /// Tries to remove the registry's images from the engine, and returns whether all are removed.
    fn try_forget_images(&self) -> bool {
        let filter = format!("reference={}/*/*", self.host());
        let format = "{{.Repository}} {{.Tag}} {{.Digest}}";
        let listed = self.try_docker(&["images", "--digests", "--format", format, "--filter", &filter]);
        for line in super::text(&listed.stdout).lines() {
            let [name, tag, digest] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
            for reference in [format!("{name}:{tag}"), format!("{name}@{digest}")] {
                if !reference.ends_with("<none>") {
                    drop(self.try_docker(&["rmi", &reference]));
                }
            }
        }
        self.try_docker(&["images", "-q", "--filter", &filter]).stdout.is_empty()
    }

    /// Starts a proxy before the registry that answers the first `failures` requests for manifests with 503, and returns its address.
    pub fn failing_proxy(&self, failures: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (left, target) = (Arc::new(AtomicUsize::new(failures)), self.host());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (left, target) = (left.clone(), target.clone());
                std::thread::spawn(move || forward(client, &left, &target));
            }
        });
        address
    }
}

/// Forwards one connection. Requests for manifests get 503 while any failure is left.
fn forward(mut client: TcpStream, left: &AtomicUsize, target: &str) {
    let Ok(mut server) = TcpStream::connect(target) else { return };
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    let mut request = [0; 16 << 10];
    while let Ok(length @ 1..) = client.read(&mut request) {
        let is_manifest = super::text(&request[..length]).lines().next().unwrap().contains("/manifests/");
        let fails = is_manifest
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let sent = if fails {
            client.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        } else {
            server.write_all(&request[..length])
        };
        if sent.is_err() {
            return;
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // After a failure, containers may use the images for ever.
        if std::thread::panicking() {
            self.try_forget_images();
        } else {
            self.forget_images();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a configuration of Docker's client with a login at this address.
pub fn auths_of(host: &str, user: &str, password: &str) -> String {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#)
}
