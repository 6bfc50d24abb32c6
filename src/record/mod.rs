//! Keeps what is measured: one fact, one atomic, everything else derived while it is read.
//!
//! A [`Meter`] holds every number. The layer opens a record in it for each measured request and
//! closes it exactly once; [`RequestMeter`] lets the service add what only it knows. [`Collect`]
//! yields one consistent view, which an [`Exporter`] publishes: at every moment
//! `received = success + failure + aborted + in flight`.

mod closing;
mod collect;
mod ends;
mod exporter;
mod handle;
mod histogram;
mod meter;
mod model;
mod observer;
mod request;
mod series;
mod settled;
mod tally;
mod view;

pub use self::{
    collect::{Collect, FamilyReadings, HistogramReading, Readings, Series, Value},
    exporter::Exporter,
    handle::RequestMeter,
    meter::{Meter, MeterBuilder, MeterError},
    observer::RequestObserver,
};
pub(crate) use self::{
    model::ModelId,
    request::{Mark, Record},
    series::Endpoint as EndpointSeries,
};
