//! The families of processes, and of the one that watches another.

use super::family::{Family, Unit, counter, gauge};

const LINUX: &str = "on Linux";
const PROCESS_TOLD: &str =
    "on Linux; of an engine beside it, with `--engine-pid`, or where its page tells";
const OBSERVER: &str = "on Linux, in the proxy and the exporter";

/// Processor time.
pub static PROCESS_CPU_SECONDS_TOTAL: Family = counter(
    "process_cpu_seconds_total",
    Unit::Seconds,
    &[],
    "Processor time of the process that serves the model, user and system.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// Memory that is in RAM.
pub static PROCESS_RESIDENT_MEMORY_BYTES: Family = gauge(
    "process_resident_memory_bytes",
    Unit::Bytes,
    &[],
    "Memory of the process that serves the model that is in RAM.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// Address space.
pub static PROCESS_VIRTUAL_MEMORY_BYTES: Family = gauge(
    "process_virtual_memory_bytes",
    Unit::Bytes,
    &[],
    "Address space of the process that serves the model.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// What the process may use.
pub static PROCESS_MEMORY_LIMIT_BYTES: Family = gauge(
    "process_memory_limit_bytes",
    Unit::Bytes,
    &[],
    "Memory that the control group of the process may use, the lowest limit above it included.",
)
.unprefixed()
.when("on Linux, where a control group limits memory");

/// Open file descriptors.
pub static PROCESS_OPEN_FDS: Family = gauge(
    "process_open_fds",
    Unit::Descriptors,
    &[],
    "File descriptors that the process has open.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// Most file descriptors.
pub static PROCESS_MAX_FDS: Family =
    gauge("process_max_fds", Unit::Descriptors, &[], "File descriptors that the process may open.")
        .unprefixed()
        .when(PROCESS_TOLD);

/// Threads.
pub static PROCESS_THREADS: Family =
    gauge("process_threads", Unit::Threads, &[], "Threads of the process.")
        .unprefixed()
        .when(LINUX);

/// Start.
pub static PROCESS_START_TIME_SECONDS: Family = gauge(
    "process_start_time_seconds",
    Unit::Seconds,
    &[],
    "Unix time at which the process started.",
)
.unprefixed()
.when(PROCESS_TOLD);

// === The process that watches another one ===

/// Processor time.
pub static INFERMETER_PROCESS_CPU_SECONDS_TOTAL: Family = observer(
    "infermeter_process_cpu_seconds_total",
    &PROCESS_CPU_SECONDS_TOTAL,
    "Processor time of infermeter, user and system.",
);

/// Memory that is in RAM.
pub static INFERMETER_PROCESS_RESIDENT_MEMORY_BYTES: Family = observer(
    "infermeter_process_resident_memory_bytes",
    &PROCESS_RESIDENT_MEMORY_BYTES,
    "Memory of infermeter that is in RAM.",
);

/// Address space.
pub static INFERMETER_PROCESS_VIRTUAL_MEMORY_BYTES: Family = observer(
    "infermeter_process_virtual_memory_bytes",
    &PROCESS_VIRTUAL_MEMORY_BYTES,
    "Address space of infermeter.",
);

/// What it may use.
pub static INFERMETER_PROCESS_MEMORY_LIMIT_BYTES: Family = observer(
    "infermeter_process_memory_limit_bytes",
    &PROCESS_MEMORY_LIMIT_BYTES,
    "Memory that the control group of infermeter may use, the lowest limit above it included.",
)
.when("on Linux, in the proxy and the exporter, where a control group limits memory");

/// Open file descriptors.
pub static INFERMETER_PROCESS_OPEN_FDS: Family = observer(
    "infermeter_process_open_fds",
    &PROCESS_OPEN_FDS,
    "File descriptors that infermeter has open.",
);

/// Most file descriptors.
pub static INFERMETER_PROCESS_MAX_FDS: Family = observer(
    "infermeter_process_max_fds",
    &PROCESS_MAX_FDS,
    "File descriptors that infermeter may open.",
);

/// Threads.
pub static INFERMETER_PROCESS_THREADS: Family =
    observer("infermeter_process_threads", &PROCESS_THREADS, "Threads of infermeter.");

/// Start.
pub static INFERMETER_PROCESS_START_TIME_SECONDS: Family = observer(
    "infermeter_process_start_time_seconds",
    &PROCESS_START_TIME_SECONDS,
    "Unix time at which infermeter started.",
);

/// A family of the process that watches, and the one that it has of the process that is watched.
const fn observer(name: &'static str, of: &Family, help: &'static str) -> Family {
    let mut family = counter(name, of.unit, of.labels, help).unprefixed().when(OBSERVER);
    family.kind = of.kind;
    family
}
