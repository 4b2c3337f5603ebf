#![allow(clippy::unwrap_used)]

use super::{
    Controller, EnteredCgroup, GroupFiles, WorkerCgroup,
    files::{Kernel, group_directory},
};
use std::{
    cell::RefCell,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_core::execution::assignment::Resources;

/// A tree of directories with the kernel's rules, as far as they concern a worker.
#[derive(Debug)]
struct Tree {
    root: tempfile::TempDir,
    /// The group of this process.
    own: RefCell<PathBuf>,
    /// Groups with other processes.
    others: Vec<PathBuf>,
}

impl Tree {
    /// Creates a tree whose root has all controllers, with this process in the group `own` of it.
    fn new(own: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let own = RefCell::new(root.path().join(own));
        let tree = Self { root, own, others: Vec::new() };
        Self::make_files(tree.root.path(), "cpu io memory pids hugetlb");
        fs::remove_file(tree.root.path().join("cgroup.type")).unwrap();
        let own = tree.own.borrow().clone();
        if own != tree.root.path() {
            fs::write(tree.root.path().join("cgroup.subtree_control"), "cpu memory pids").unwrap();
            (&tree).create(&own).unwrap();
        }
        tree
    }

    fn make_files(directory: &Path, controllers: &str) {
        for (name, text) in [
            ("cgroup.kill", ""),
            ("cgroup.procs", ""),
            ("cgroup.type", "domain"),
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", ""),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        for controller in Controller::listed(controllers) {
            let files: &[&str] = match controller {
                Controller::Memory => &["memory.max", "memory.swap.max"],
                Controller::Cpu => &["cpu.max"],
                Controller::Pids => &["pids.max"],
            };
            for name in files {
                fs::write(directory.join(name), "max").unwrap();
            }
        }
    }

    fn has_members(&self, directory: &Path) -> bool {
        *self.own.borrow() == directory || self.others.iter().any(|other| other == directory)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.root.path().join(file)).unwrap()
    }
}

