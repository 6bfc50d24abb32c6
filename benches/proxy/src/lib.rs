//! What the simulator and the load generator of the proxy's benchmark share: how a chunk is marked,
//! how a body is framed, what a model is called, what a workload is.

pub mod framing;
pub mod histogram;
pub mod mark;
pub mod model;
pub mod workload;
