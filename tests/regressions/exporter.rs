//! The exporter, and its server's end.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use infermeter::{
    Meter,
    exporter::Prometheus,
    names,
    record::{Collect, Exporter},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A little more than two seconds is the most that is meant.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

#[tokio::test]
async fn shutdown_returns_although_a_client_never_ends_its_request() {
    let exporter = Prometheus::serve("127.0.0.1:0").await.unwrap();
    let connect = async |said: &str| {
        let mut socket = TcpStream::connect(exporter.local_addr().unwrap()).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        socket
    };
    let _silent = connect("").await;
    let _half = connect("GET /metrics HTTP/1.1\r\nhost: x\r\n").await;
    // Answered on the same thread: by then the ones before it were seen.
    let mut whole = connect("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    whole.read_u8().await.unwrap();
    timeout(LONG_ENOUGH, exporter.shutdown()).await.expect("it returns").unwrap();
}

#[test]
fn an_exporter_of_a_type_that_is_not_known_can_be_attached() {
    #[derive(Default)]
    struct Kept(Arc<OnceLock<Arc<dyn Collect>>>);

    impl Exporter for Kept {
        fn attach(&self, state: Arc<dyn Collect>) {
            self.0.set(state).ok();
        }
    }

    let kept = Kept::default();
    let state = Arc::clone(&kept.0);
    let exporter: Box<dyn Exporter> = Box::new(kept);
    Meter::new().model("m").attach(&*exporter);
    assert_eq!(state.get().unwrap().collect().series(&names::REQUEST_TOTAL).len(), 1);
}
