//! The families of GPUs, by the name of a device and of the probe that reads it.

use super::{
    family::{Family, Unit, counter, gauge},
    label,
};

const DEVICE: &[&str] = &[label::GPU, label::UUID, label::NAME];
const INSTANCE: &[&str] = &[label::GPU, label::UUID, label::NAME, label::MIG_INSTANCE];
const BY_REASON: &[&str] = &[label::GPU, label::UUID, label::NAME, label::REASON];
const BY_DIRECTION: &[&str] = &[label::GPU, label::UUID, label::NAME, label::DIRECTION];
const BACKEND: &[&str] = &[label::BACKEND];

const PROBED: &str = "where GPUs are probed";
const SEEN: &str = "once the GPU was seen";
const READ: &str = "while the GPU can be read, and tells it";
const EXTENDED: &str = "where asked for (extended), while the GPU can be read, and tells it";
const COUNTED: &str = "once the GPU has told it";

/// All of them, in page order.
pub(crate) static FAMILIES: &[&Family] = &[
    &GPU_PROBE_UP,
    &GPU_DEVICES,
    &GPU_PROBE_DURATION_SECONDS,
    &GPU_PROBE_ERRORS_TOTAL,
    &GPU_UP,
    &GPU_INFO,
    &GPU_SAMPLE_TIMESTAMP_SECONDS,
    &GPU_MEMORY_TOTAL_BYTES,
    &GPU_MEMORY_USED_BYTES,
    &GPU_MEMORY_RESERVED_BYTES,
    &GPU_MEMORY_FREE_BYTES,
    &GPU_UTILIZATION_RATIO,
    &GPU_MEMORY_BANDWIDTH_UTILIZATION_RATIO,
    &GPU_SM_ACTIVE_RATIO,
    &GPU_TENSOR_ACTIVE_RATIO,
    &GPU_DRAM_ACTIVE_RATIO,
    &GPU_POWER_WATTS,
    &GPU_POWER_LIMIT_WATTS,
    &GPU_ENERGY_JOULES_TOTAL,
    &GPU_TEMPERATURE_CELSIUS,
    &GPU_CLOCK_HERTZ,
    &GPU_THROTTLED,
    &GPU_THROTTLED_SECONDS_TOTAL,
    &GPU_XID_ERRORS_TOTAL,
    &GPU_ECC_ERRORS_TOTAL,
    &GPU_PCIE_BYTES_TOTAL,
    &GPU_NVLINK_BYTES_TOTAL,
    &GPU_PROCESS_MEMORY_USED_BYTES,
    &ENGINE_GPU_INFO,
];

// === The probe ===

/// Whether the driver answers.
pub static GPU_PROBE_UP: Family =
    gauge("gpu_probe_up", Unit::Bool, BACKEND, "Whether the driver is open and answers in time.")
        .unprefixed()
        .when(PROBED);

/// GPUs that can be read.
pub static GPU_DEVICES: Family =
    gauge("gpu_devices", Unit::Devices, BACKEND, "GPUs that can be read, those of the choice.")
        .unprefixed()
        .when("where GPUs are probed, once it is known which are meant");

/// How long a round takes.
pub static GPU_PROBE_DURATION_SECONDS: Family = gauge(
    "gpu_probe_duration_seconds",
    Unit::Seconds,
    BACKEND,
    "Time that the driver took for the last whole round over all GPUs.",
)
.unprefixed()
.when("once a round was read to its end");

/// What the driver refused.
pub static GPU_PROBE_ERRORS_TOTAL: Family = counter(
    "gpu_probe_errors_total",
    Unit::Events,
    &[label::BACKEND, label::KIND],
    "Errors of the driver that cost a whole GPU or the whole round, by kind.",
)
.unprefixed()
.when(PROBED);

// === A GPU ===

/// Whether it can be read.
pub static GPU_UP: Family = gauge(
    "gpu_up",
    Unit::Bool,
    DEVICE,
    "Whether the GPU can be read: 0 stays where it was seen before and is lost or hangs.",
)
.unprefixed()
.when(SEEN);

