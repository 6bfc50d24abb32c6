//! Infermeter on the command line. `infermeter --help` says what it can do.

mod arguments;
mod check;
mod config;
mod console;
mod demo;
mod exporter;
mod gpu;
mod log;
mod page;
mod processes;
mod proxy;
mod signals;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use infermeter::names;

use self::arguments::{Arguments, Command};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("infermeter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    match arguments.command {
        Command::Check(settings) => check::run(&settings.file),
        Command::Demo(settings) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(demo::run(settings))
        }
        Command::Exporter(settings) => exporter::run(*settings),
        Command::Gpus(settings) => gpu::print(&settings),
        Command::Proxy(settings) => proxy::run(*settings),
        Command::Metrics => match io::stdout().write_all(names::markdown().as_bytes()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        },
    }
}
