//! An engine that costs next to nothing: it answers as vLLM does, with as many chunks and as fast as
//! the text of the message says, and each chunk tells when it was sent.
//!
//! One thread; it prints its address. `GET /simulator/totals` tells what it has done.

mod answer;
mod connection;
mod request;
mod totals;

use std::{io, rc::Rc};

use clap::Parser;
use tokio::{net::TcpListener, task::LocalSet};

use self::totals::Totals;

#[derive(Parser)]
#[command(about = "An engine that costs next to nothing")]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// How many models it lists. It answers for any.
    #[arg(long, default_value_t = 1)]
    models: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Arguments { listen, models } = Arguments::parse();
    let listener = TcpListener::bind(&listen).await?;
    println!("{}", listener.local_addr()?);
    LocalSet::new().run_until(accept(listener, models)).await
}

async fn accept(listener: TcpListener, models: u64) -> io::Result<()> {
    let totals = Rc::new(Totals::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let totals = Rc::clone(&totals);
        tokio::task::spawn_local(async move {
            // A client that goes away is none of the engine's business.
            drop(connection::serve(stream, models, &totals).await);
        });
    }
}
