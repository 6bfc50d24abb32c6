//! Where the numbers go.

use std::sync::Arc;

use super::Collect;

/// Publishes what a [`Meter`](super::Meter) keeps.
///
/// A pull exporter keeps `state` and asks it whenever it is scraped:
///
/// ```
/// use std::sync::{Arc, OnceLock};
/// use infermeter::{names, record::{Collect, Exporter, Meter}};
///
/// #[derive(Default)]
/// struct Names(OnceLock<Arc<dyn Collect>>);
///
/// impl Exporter for Names {
///     fn attach(&self, state: Arc<dyn Collect>) {
///         self.0.set(state).ok();
///     }
/// }
///
/// let (meter, exporter) = (Meter::new(), Names::default());
/// meter.model("tiny-words").attach(&exporter);
///
/// let readings = exporter.0.get().unwrap().collect();
/// assert_eq!(readings.series(&names::REQUEST_TOTAL).len(), 1);
/// ```
pub trait Exporter: Send + Sync + 'static {
    /// Called once. `state` yields, whenever asked, one consistent view of every family.
    fn attach(&self, state: Arc<dyn Collect>);
}
