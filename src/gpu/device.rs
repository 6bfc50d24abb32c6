//! A GPU, and what was read of it at one moment.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use super::Quantity;
use crate::names::Unit;

/// Degrees Celsius; what is hotter is a number below zero whose sign got lost.
const TEMPERATURES: RangeInclusive<f64> = -273.15..=1000.0;
/// In any unit: what is more is a sentinel, such as the largest number of 63 bits.
const MOST: f64 = 1e18;

/// What a GPU is, or a MIG instance of one.
///
/// ```
/// use infermeter::gpu::Device;
///
/// let (uuid, name) = ("GPU-8932f937".to_owned(), "Tiny 1".to_owned());
/// let device = Device { index: 0, uuid, name, ..Device::default() };
/// assert!(device.instance.is_none(), "a whole GPU");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its number, as the driver counts; of an instance, that of its GPU.
    pub index: u32,
    /// Its identity, as `GPU-…`; of an instance, its own, as `MIG-…`.
    pub uuid: String,
    /// The name of the product.
    pub name: String,
    /// Who makes it.
    pub vendor: String,
    /// Where it is on the bus; empty where that is not known.
    pub pci_bus_id: String,
    /// The version of its driver; empty where that is not known.
    pub driver_version: String,
    /// What it is an instance of; `None` for a whole GPU.
    pub instance: Option<Instance>,
    /// Whether it reports errors as [events](super::GpuBackend::event).
    pub has_events: bool,
}

/// A part of a GPU (MIG).
///
/// ```
/// use infermeter::gpu::{Device, Instance};
///
/// let parent_uuid = "GPU-8932f937".to_owned();
/// let part = Instance { parent_uuid, gpu_instance: 1, ..Instance::default() };
/// let device = Device { uuid: "MIG-1".to_owned(), instance: Some(part), ..Device::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// The identity of the whole.
    pub parent_uuid: String,
    /// The number of the GPU instance, which has memory of its own.
    pub gpu_instance: u32,
    /// The number of the compute instance in it.
    pub compute_instance: u32,
    /// How large it is, such as `1g.10gb`; empty where that is not known.
    pub profile: String,
}

/// A number, or why there is none.
///
/// ```
/// use infermeter::gpu::{Absent, Reading};
///
/// let readings: [Reading; 2] = [Ok(75.0), Err(Absent::NotSupported)];
/// assert_eq!(readings.into_iter().flatten().sum::<f64>(), 75.0);
/// ```
pub type Reading = Result<f64, Absent>;

/// Why there is no number.
///
/// ```
/// use infermeter::gpu::{Absent, DeviceReadings, Quantity};
///
/// let nothing = DeviceReadings::default();
/// assert_eq!(nothing.get(Quantity::Power), Err(Absent::NotAsked));
/// assert_eq!(Absent::NotSupported.to_string(), "not supported by this device");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Absent {
    /// It was not asked for.
    NotAsked,
    /// The device does not tell it.
    NotSupported,
    /// The device does not tell it to everybody.
    NoPermission,
    /// The driver said a number that cannot be.
    Impossible(f64),
    /// The driver failed.
    Failed(String),
}

/// What was read of one GPU at one moment.
///
/// ```
/// use infermeter::gpu::{Absent, DeviceReadings, Quantity};
///
/// let mut readings = DeviceReadings::default();
/// readings.set(Quantity::Power, Ok(75.0));
/// readings.set(Quantity::Utilization, Ok(1.5)); // cannot be
/// assert_eq!(readings.get(Quantity::Power), Ok(75.0));
/// assert_eq!(readings.get(Quantity::Utilization), Err(Absent::Impossible(1.5)));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceReadings(BTreeMap<Quantity, Reading>);

// === impl Device ===

impl Device {
    /// The identity of the whole GPU.
    pub(super) fn whole(&self) -> &str {
        self.instance.as_ref().map_or(&self.uuid, |instance| &instance.parent_uuid)
    }
}

// === impl Absent ===

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked for"),
            Self::NotSupported => f.write_str("not supported by this device"),
            Self::NoPermission => f.write_str("no permission"),
            Self::Impossible(value) => write!(f, "the driver said {value}, which cannot be"),
            Self::Failed(error) => write!(f, "driver error: {error}"),
        }
    }
}

impl std::error::Error for Absent {}

// === impl DeviceReadings ===

impl DeviceReadings {
    /// Writes one down. A number that cannot be (not finite, negative, a part above the whole, no
    /// temperature of a device, beyond all measure) is absent.
    pub fn set(&mut self, quantity: Quantity, reading: Reading) {
        let unit = quantity.family().unit;
        // NB: NaN is in no range.
        let is_possible = |value: f64| match unit {
            Unit::Ratio => (0.0..=1.0).contains(&value),
            Unit::Celsius => TEMPERATURES.contains(&value),
            _ => (0.0..MOST).contains(&value),
        };
        let reading = reading.and_then(|value| match is_possible(value) {
            true => Ok(value),
            false => Err(Absent::Impossible(value)),
        });
        self.0.insert(quantity, reading);
    }

    /// What was read, or why nothing.
    pub fn get(&self, quantity: Quantity) -> Reading {
        self.0.get(&quantity).cloned().unwrap_or(Err(Absent::NotAsked))
    }

    /// More in use than there is cannot be. A device that has none at all does not tell it.
    pub(super) fn checked(mut self) -> Self {
        let total = self.get(Quantity::MemoryTotal);
        if total == Ok(0.0) {
            self.0.insert(Quantity::MemoryTotal, Err(Absent::Impossible(0.0)));
        }
        for part in [Quantity::MemoryUsed, Quantity::MemoryReserved, Quantity::MemoryFree] {
            if let (Ok(part_value), Ok(total)) = (self.get(part), &total) {
                if part_value > *total || *total == 0.0 {
                    self.0.insert(part, Err(Absent::Impossible(part_value)));
                }
            }
        }
        self
    }
}
