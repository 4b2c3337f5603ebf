//! `cp`: copies files out of and into the container of a job on a server.

use super::{connect, ended_early};
use crate::{
    args::{Copy, JobArgs},
    failure::{Exit, Failure, Outcome},
    interrupts::Interrupts,
    output::{Printable, errln},
    settings::Settings,
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tidemill_core::execution::debug::{MAX_COPY_BYTES, ShellMessage};
use tidemill_worker::{
    client::{Socket, SocketMessage},
    workspace::{HostWorkspace, PermissionPolicy},
};
use tokio::{io::AsyncReadExt, time::interval};

/// Bytes of a message.
const PART_SIZE: usize = 60 << 10;
/// The server ends a session in which the user sends nothing: one that only receives says that it is there.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(60);

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// A path of this machine.
    Local(&'a Path),
    /// A path in the container of a job.
    Job { job: &'a str, path: &'a str },
}

impl<'a> Place<'a> {
    /// Reads `JOB:PATH` or a path. As names of jobs may have colons, the last one counts; a path with a colon begins with `/` or `.`.
    fn parse(text: &'a str) -> Self {
        match text.rsplit_once(':') {
            Some((job, path)) if !text.starts_with(['/', '.']) && !job.is_empty() => Self::Job { job, path },
            _ => Self::Local(Path::new(text)),
        }
    }
}

/// `tidemill cp`.
pub async fn copy(settings: &Settings, args: &Copy) -> Outcome {
    if !settings.is_remote() {
        return Err(Failure::usage(
            "cp copies from and to a job of a server (--server or --profile); for a run on this machine, use: docker cp",
        ));
    }
    let job_args = |job: &str| JobArgs {
        execution: Some(args.execution.clone().unwrap_or_else(|| job.to_owned())),
        job: args.execution.is_some().then(|| job.to_owned()),
        selectors: args.selectors.clone(),
    };
    let (job, transfer) = match (Place::parse(&args.from), Place::parse(&args.to)) {
        (Place::Job { job, path }, Place::Local(target)) => {
            (job, Transfer::Download { path, target: new_path(path, target)? })
        }
        (Place::Local(source), Place::Job { job, path }) => (job, Transfer::upload(source, path)?),
        _ => {
            return Err(Failure::usage(
                "one of the two is JOB:PATH, and the other a path of this machine; one with a colon begins with ./",
            ));
        }
    };
    let (deployment, mut socket) = connect(settings, &job_args(job), args.on_failure, "a copy").await?;
    let mut interrupts = Interrupts::listen()?;
    let copied = tokio::select! {
        copied = transfer.run(&mut socket) => copied,
        _ = interrupts.recv() => Err(Failure::silent(Exit::Canceled)),
    };
    socket.sender.close().await;
    deployment.close().await;
    copied
}

/// What is copied.
enum Transfer<'a> {
    Download { path: &'a str, target: PathBuf },
    Upload { tar: File, directory: String },
}

impl<'a> Transfer<'a> {
    /// Packs a path of this machine for a path in a container.
    fn upload(source: &Path, path: &'a str) -> Outcome<Self> {
        let (directory, name) = match path.rsplit_once('/') {
            Some((directory, "")) => (directory, None),
            Some((directory, name)) => (directory, Some(OsStr::new(name))),
            None => ("", Some(OsStr::new(path)).filter(|name| !name.is_empty())),
        };
        let is_special = |name: &OsStr| name == "." || name == "..";
        let directory = match directory {
            "" if path.starts_with('/') => "/",
            "" => ".",
            other => other,
        };
        if name.is_some_and(is_special) {
            return Err(Failure::usage("name the file in the job, or end its directory with a slash"));
        }
        let canonical = source.canonicalize().map_err(|error| unusable(source, &error))?;
        let name = name.or_else(|| canonical.file_name());
        let name = name.ok_or_else(|| Failure::usage("name the file or directory in the job"))?;
        let tar = pack(&canonical, name).map_err(|error| unusable(source, &error))?;
        Ok(Self::Upload { tar, directory: directory.to_owned() })
    }

    async fn run(self, socket: &mut Socket) -> Outcome {
        match self {
            Self::Download { path, target } => download(socket, path, &target).await,
            Self::Upload { tar, directory } => upload(socket, tar, directory).await,
        }
    }
}

/// Returns the path that a copy of `path` gets at `target`: in it, if that is a directory.
fn new_path(path: &str, target: &Path) -> Outcome<PathBuf> {
    let name = Path::new(path).file_name();
    let name =
        name.ok_or_else(|| Failure::usage("name a file or directory of the job, such as JOB:target"))?;
    let target = if target.is_dir() { target.join(name) } else { target.to_owned() };
    match target.symlink_metadata() {
        Ok(_) => Err(Failure::usage(format!(
            "{} exists; remove it, or copy to another path",
            Printable(target.to_string_lossy())
        ))),
        Err(_) => Ok(target),
    }
}

/// Writes a tar of a file or directory under `name` to a temporary file. Files belong to root, and everyone may read them.
fn pack(source: &Path, name: &OsStr) -> io::Result<File> {
    let file = tempfile::tempfile()?;
    let mut tar = tar::Builder::new(BufWriter::new(file));
    tar.mode(tar::HeaderMode::Deterministic);
    tar.follow_symlinks(false);
    if source.is_dir() {
        tar.append_dir_all(name, source)?;
    } else {
        tar.append_path_with_name(source, name)?;
    }
    let mut file = tar.into_inner()?.into_inner()?;
    if file.metadata()?.len() > MAX_COPY_BYTES {
        return Err(io::Error::other(format!("it has more than {} GiB", MAX_COPY_BYTES >> 30)));
    }
    file.rewind()?;
    Ok(file)
}

async fn download(socket: &mut Socket, path: &str, target: &Path) -> Outcome {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| unusable(target, &error);
    // Beside the target, so that it appears there complete or not at all.
    let unpacked = tempfile::Builder::new().prefix(".tidemill-cp-").tempdir_in(parent).map_err(failed)?;
    let Socket { sender, receiver } = socket;
    if !sender.send_message(&ShellMessage::Download { path: path.to_owned() }).await {
        return Err(ended_early(None));
    }
    let mut tar = tempfile::tempfile()?;
    let mut size = 0_u64;
    let mut presence = interval(PRESENCE_INTERVAL);
    loop {
        let message = tokio::select! {
            message = receiver.receive() => message,
            _ = presence.tick() => {
                if !sender.send_bytes(b"\0").await {
                    return Err(ended_early(None));
                }
                continue;
            }
        };
        match message {
            Some(SocketMessage::Bytes(bytes)) => {
                size += bytes.len() as u64;
                if size > MAX_COPY_BYTES {
                    return Err(Failure::system(format!("it has more than {} GiB", MAX_COPY_BYTES >> 30)));
                }
                tar.write_all(&bytes)?;
            }
            Some(SocketMessage::Shell(ShellMessage::Complete)) => break,
            Some(SocketMessage::Shell(ShellMessage::Note { .. })) | None => {
                return Err(ended_early(message));
            }
            Some(SocketMessage::Shell(_)) => {}
        }
    }
    tar.rewind()?;
    let directory = HostWorkspace::directory_at(unpacked.path()).map_err(failed)?;
    directory.unpack(BufReader::new(tar), PermissionPolicy::Permissions).map_err(failed)?;
    let name = Path::new(path).file_name().unwrap_or_default();
    fs::rename(unpacked.path().join(name), target).map_err(failed)?;
    errln!("copied to {}", Printable(target.to_string_lossy()));
    Ok(())
}

async fn upload(socket: &mut Socket, tar: File, directory: String) -> Outcome {
    let Socket { sender, receiver } = socket;
    if !sender.send_message(&ShellMessage::Upload { directory }).await {
        return Err(ended_early(None));
    }
    match receiver.receive().await {
        Some(SocketMessage::Shell(ShellMessage::Opened { .. })) => {}
        message => return Err(ended_early(message)),
    }
    let sending = async {
        let mut tar = tokio::fs::File::from_std(tar);
        let mut buffer = vec![0; PART_SIZE];
        loop {
            let length = tar.read(&mut buffer).await?;
            if length == 0 {
                break;
            }
            if !sender.send_bytes(&buffer[..length]).await {
                // The other direction says why.
                return Ok(());
            }
        }
        sender.send_message(&ShellMessage::Complete).await;
        Ok::<_, Failure>(())
    };
    let receiving = async {
        loop {
            match receiver.receive().await {
                Some(SocketMessage::Shell(ShellMessage::Complete)) => return Ok(()),
                message @ (Some(SocketMessage::Shell(ShellMessage::Note { .. })) | None) => {
                    return Err(ended_early(message));
                }
                Some(_) => {}
            }
        }
    };
    tokio::pin!(sending, receiving);
    let received = tokio::select! {
        received = &mut receiving => received,
        sent = &mut sending => {
            sent?;
            receiving.await
        }
    };
    received?;
    errln!("copied");
    Ok(())
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{} cannot be copied: {error}", Printable(path.to_string_lossy())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Path, Place, Transfer, fs, new_path};
    use std::io::Read;

    #[test]
    fn place_is_in_a_job_if_a_name_stands_before_its_last_colon() {
        let job = |job, path| Place::Job { job, path };
        for (text, expected) in [
            ("unit:out.txt", job("unit", "out.txt")),
            ("build:linux:/workspace/a", job("build:linux", "/workspace/a")),
            ("unit [os=a]:x", job("unit [os=a]", "x")),
            ("./a:b", Place::Local(Path::new("./a:b"))),
            ("/tmp/a:b", Place::Local(Path::new("/tmp/a:b"))),
            ("a", Place::Local(Path::new("a"))),
            (":a", Place::Local(Path::new(":a"))),
        ] {
            assert_eq!(Place::parse(text), expected);
        }
    }

    #[test]
    fn upload_is_packed_under_the_name_that_its_target_gives() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.txt");
        fs::write(&file, "text").unwrap();
        for (path, in_directory, name) in [
            ("/srv/", "/srv", "a.txt"),
            ("/srv/b.txt", "/srv", "b.txt"),
            ("/b.txt", "/", "b.txt"),
            ("/", "/", "a.txt"),
            ("b.txt", ".", "b.txt"),
            ("sub/", "sub", "a.txt"),
            ("", ".", "a.txt"),
        ] {
            let Ok(Transfer::Upload { mut tar, directory }) = Transfer::upload(&file, path) else {
                unreachable!("{path}")
            };
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes).unwrap();
            let mut packed = tar::Archive::new(&bytes[..]);
            let entry = packed.entries().unwrap().next().unwrap().unwrap();
            assert_eq!((directory.as_str(), &*entry.path().unwrap()), (in_directory, Path::new(name)));
            assert_eq!(entry.header().uid().unwrap(), 0);
        }
        for path in ["..", "sub/..", "."] {
            assert!(Transfer::upload(&file, path).is_err(), "{path}");
        }
        assert!(Transfer::upload(&directory.path().join("missing"), "x").is_err());
    }

    #[test]
    fn download_replaces_nothing_and_goes_into_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert_eq!(new_path("out/a.txt", directory.path()).unwrap(), path("a.txt"));
        assert_eq!(new_path("/out/a.txt", &path("b.txt")).unwrap(), path("b.txt"));
        fs::write(path("a.txt"), "").unwrap();
        assert!(new_path("out/a.txt", directory.path()).is_err());
        std::os::unix::fs::symlink("nowhere", path("c.txt")).unwrap();
        assert!(new_path("c.txt", directory.path()).is_err());
        assert!(new_path("/", directory.path()).is_err() && new_path("..", directory.path()).is_err());
    }
}
