//! Sends streams or plain requests over so many connections, checks every chunk, and prints one line
//! of JSON: exact totals, and how old chunks were when they came.

mod arguments;
mod connection;
mod content;
mod failure;
mod plan;
mod response;
mod totals;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

use clap::Parser;
use tokio::{
    task::{LocalSet, spawn_local},
    time::Instant,
};

use self::{arguments::Arguments, plan::Plan, totals::Totals};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    LocalSet::new().run_until(load(&Arguments::parse())).await
}

async fn load(arguments: &Arguments) -> io::Result<()> {
    let plan = Rc::new(Plan::new(arguments).await?);
    let totals = Rc::new(RefCell::new(Totals::default()));
    let next = Rc::new(Cell::new(0));
    let started = Instant::now();
    let mut connections = Vec::new();
    for number in 0..arguments.connections {
        let at = started + plan.ramp(number);
        let (plan, totals, next) = (Rc::clone(&plan), Rc::clone(&totals), Rc::clone(&next));
        connections.push(spawn_local(async move {
            tokio::time::sleep_until(at).await;
            connection::run(plan, totals, next).await;
        }));
    }
    for connection in connections {
        connection.await.map_err(io::Error::other)?;
    }
    println!("{}", totals.borrow().json(started.elapsed().as_secs_f64()));
    Ok(())
}
