//! Carries the numbers into a recorder of the `metrics` crate.

mod sent;
mod ticker;
mod values;

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use metrics::Recorder;

use self::{sent::Sent, ticker::Ticker};
use crate::{
    names::Naming,
    record::{Collect, Exporter, Meter},
};

/// Publishes a [`Meter`] through any [`metrics::Recorder`]: an exporter of that ecosystem, set up
/// as its own documentation says, carries the whole catalogue.
///
/// Again and again it takes one consistent view and gives the recorder what is new in it. A
/// recorder that is shared, in an [`Arc`], can take what your own macros record too.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use infermeter::{Meter, exporter::Bridge, names::{self, Naming}};
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Without bounds the stock exporter makes summaries.
/// let naming = Naming::vllm();
/// let mut builder = PrometheusBuilder::new();
/// for (name, bounds) in names::buckets(&naming) {
///     builder = builder.set_buckets_for_metric(Matcher::Full(name), bounds)?;
/// }
/// let recorder = Arc::new(builder.build_recorder());
/// let page = recorder.handle();
///
/// let meter = Meter::new().model("tiny-words");
/// let every = Duration::from_secs(5);
/// let bridge = Bridge::to(recorder).naming(naming).every(every).start(&meter)?;
/// // … the service runs …
/// bridge.shutdown();
/// assert!(page.render().contains(r#"vllm:request_total{model_name="tiny-words"} 0"#));
/// # Ok(())
/// # }
/// ```
///
/// # What is lost on the way
///
/// [`Prometheus`](crate::exporter#ways-out) loses none of this.
///
/// - **Moments.** What a recorder holds is up to one tick old, or what
///   [`push`](Self::push) last gave it.
/// - **Views.** A push is many steps. Who reads the recorder in the middle of one sees half of it,
///   so that `received = success + failure + aborted + in flight` holds between pushes only.
/// - **Observations.** A recorder is given as many observations as were made, in the same buckets
///   and with the same sum, but made up anew. Bounds must be the meter's ([`names::buckets`]
///   where none were set) for the buckets to be right; a recorder that makes quantiles of them
///   is off by up to a bucket. Of a histogram that is recorded to while it is read, the sum may
///   be off by that observation, which later ones make up for.
/// - **Time.** Most recorders keep each observation for a while: start with the process, and push
///   every few seconds.
/// - **Fractions.** Counters are whole numbers there: seconds or joules are rounded down, and the
///   rest comes once it is a whole one.
/// - **Absence.** No series ever goes. A gauge that has gone is `NaN`, one for each set of labels
///   that it had; counters and histograms stand still. One that began anew goes on from where it
///   was.
/// - **Aliases.** Each family goes by one name, and the families about the page itself
///   (`infermeter_scrape_duration_seconds`, `infermeter_series`) have no page to tell of.
///
/// Names with `:` are Prometheus' own; for others, take [`Naming::neutral`] or a prefix of yours.
/// Where a recorder can drop what is idle, let it drop gauges, and those that have gone do go; what
/// is there is set by every push. But no histograms: one that was dropped does not come back. And
/// one bridge for one meter and recorder is enough: a second one records every observation twice.
///
/// [`names::buckets`]: crate::names::buckets()
pub struct Bridge {
    carrier: Arc<Carrier>,
    ticker: Option<Ticker>,
}

/// Sets up a [`Bridge`].
///
/// ```
/// use infermeter::{Meter, exporter::{Bridge, BridgeBuilder}, names::Naming};
///
/// let builder: BridgeBuilder = Bridge::to(metrics::NoopRecorder).naming(Naming::neutral());
/// let bridge = builder.build(); // without a thread
/// Meter::new().attach(&bridge);
/// bridge.push();
/// ```
pub struct BridgeBuilder {
    recorder: Box<dyn Recorder + Send + Sync>,
    naming: Naming,
    every: Duration,
}

struct Carrier {
    recorder: Box<dyn Recorder + Send + Sync>,
    naming: Naming,
    state: OnceLock<Arc<dyn Collect>>,
    sent: Mutex<Sent>,
}

// === impl Bridge ===

impl Bridge {
    /// Begins one that ends at a recorder.
    pub fn to(recorder: impl Recorder + Send + Sync + 'static) -> BridgeBuilder {
        let every = Duration::from_secs(1);
        BridgeBuilder { recorder: Box::new(recorder), naming: Naming::default(), every }
    }

    /// Gives the recorder what is new, on this thread. Nothing happens before a meter is attached.
    ///
    /// It samples the meter's sources first, which may take its time.
    ///
    /// A panic of the recorder ends the push and nothing else; what is missing comes with the next.
    pub fn push(&self) {
        self.carrier.push();
    }

    /// Pushes once more and ends the thread, if there is one, which waits for a source that takes
    /// its time. To drop it does the same.
    pub fn shutdown(self) {}
}

impl Exporter for Bridge {
    fn attach(&self, state: Arc<dyn Collect>) {
        // Called once; a second state would go to the same series.
        let _ = self.carrier.state.set(state);
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carrier, ticker } = self;
        f.debug_struct("Bridge")
            .field("naming", &carrier.naming)
            .field("ticker", ticker)
            .finish_non_exhaustive()
    }
}

// === impl BridgeBuilder ===

impl BridgeBuilder {
    /// Names the families in another way. Default: [`Naming::vllm`]. Aliases are left out.
    #[must_use]
    pub fn naming(mut self, naming: Naming) -> Self {
        self.naming = naming;
        self
    }

    /// Sets how long to wait from one push to the next. Default: a second; the least is a
    /// millisecond.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every.max(Duration::from_millis(1));
        self
    }

    /// Pushes what a meter holds, on a thread of its own: at once, after every wait, and at the
    /// end.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn start(self, meter: &Meter) -> io::Result<Bridge> {
        let every = self.every;
        let mut bridge = self.build();
        meter.attach(&bridge);
        let carrier = Arc::clone(&bridge.carrier);
        bridge.ticker = Some(Ticker::start(every, move || carrier.push())?);
        Ok(bridge)
    }

    /// Makes it without a thread and without a meter: [`attach`](Meter::attach) one, and
    /// [`push`](Bridge::push) whenever it suits you.
    pub fn build(self) -> Bridge {
        let Self { recorder, naming, every: _ } = self;
        let (state, sent) = (OnceLock::new(), Mutex::default());
        Bridge { carrier: Arc::new(Carrier { recorder, naming, state, sent }), ticker: None }
    }
}

impl fmt::Debug for BridgeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recorder: _, naming, every } = self;
        f.debug_struct("BridgeBuilder")
            .field("naming", naming)
            .field("every", every)
            .finish_non_exhaustive()
    }
}

// === impl Carrier ===

impl Carrier {
    fn push(&self) {
        let Some(state) = self.state.get() else { return };
        // NB: one at a time, the view too: an older one must not come after a newer one. What a
        // panic left is well-formed.
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let push = || {
            state.sample();
            sent.push(&state.collect(), &self.naming, &*self.recorder);
        };
        // What it panicked of was said by the panic hook.
        let _ = catch_unwind(AssertUnwindSafe(push));
    }
}
