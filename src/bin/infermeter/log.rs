//! The log, on stderr.

use std::{error::Error, io};

use tracing::Level;

use crate::arguments::Log;

pub(crate) fn start(format: Log) -> Result<(), Box<dyn Error>> {
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(Level::INFO);
    let started = match format {
        Log::Text => log.with_ansi(false).try_init(),
        Log::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| error.to_string().into())
}
