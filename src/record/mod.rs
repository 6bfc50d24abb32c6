//! Keeps what is measured: one fact, one atomic, everything else derived while it is read.
//!
//! A [`Meter`] holds every number. The layer opens a record in it for each measured request and
//! closes it exactly once; [`RequestMeter`] lets the service add what only it knows. [`Collect`]
//! yields one consistent view, which an [`Exporter`] publishes: at every moment
//! `received = success + failure + aborted + in flight`. What is beside the flow of requests comes
//! from a [`Source`] that is sampled, or from an [`Engine`](crate::engine::Engine) that tells. With
//! several upstreams, [`Meter::upstream`] keeps their numbers apart.

mod builder;
mod closing;
mod collect;
mod ended;
mod ends;
mod exporter;
#[cfg(feature = "proxy")]
mod gateway;
mod handle;
mod histogram;
mod kept;
mod meter;
mod model;
mod moves;
mod observer;
mod other;
mod owners;
mod places;
mod pulse;
mod request;
mod said;
mod series;
mod settled;
#[cfg(feature = "test-util")]
mod snapshot;
mod source;
mod steps;
mod tally;
mod tenant;
mod upstream;
mod view;

#[cfg(feature = "proxy")]
pub(crate) use self::gateway::Counted;
#[cfg(feature = "test-util")]
pub use self::snapshot::Snapshot;
pub use self::{
    builder::{MeterBuilder, MeterError},
    collect::{Collect, FamilyReadings, HistogramReading, OtherReadings, Readings, Series, Value},
    ended::Ended,
    exporter::Exporter,
    handle::RequestMeter,
    kept::{Conditions, KeptKind, KeptRequest},
    meter::Meter,
    observer::RequestObserver,
    other::{OtherFamily, OtherKind, OtherSample},
    source::{Source, SourceError, SourceStatus},
};
pub(crate) use self::{
    ended::{Asked, OnEnd},
    model::ModelId,
    request::Record,
    series::Endpoint as EndpointSeries,
    source::Told,
    tenant::TenantId,
};
