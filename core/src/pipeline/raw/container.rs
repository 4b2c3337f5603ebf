//! The record of `container`.

use super::alternatives::Either;
use super::collections::{NamedValues, OneOrMany};
use super::field::{Field, Read, Reader, Record, read_record, record};
use super::quantities::Bytes;
use super::scalars::{Flag, Text};
use crate::pipeline::finding::Trail;
use crate::pipeline::yaml::tree::Node;

record! {
    /// What a container gets beyond an ordinary one, as far as its worker allows it.
    struct RawContainer("`container`") {
        /// Size of `/dev/shm`, such as 1GiB. Default: that of the worker, 64 MiB.
        shm_size: Bytes = "shm_size",
        /// Limits of processes, such as `nofile: 65536`.
        ulimits: NamedValues<Either<Text, RawUlimit>> = "ulimits",
        /// Directories in memory, such as `/run` or `/tmp:512m` with its size.
        tmpfs: OneOrMany<Text> = "tmpfs",
        /// Devices of the worker's machine, such as `/dev/kvm`, or `/dev/sda:/dev/disk:r` with its path in the container and permissions.
        devices: OneOrMany<Text> = "devices",
        /// GPUs of the worker's machine: `all`, a number, or `device=` and ids.
        gpus: Text = "gpus",
        /// Capabilities, such as `NET_ADMIN`.
        cap_add: OneOrMany<Text> = "cap_add",
        /// Whether the container has all rights of root on the worker's machine. Default: false.
        privileged: Flag = "privileged",
        /// Network of the job: `none`, `host`, or a network of the engine. Default: one of its own.
        network: Text = "network",
        /// IP addresses of host names; `host-gateway` is the worker's machine.
        extra_hosts: NamedValues<Text> = "extra_hosts",
        /// IP addresses of DNS servers, at most 3.
        dns: OneOrMany<Text> = "dns",
    }
}

record! {
    /// A limit of processes.
    struct RawUlimit("a limit of processes") {
        /// The limit that applies.
        soft: Text = "soft",
        /// Up to which a process may raise it.
        hard: Text = "hard",
    }
}
