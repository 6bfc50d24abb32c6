//! What can be read of a GPU.

use crate::names::{self, Family, Kind};

/// One number that a GPU can tell, in the unit of its [`family`](Quantity::family).
///
/// ```
/// use infermeter::{gpu::Quantity, names};
///
/// assert!(std::ptr::eq(Quantity::SmClock.family(), &names::GPU_CLOCK_HERTZ));
/// assert_eq!(Quantity::SmClock.label(), Some("sm"));
/// assert!(Quantity::SmActive.is_extended());
/// assert!(Quantity::Energy.is_counter());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quantity {
    /// Memory, bytes.
    MemoryTotal,
    /// Memory in use without what is reserved, bytes.
    MemoryUsed,
    /// Memory that the driver keeps for itself, bytes.
    MemoryReserved,
    /// Free memory, bytes. Extended.
    MemoryFree,
    /// Part of the time in which a kernel ran, 0 to 1.
    Utilization,
    /// Part of the time in which memory was read or written, 0 to 1. Extended.
    MemoryBandwidthUtilization,
    /// Part of the time in which the multiprocessors had work, 0 to 1. Extended.
    SmActive,
    /// Part of the time in which the tensor cores worked, 0 to 1. Extended.
    TensorActive,
    /// Part of the memory's bandwidth in use, 0 to 1. Extended.
    DramActive,
    /// Watts.
    Power,
    /// Most watts.
    PowerLimit,
    /// Joules, since the driver began to count.
    Energy,
    /// Degrees Celsius.
    Temperature,
    /// Degrees Celsius.
    MemoryTemperature,
    /// Hertz.
    SmClock,
    /// Hertz.
    MemoryClock,
    /// Held down for power, by the driver: 0 or 1.
    SwPowerCap,
    /// Held down by the hardware, for whatever reason: 0 or 1.
    HwSlowdown,
    /// Held down for heat, by the driver: 0 or 1.
    SwThermal,
    /// Held down for heat, by the hardware: 0 or 1.
    HwThermal,
    /// Held down by the power supply: 0 or 1.
    HwPowerBrake,
    /// Seconds of the same, since the driver began to count. Extended.
    SwPowerCapTime,
    /// Seconds. Extended.
    SwThermalTime,
    /// Seconds. Extended.
    HwThermalTime,
    /// Seconds. Extended.
    HwPowerBrakeTime,
    /// Errors of the memory that were corrected, since the driver began to count.
    EccCorrected,
    /// Errors of the memory that were not.
    EccUncorrected,
    /// Bytes sent over PCIe, since the driver began to count. Extended.
    PcieTransmitted,
    /// Bytes received over PCIe. Extended.
    PcieReceived,
    /// Bytes sent over all NVLinks, since the driver began to count. Extended.
    NvLinkTransmitted,
    /// Bytes received over all NVLinks. Extended.
    NvLinkReceived,
    /// Memory that the process uses which serves the model, bytes. Extended.
    ProcessMemory,
}

// === impl Quantity ===