/// What it is: always 1.
pub static GPU_INFO: Family = gauge(
    "gpu_info",
    Unit::Info,
    &[
        label::GPU,
        label::UUID,
        label::NAME,
        label::VENDOR,
        label::PCI_BUS_ID,
        label::DRIVER_VERSION,
        label::MIG_PROFILE,
        label::PARENT_UUID,
    ],
    "Always 1, with what is known of the GPU, or of a MIG instance and its GPU, as labels.",
)
.unprefixed()
.when(SEEN);

/// When it was read.
pub static GPU_SAMPLE_TIMESTAMP_SECONDS: Family = gauge(
    "gpu_sample_timestamp_seconds",
    Unit::Seconds,
    DEVICE,
    "Unix time at which the GPU was last read.",
)
.unprefixed()
.when("while the GPU can be read");

/// Memory.
pub static GPU_MEMORY_TOTAL_BYTES: Family = gauge(
    "gpu_memory_total_bytes",
    Unit::Bytes,
    INSTANCE,
    "Memory of the GPU; with MIG, of each GPU instance and not of the whole.",
)
.unprefixed()
.when(READ);

/// Memory in use.
pub static GPU_MEMORY_USED_BYTES: Family = gauge(
    "gpu_memory_used_bytes",
    Unit::Bytes,
    INSTANCE,
    "Memory in use, without what the driver reserves for itself.",
)
.unprefixed()
.when(READ);

/// Memory of the driver.
pub static GPU_MEMORY_RESERVED_BYTES: Family = gauge(
    "gpu_memory_reserved_bytes",
    Unit::Bytes,
    INSTANCE,
    "Memory that the driver and the firmware reserve for themselves.",
)
.unprefixed()
.when(READ);

/// Memory that is free.
pub static GPU_MEMORY_FREE_BYTES: Family =
    gauge("gpu_memory_free_bytes", Unit::Bytes, INSTANCE, "Memory that is free.")
        .unprefixed()
        .when(EXTENDED);

/// How busy it is.
pub static GPU_UTILIZATION_RATIO: Family = gauge(
    "gpu_utilization_ratio",
    Unit::Ratio,
    DEVICE,
    "Part of the last sample period in which at least one kernel ran: no measure of how much of \
     the GPU it used.",
)
.unprefixed()
.when(READ);

/// How busy its memory is.
pub static GPU_MEMORY_BANDWIDTH_UTILIZATION_RATIO: Family = gauge(
    "gpu_memory_bandwidth_utilization_ratio",
    Unit::Ratio,
    DEVICE,
    "Part of the last sample period in which its memory was read or written: not how full it is.",
)
.unprefixed()
.when(EXTENDED);

/// How busy its multiprocessors are.
pub static GPU_SM_ACTIVE_RATIO: Family = gauge(
    "gpu_sm_active_ratio",
    Unit::Ratio,
    INSTANCE,
    "Part of the time, between the last two samples, in which the multiprocessors had work.",
)
.unprefixed()
.when(EXTENDED);

/// How busy its tensor cores are.
pub static GPU_TENSOR_ACTIVE_RATIO: Family = gauge(
    "gpu_tensor_active_ratio",
    Unit::Ratio,
    INSTANCE,
    "Part of the time, between the last two samples, in which the tensor cores worked.",
)
.unprefixed()
.when(EXTENDED);

/// How busy its memory is.
pub static GPU_DRAM_ACTIVE_RATIO: Family = gauge(
    "gpu_dram_active_ratio",
    Unit::Ratio,
    INSTANCE,
    "Part of the memory's bandwidth that was used between the last two samples.",
)
.unprefixed()
.when(EXTENDED);

/// Power.
pub static GPU_POWER_WATTS: Family = gauge(
    "gpu_power_watts",
    Unit::Watts,
    DEVICE,
    "Power that the GPU draws, a mean over about a second on newer ones.",
)
.unprefixed()
.when(READ);

