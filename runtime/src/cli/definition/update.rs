//! The flags of `update`: those of runc, in its order.

use super::{Flag, short, value};

pub(super) const FLAGS: &[Flag] = &[
    short(
        'r',
        value(
            "resources",
            "FILE",
            "take the limits from a JSON file (- is stdin), in the form of config.json's `linux.resources`; other limits \
             on the command line are ignored",
        ),
    ),
    value("blkio-weight", "N", "weight of block I/O, from 10 to 1000"),
    value("cpu-period", "USEC", "the period that the CPU quota is measured against"),
    value("cpu-quota", "USEC", "CPU time in each period; -1 for no limit"),
    value("cpu-burst", "USEC", "CPU time saved up from former periods that may be used in one"),
    value("cpu-share", "N", "weight of CPU time against other containers, from 2 to 262144"),
    value("cpu-rt-period", "USEC", "the period that realtime CPU time is measured against"),
    value("cpu-rt-runtime", "USEC", "realtime CPU time in each period"),
    value("cpuset-cpus", "LIST", "the CPUs that may be used, such as 0-2,5"),
    value("cpuset-mems", "LIST", "the memory nodes that may be used"),
    value("kernel-memory", "BYTES", "obsolete: ignored"),
    value("kernel-memory-tcp", "BYTES", "obsolete: ignored"),
    value("memory", "BYTES", "memory, also as 512M or 2GiB; -1 for no limit"),
    value("cpu-idle", "0|1", "1: run only when no other container wants the CPU"),
    value(
        "memory-reservation",
        "BYTES",
        "memory that is left to the container when the host is short of it",
    ),
    value("memory-swap", "BYTES", "memory and swap together; -1 for no limit"),
    value("pids-limit", "N", "number of processes and threads; -1 for no limit"),
    value("l3-cache-schema", "SCHEMA", "Intel RDT: the part of the L3 cache"),
    value("mem-bw-schema", "SCHEMA", "Intel RDT: the memory bandwidth"),
];
