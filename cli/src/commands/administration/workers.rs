//! `workers`: lists the workers of a deployment, and drains them.

use crate::{
    args::{FormatArgs, Workers, WorkersAction},
    deployment::Deployment,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
    view::format,
};
use std::{fmt::Write as _, io::Write};
use tidemill_core::{
    api::{
        DrainWorkersReply, DrainWorkersRequest, RemoveWorkersReply, RemoveWorkersRequest, UnstartedMachine,
        WorkerList, WorkerView, path,
    },
    time::Timestamp,
};

/// `tidemill workers`.
pub async fn workers(settings: &Settings, args: &Workers) -> Outcome {
    match &args.action {
        None => list(settings, FormatArgs::default()).await,
        Some(WorkersAction::List { format }) => list(settings, *format).await,
        Some(WorkersAction::Remove { worker, format }) => remove(settings, worker, *format).await,
        Some(WorkersAction::Drain { worker, format }) => drain(settings, worker, *format).await,
    }
}

/// Connects to a server: only that has workers that outlive a command.
async fn connect(settings: &Settings) -> Outcome<Deployment> {
    let deployment = Deployment::connect(settings).await?;
    if deployment.is_embedded() {
        deployment.close().await;
        return Err(Failure::usage(
            "no server runs on this data directory, and only a server has workers: start one with `tidemill server`, or select \
             one with --server or --profile",
        ));
    }
    Ok(deployment)
}

async fn list(settings: &Settings, format: FormatArgs) -> Outcome {
    let deployment = connect(settings).await?;
    let list: WorkerList = deployment.get(path::WORKERS).await?;
    deployment.close().await;
    if format.is_json() {
        return Ok(output::print_json(&list)?);
    }
    if list.workers.is_empty() {
        output::outln!("no workers; start one with `tidemill worker`");
    }
    let (mut out, now) = (output::stdout(), format::now());
    for worker in &list.workers {
        writeln!(out, "{}", line(worker, now))?;
    }
    for machine in list.fleet.iter().flat_map(|fleet| &fleet.unstarted) {
        writeln!(out, "{}", unstarted_line(machine, now))?;
    }
    Ok(())
}

async fn drain(settings: &Settings, worker: &str, format: FormatArgs) -> Outcome {
    let deployment = connect(settings).await?;
    let request = DrainWorkersRequest { worker: worker.to_owned() };
    let reply: DrainWorkersReply = deployment.post(path::WORKER_DRAIN, &request).await?;
    deployment.close().await;
    output::print_reply(format.is_json(), &reply, || {
        format!(
            "{} worker(s) named {} take no more jobs within a minute, and end when their jobs have",
            reply.workers.len(),
            Printable(worker)
        )
    })?;
    Ok(())
}

async fn remove(settings: &Settings, worker: &str, format: FormatArgs) -> Outcome {
    let deployment = connect(settings).await?;
    let request = RemoveWorkersRequest { worker: worker.to_owned() };
    let reply: RemoveWorkersReply = deployment.post(path::WORKER_REMOVE, &request).await?;
    deployment.close().await;
    output::print_reply(format.is_json(), &reply, || {
        format!("{} worker(s) named {} removed from the list", reply.workers.len(), Printable(worker))
    })?;
    Ok(())
}

/// Formats a worker as one line of a list.
fn line(worker: &WorkerView, now: Timestamp) -> String {
    let state = match (worker.online, worker.draining) {
        (false, _) => "offline",
        (true, true) => "draining",
        (true, false) if worker.running.is_empty() => "idle",
        (true, false) => "working",
    };
    let seen = format::duration(now.since_ms(worker.last_seen_at));
    let mut line = format!(
        "{}  {}  {state}  {}/{} jobs  seen {seen} ago  version {}",
        worker.id,
        Printable(&worker.name),
        worker.running.len(),
        worker.slots,
        Printable(&worker.version)
    );
    if let Some(disk) = &worker.disk {
        let (free, size) = (format::size(disk.free), format::size(disk.size));
        let _ = write!(line, "  {free} of {size} free");
    }
    for (name, value) in &worker.labels {
        // Writing to a string cannot fail.
        let _ = write!(line, "  {}={}", Printable(name), Printable(value));
    }
    for job in &worker.running {
        let _ = write!(line, "\n  {}  {}", job.execution_id, Printable(&job.job_name));
    }
    line
}

/// Formats a machine whose worker did not start as one line of a list.
fn unstarted_line(machine: &UnstartedMachine, now: Timestamp) -> String {
    let removed = format::duration(now.since_ms(machine.removed_at));
    let silent = format::duration(machine.removed_at.since_ms(machine.seen_at));
    format!(
        "{}  removed {removed} ago: its worker did not start, or stopped reporting; it was there for {silent}. See its console output",
        Printable(&machine.machine)
    )
}

#[cfg(test)]
mod tests {
    use super::{line, unstarted_line};
    use tidemill_core::{
        api::{UnstartedMachine, WorkerDisk, WorkerJob, WorkerView},
        ids::{ExecutionId, JobId, WorkerId},
        time::Timestamp,
    };
    use uuid::Uuid;

    #[test]
    fn machine_without_worker_is_shown_with_its_times() {
        let machine = UnstartedMachine {
            machine: "i-1\u{1b}".into(),
            seen_at: Timestamp(0),
            removed_at: Timestamp(600_000),
        };
        let text = unstarted_line(&machine, Timestamp(605_000));
        assert!(text.contains("removed 5.0s ago") && text.contains("did not start"), "{text}");
        assert!(text.starts_with("i-1") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn line_shows_state_labels_and_jobs() {
        let nil = ExecutionId(Uuid::nil());
        let job = WorkerJob { job_id: JobId::of(nil, 0), execution_id: nil, job_name: "unit\u{1b}".into() };
        let worker = WorkerView {
            id: WorkerId(Uuid::nil()),
            name: "builder".into(),
            labels: [("arch".to_owned(), "arm64".to_owned())].into(),
            version: "1.0".into(),
            slots: 2,
            disk: Some(WorkerDisk { size: 20 << 30, free: 5 << 30 }),
            running: vec![job],
            draining: false,
            first_seen_at: Timestamp(0),
            last_seen_at: Timestamp(5_000),
            online: true,
        };
        let text = line(&worker, Timestamp(12_000));
        assert!(
            text.contains("builder  working  1/2 jobs  seen 7.0s ago  version 1.0  5120.0 MiB of 20480.0 MiB free  arch=arm64\n"),
            "{text}"
        );
        assert!(text.contains("unit") && !text.contains('\u{1b}'), "{text}");
        for (worker, state) in [
            (WorkerView { draining: true, ..worker.clone() }, "draining"),
            (WorkerView { online: false, ..worker.clone() }, "offline"),
            (WorkerView { running: Vec::new(), ..worker.clone() }, "idle"),
        ] {
            assert!(line(&worker, Timestamp(0)).contains(&format!("  {state}  ")), "{state}");
        }
    }
}