impl GroupFiles for &Tree {
    fn create(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)?;
        let passed = fs::read_to_string(directory.with_file_name("cgroup.subtree_control"))?;
        Tree::make_files(directory, &passed);
        Ok(())
    }

    fn remove(&self, directory: &Path) -> io::Result<()> {
        let has_groups = fs::read_dir(directory)?.flatten().any(|entry| entry.path().is_dir());
        if has_groups || self.has_members(directory) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        fs::remove_dir_all(directory)
    }

    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        let directory = file.parent().unwrap().to_owned();
        let is_root = directory == self.root.path();
        match file.file_name().and_then(|name| name.to_str()) {
            Some("cgroup.procs") => {
                let passes_on = !fs::read_to_string(directory.join("cgroup.subtree_control"))?.is_empty();
                if passes_on && !is_root {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                *self.own.borrow_mut() = directory;
                Ok(())
            }
            Some("cgroup.subtree_control") => {
                let mut passed = fs::read_to_string(file)?;
                let (sign, name) = text.split_at(1);
                if sign == "-" {
                    let others = passed.split_whitespace().filter(|one| *one != name);
                    passed = others.collect::<Vec<_>>().join(" ");
                } else {
                    let available = fs::read_to_string(directory.join("cgroup.controllers"))?;
                    if !available.split_whitespace().any(|one| one == name) {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    if self.has_members(&directory) && !is_root {
                        return Err(io::ErrorKind::ResourceBusy.into());
                    }
                    passed = format!("{passed} {name}").trim().to_owned();
                }
                fs::write(file, &passed)?;
                // The groups below have what this one passes on.
                for entry in fs::read_dir(&directory)?.flatten().filter(|entry| entry.path().is_dir()) {
                    fs::write(entry.path().join("cgroup.controllers"), &passed)?;
                }
                Ok(())
            }
            _ if file.exists() => fs::write(file, text),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, file: &Path) -> io::Result<String> {
        let is_members = file.ends_with("cgroup.procs");
        let has_members = self.has_members(file.parent().unwrap());
        if is_members && has_members { Ok("17\n".to_owned()) } else { fs::read_to_string(file) }
    }

    fn exists(&self, file: &Path) -> bool {
        file.exists()
    }

    fn own_group(&self) -> Option<PathBuf> {
        Some(self.own.borrow().clone())
    }
}

fn limits() -> Resources {
    Resources { memory_bytes: Some(1 << 20), cpus: Some(0.5) }
}

#[test]
fn worker_leaves_its_group_so_that_the_kernel_limits_jobs() {
    let tree = Tree::new("unit");
    let unit = tree.root.path().join("unit");
    let group = WorkerCgroup::create_in(&tree, &unit, "w", true).unwrap();
    assert!(Controller::ALL.into_iter().all(|controller| group.controls(controller)), "{group:?}");
    assert_eq!(*tree.own.borrow(), unit.join("tidemill-w-worker"));
    let job = group.create_job(7, limits(), 100).unwrap();
    assert_eq!(tree.text("unit/tidemill-w/7/memory.max"), "1048576");
    assert_eq!(tree.text("unit/tidemill-w/7/memory.swap.max"), "0");
    assert_eq!(tree.text("unit/tidemill-w/7/cpu.max"), "50000 100000");
    assert_eq!(tree.text("unit/tidemill-w/7/pids.max"), "100");
    (&tree).remove(&job.directory).unwrap();
    drop(group);
    assert_eq!(*tree.own.borrow(), unit, "at its end it returns");
    assert_eq!(tree.text("unit/cgroup.subtree_control"), "");
    assert!(!unit.join("tidemill-w").exists() && !unit.join("tidemill-w-worker").exists());
}

#[test]
fn worker_beside_other_processes_gets_groups_without_limits() {
    let mut tree = Tree::new("session");
    let session = tree.root.path().join("session");
    tree.others.push(session.clone());
    let group = WorkerCgroup::create_in(&tree, &session, "w", true).unwrap();
    assert!(!Controller::ALL.into_iter().any(|controller| group.controls(controller)), "{group:?}");
    assert_eq!(*tree.own.borrow(), session);
    assert!(!session.join("tidemill-w-worker").exists());
    let job = group.create_job(7, limits(), 100).unwrap();
    assert!(!job.directory.join("pids.max").exists());
}

#[test]
fn named_group_passes_its_controllers_on_if_it_has_no_processes() {
    let mut tree = Tree::new("unit");
    let jobs = tree.root.path().join("jobs");
    (&tree).create(&jobs).unwrap();
    let group = WorkerCgroup::create_in(&tree, &jobs, "w", false).unwrap();
    assert!(Controller::ALL.into_iter().all(|controller| group.controls(controller)), "{group:?}");
    assert_eq!(*tree.own.borrow(), tree.root.path().join("unit"), "the worker stays in its own");
    drop(group);
    fs::write(jobs.join("cgroup.subtree_control"), "").unwrap();
    tree.others.push(jobs.clone());
    let group = WorkerCgroup::create_in(&tree, &jobs, "w", false).unwrap();
    assert!(!Controller::ALL.into_iter().any(|controller| group.controls(controller)), "{group:?}");
    drop(group);
    fs::write(jobs.join("cgroup.controllers"), "pids").unwrap();
    tree.others.clear();
    let group = WorkerCgroup::create_in(&tree, &jobs, "w", false).unwrap();
    let controlled: Vec<Controller> =
        Controller::ALL.into_iter().filter(|controller| group.controls(*controller)).collect();
    assert_eq!(controlled, [Controller::Pids], "only what the group above passes on");
}

#[test]
fn root_of_all_groups_passes_its_controllers_on_with_processes_in_it() {
    let tree = Tree::new("");
    *tree.own.borrow_mut() = tree.root.path().to_owned();
    let group = WorkerCgroup::create_in(&tree, tree.root.path(), "w", true).unwrap();
    assert!(group.controls(Controller::Memory), "{group:?}");
    assert_eq!(*tree.own.borrow(), tree.root.path());
}

#[test]
fn directory_that_is_no_group_is_an_error_and_stays_empty() {
    let directory = tempfile::tempdir().unwrap();
    let created = WorkerCgroup::create_in(Kernel, directory.path(), "w", false);
    assert_eq!(created.unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(WorkerCgroup::create(&directory.path().join("none"), "w", false).is_err());
}

#[test]
fn group_of_a_process_is_found_below_the_mount() {
    let mounts = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                  31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
    let directory = group_directory(mounts, "9:name=systemd:/\n0::/a.slice/b.service\n");
    assert_eq!(directory.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/a.slice/b.service")));
    let part = "31 30 0:27 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let directory = group_directory(part, "0::/docker/x/y\n");
    assert_eq!(directory.as_deref(), Some(Path::new("/sys/fs/cgroup/y")), "where a part is mounted");
    assert_eq!(group_directory(part, "0::/docker/xy\n"), None);
    assert_eq!(group_directory(mounts, "4:memory:/x\n"), None);
    assert_eq!(group_directory("", "0::/\n"), None);
}

#[test]
fn group_ends_everything_in_it_where_there_is_one() {
    let worker = uuid::Uuid::now_v7().to_string();
    let created = Kernel.own_group().map(|own| WorkerCgroup::create(&own, &worker, true));
    let Some(Ok(group)) = created else {
        eprintln!("skipped: no control group can be created here");
        return;
    };
    let job = group.create_job(0, Resources::default(), 100).unwrap();
    let entered = EnteredCgroup::enter(&job.directory).unwrap();
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    entered.leave().unwrap();
    let members = fs::read_to_string(job.directory.join("cgroup.procs")).unwrap();
    assert_eq!(members.trim(), child.id().to_string(), "and this process left it");
    job.kill();
    assert_eq!(child.wait().unwrap().code(), None);
    assert!(!job.was_out_of_memory());
}