/// Most power.
pub static GPU_POWER_LIMIT_WATTS: Family = gauge(
    "gpu_power_limit_watts",
    Unit::Watts,
    DEVICE,
    "Power that the GPU may draw, the lowest limit that is in force.",
)
.unprefixed()
.when(READ);

/// Energy.
pub static GPU_ENERGY_JOULES_TOTAL: Family = counter(
    "gpu_energy_joules_total",
    Unit::Joules,
    DEVICE,
    "Energy that the GPU has drawn: the driver's own count, which goes on where that begins anew.",
)
.unprefixed()
.when(COUNTED);

/// Temperature.
pub static GPU_TEMPERATURE_CELSIUS: Family = gauge(
    "gpu_temperature_celsius",
    Unit::Celsius,
    &[label::GPU, label::UUID, label::NAME, label::SENSOR],
    "Temperature of the GPU and of its memory.",
)
.unprefixed()
.when(READ);

/// Clocks.
pub static GPU_CLOCK_HERTZ: Family = gauge(
    "gpu_clock_hertz",
    Unit::Hertz,
    &[label::GPU, label::UUID, label::NAME, label::DOMAIN],
    "Clocks of the multiprocessors and of the memory.",
)
.unprefixed()
.when(READ);

/// Whether it is slowed down.
pub static GPU_THROTTLED: Family = gauge(
    "gpu_throttled",
    Unit::Bool,
    BY_REASON,
    "Whether the clocks are held down at this moment, by reason.",
)
.unprefixed()
.when(READ);

/// How long it was slowed down.
pub static GPU_THROTTLED_SECONDS_TOTAL: Family = counter(
    "gpu_throttled_seconds_total",
    Unit::Seconds,
    BY_REASON,
    "Time for which the clocks were held down, by reason.",
)
.unprefixed()
.when("where asked for (extended), once the GPU has told it");

/// Errors that the driver reports.
pub static GPU_XID_ERRORS_TOTAL: Family = counter(
    "gpu_xid_errors_total",
    Unit::Events,
    &[label::GPU, label::UUID, label::NAME, label::XID],
    "Critical errors (Xid) that the driver has reported since the probe began, by their code.",
)
.unprefixed()
.when("where the GPU reports events; serious codes at 0 from then on");

/// Errors of memory.
pub static GPU_ECC_ERRORS_TOTAL: Family = counter(
    "gpu_ecc_errors_total",
    Unit::Events,
    &[label::GPU, label::UUID, label::NAME, label::TYPE],
    "Errors of the memory that were corrected and that were not, as the driver counts them.",
)
.unprefixed()
.when(COUNTED);

/// Bytes over PCIe.
pub static GPU_PCIE_BYTES_TOTAL: Family = counter(
    "gpu_pcie_bytes_total",
    Unit::Bytes,
    BY_DIRECTION,
    "Bytes over PCIe, as seen from the GPU.",
)
.unprefixed()
.when("where asked for (extended), once the GPU has told it");

/// Bytes over NVLink.
pub static GPU_NVLINK_BYTES_TOTAL: Family = counter(
    "gpu_nvlink_bytes_total",
    Unit::Bytes,
    BY_DIRECTION,
    "Bytes over all NVLinks of the GPU together.",
)
.unprefixed()
.when("where asked for (extended), once the GPU has told it");

/// Memory of the process.
pub static GPU_PROCESS_MEMORY_USED_BYTES: Family = gauge(
    "gpu_process_memory_used_bytes",
    Unit::Bytes,
    INSTANCE,
    "Memory of the GPU that the process which serves the model uses.",
)
.unprefixed()
.when("where asked for (extended), where the driver tells of that process");

/// Which engine it belongs to: always 1.
pub static ENGINE_GPU_INFO: Family = gauge(
    "infermeter_engine_gpu_info",
    Unit::Info,
    &[label::ENGINE, label::GPU, label::UUID],
    "Always 1 for each GPU that the engine uses, which the labels tie to it.",
)
.unprefixed()
.when("where it was said or found out which GPUs the engine uses");