impl Quantity {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::MemoryTotal,
        Self::MemoryUsed,
        Self::MemoryReserved,
        Self::MemoryFree,
        Self::Utilization,
        Self::MemoryBandwidthUtilization,
        Self::SmActive,
        Self::TensorActive,
        Self::DramActive,
        Self::Power,
        Self::PowerLimit,
        Self::Energy,
        Self::Temperature,
        Self::MemoryTemperature,
        Self::SmClock,
        Self::MemoryClock,
        Self::SwPowerCap,
        Self::HwSlowdown,
        Self::SwThermal,
        Self::HwThermal,
        Self::HwPowerBrake,
        Self::SwPowerCapTime,
        Self::SwThermalTime,
        Self::HwThermalTime,
        Self::HwPowerBrakeTime,
        Self::EccCorrected,
        Self::EccUncorrected,
        Self::PcieTransmitted,
        Self::PcieReceived,
        Self::NvLinkTransmitted,
        Self::NvLinkReceived,
        Self::ProcessMemory,
    ];

    /// The family that it is published in.
    pub const fn family(self) -> &'static Family {
        match self {
            Self::MemoryTotal => &names::GPU_MEMORY_TOTAL_BYTES,
            Self::MemoryUsed => &names::GPU_MEMORY_USED_BYTES,
            Self::MemoryReserved => &names::GPU_MEMORY_RESERVED_BYTES,
            Self::MemoryFree => &names::GPU_MEMORY_FREE_BYTES,
            Self::Utilization => &names::GPU_UTILIZATION_RATIO,
            Self::MemoryBandwidthUtilization => &names::GPU_MEMORY_BANDWIDTH_UTILIZATION_RATIO,
            Self::SmActive => &names::GPU_SM_ACTIVE_RATIO,
            Self::TensorActive => &names::GPU_TENSOR_ACTIVE_RATIO,
            Self::DramActive => &names::GPU_DRAM_ACTIVE_RATIO,
            Self::Power => &names::GPU_POWER_WATTS,
            Self::PowerLimit => &names::GPU_POWER_LIMIT_WATTS,
            Self::Energy => &names::GPU_ENERGY_JOULES_TOTAL,
            Self::Temperature | Self::MemoryTemperature => &names::GPU_TEMPERATURE_CELSIUS,
            Self::SmClock | Self::MemoryClock => &names::GPU_CLOCK_HERTZ,
            Self::SwPowerCap
            | Self::HwSlowdown
            | Self::SwThermal
            | Self::HwThermal
            | Self::HwPowerBrake => &names::GPU_THROTTLED,
            Self::SwPowerCapTime
            | Self::SwThermalTime
            | Self::HwThermalTime
            | Self::HwPowerBrakeTime => &names::GPU_THROTTLED_SECONDS_TOTAL,
            Self::EccCorrected | Self::EccUncorrected => &names::GPU_ECC_ERRORS_TOTAL,
            Self::PcieTransmitted | Self::PcieReceived => &names::GPU_PCIE_BYTES_TOTAL,
            Self::NvLinkTransmitted | Self::NvLinkReceived => &names::GPU_NVLINK_BYTES_TOTAL,
            Self::ProcessMemory => &names::GPU_PROCESS_MEMORY_USED_BYTES,
        }
    }

    /// The value of the family's label that tells it from its siblings, if it has any.
    pub const fn label(self) -> Option<&'static str> {
        Some(match self {
            Self::Temperature => "gpu",
            Self::MemoryTemperature | Self::MemoryClock => "memory",
            Self::SmClock => "sm",
            Self::SwPowerCap | Self::SwPowerCapTime => "sw_power_cap",
            Self::HwSlowdown => "hw_slowdown",
            Self::SwThermal | Self::SwThermalTime => "sw_thermal",
            Self::HwThermal | Self::HwThermalTime => "hw_thermal",
            Self::HwPowerBrake | Self::HwPowerBrakeTime => "hw_power_brake",
            Self::EccCorrected => "corrected",
            Self::EccUncorrected => "uncorrected",
            Self::PcieTransmitted | Self::NvLinkTransmitted => "transmit",
            Self::PcieReceived | Self::NvLinkReceived => "receive",
            _ => return None,
        })
    }

    /// Whether it is read only where extended metrics are asked for.
    pub const fn is_extended(self) -> bool {
        matches!(
            self,
            Self::MemoryFree
                | Self::MemoryBandwidthUtilization
                | Self::SmActive
                | Self::TensorActive
                | Self::DramActive
                | Self::SwPowerCapTime
                | Self::SwThermalTime
                | Self::HwThermalTime
                | Self::HwPowerBrakeTime
                | Self::PcieTransmitted
                | Self::PcieReceived
                | Self::NvLinkTransmitted
                | Self::NvLinkReceived
                | Self::ProcessMemory
        )
    }

    /// Whether it only grows, until the driver begins to count anew.
    pub fn is_counter(self) -> bool {
        self.family().kind == Kind::Counter
    }
}
