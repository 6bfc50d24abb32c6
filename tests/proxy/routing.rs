//! Several upstreams behind one proxy.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use infermeter::{
    Meter,
    proxy::{Proxy, ProxyError, Upstream},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    running::{Running, chat, chat_head},
    wire::{Message, PATIENCE, Wire, eventually},
};

/// An upstream that answers each request with its name, or with a stream, and says what it serves
/// once it was told.
struct Engine {
    name: &'static str,
    url: String,
    seen: Arc<Seen>,
    accepts: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    listing: Mutex<Option<&'static str>>,
    listed: AtomicUsize,
    bodies: Mutex<Vec<String>>,
}

// === impl Engine ===

impl Engine {
    async fn start(name: &'static str, listing: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        *seen.listing.lock().unwrap() = listing;
        let all = Arc::clone(&seen);
        let accepts = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(name, Wire::new(socket), Arc::clone(&all)));
            }
        });
        Self { name, url, seen, accepts }
    }

    fn upstream(&self) -> Upstream {
        Upstream::new(self.name, &self.url).unwrap()
    }

    fn listed(&self) -> usize {
        self.seen.listed.load(Relaxed)
    }

    /// Nobody can connect any more.
    async fn ends(self) {
        self.accepts.abort();
        assert!(self.accepts.await.unwrap_err().is_cancelled());
    }
}

async fn answer(name: &str, mut wire: Wire, seen: Arc<Seen>) -> io::Result<()> {
    let request = wire.request().await?;
    let ok = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
    if request.start.starts_with("GET /v1/models HTTP") {
        let listing = *seen.listing.lock().unwrap();
        let answer = match listing {
            Some(listing) => format!("{ok}content-length: {}\r\n\r\n{listing}", listing.len()),
            None => "HTTP/1.1 503 Not yet\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".into(),
        };
        wire.write(answer).await?;
        seen.listed.fetch_add(usize::from(listing.is_some()), Relaxed);
        return Ok(());
    }
    seen.bodies.lock().unwrap().push(request.text());
    wire.write(format!("{ok}content-length: {}\r\n\r\n{name}", name.len())).await
}

const A: &str = r#"{"object":"list","data":[{"id":"me/a", "owned_by":"vllm","created":7},
    {"id":"lora","owned_by":"vllm","parent":"me/a"},{"id":"both","owned_by":"vllm"}]}"#;

const B: &str = r#"{"data":[{"id":"b","aliases":["b2"],"owned_by":"llamacpp"},{"id":"both"}]}"#;

/// Both, once they have said what they serve.
async fn running() -> (Running, Engine, Engine) {
    let (a, b) = (Engine::start("first", Some(A)).await, Engine::start("second", Some(B)).await);
    let proxy = Proxy::routing([a.upstream(), b.upstream().variant("b-side").unwrap()]);
    let running = Running::start(Meter::new(), proxy).await;
    lists(&running, &["me/a", "b"]).await;
    (running, a, b)
}

/// Waits until the proxy lists these models.
async fn lists(running: &Running, models: &[&str]) {
    let listed = async {
        loop {
            let list = get(running, "/v1/models").await.text();
            if models.iter().all(|model| list.contains(&format!("\"id\":\"{model}\""))) {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, listed).await.expect("the models are not listed");
}

async fn get(running: &Running, path: &str) -> Message {
    let mut wire = running.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    wire.answer().await.unwrap()
}

async fn ask(running: &Running, request: impl AsRef<[u8]>) -> Message {
    running.send(request).await.answer().await.unwrap()
}

/// How they ended, in alphabetical order: whichever upstream lists its models first has no meaning.
async fn ended(running: &Running, requests: u64) -> Vec<String> {
    let mut ended = running.ended(requests).await;
    ended.sort();
    ended
}

fn of_model(model: &str) -> String {
    chat(&format!("{{\"messages\":[],\"model\":\"{model}\"}}"))
}

fn post(path: &str, head: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{head}content-length: {length}\r\n\r\n{body}")
}

// === who gets what ===

#[tokio::test]
async fn the_model_decides() {
    let (running, ..) = running().await;
    for (model, name) in [
        ("me/a", "first"),
        ("me\\u002fa", "first"),
        ("lora", "first"),
        ("both", "first"),
        ("b", "second"),
        ("b2", "second"),
        ("", "first"),
    ] {
        let answer = ask(&running, of_model(model)).await;
        assert_eq!((answer.status(), &*answer.text()), (200, name), "{model}");
    }
    let ended = ended(&running, 7).await;
    assert_eq!(
        ended,
        [
            "b chat_completions success other 200 second b-side 1",
            "b2 chat_completions success other 200 second b-side 1",
            "both chat_completions success other 200 first none 1",
            "lora chat_completions success other 200 first none 1",
            // And the one that names none.
            "me/a chat_completions success other 200 first none 3",
        ]
    );
    // What was in flight has moved as well: nothing is left where nobody was asked.
    let scrape = running.scrape();
    for name in ["vllm:request_total", "infermeter_requests_in_flight"] {
        assert!(scrape.values(name, "upstream").contains(&"none"), "{name}");
        assert_eq!(scrape.sum(name, &[("upstream", "none")]), 0, "{name}");
    }
}

#[tokio::test]
async fn what_names_no_model_that_can_be_read_is_for_the_first() {
    let (running, ..) = running().await;
    let json = "content-type: Application/JSON; charset=utf-8\r\n";
    let gzip = format!("{json}content-encoding: gzip\r\n");
    let long = format!("{{\"x\":\"{}\",\"model\":\"b\"}}", "x".repeat(8 << 20));
    let b = "{\"model\":\"b\"}";
    for (request, name) in [
        ("GET /version HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "first"),
        (post("/tokenize", json, b), "second"),
        (post("/tokenize", json, "{\"prompt\":\"b\"}"), "first"),
        (post("/tokenize", "", b), "first"),
        (post("/tokenize", json, "[]"), "first"),
        (post("/tokenize", json, ""), "first"),
        (post("/v1/completions", "", b), "second"),
        (post("/v1/completions", "", "{\"model\":[\"b\"]}"), "first"),
        (post("/v1/completions", "", "{\"model\":\"b\",\"model\":\"b\"}"), "first"),
        (post("/v1/completions", &gzip, b), "first"),
        (post("/v1/completions", json, &long), "first"),
        (post("/tokenize", json, &long), "first"),
        ("GET /v1/models/b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "second"),
        ("GET /v1/models/me%2Fa HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "first"),
    ] {
        let answer = ask(&running, &request).await;
        let start = &request[..request.len().min(200)];
        assert_eq!((answer.status(), &*answer.text()), (200, name), "{start}");
    }
}

#[tokio::test]
async fn what_was_named_goes_before_what_is_listed() {
    let (a, b) = (Engine::start("first", Some(A)).await, Engine::start("second", Some(B)).await);
    let proxy = Proxy::routing([a.upstream(), b.upstream().model("both")]);
    let running = Running::start(Meter::new(), proxy).await;
    lists(&running, &["me/a"]).await;
    assert_eq!(ask(&running, of_model("both")).await.text(), "second");
    // It has what was named, and nothing else.
    assert_eq!(ask(&running, of_model("b")).await.status(), 404);
}

// === who gets nothing ===

#[tokio::test]
async fn a_model_that_nobody_has() {
    let (running, ..) = running().await;
    let answer = ask(&running, of_model(&"x".repeat(101))).await;
    assert_eq!((answer.status(), answer.code()), (404, "model_not_found".to_owned()));
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["type"], "invalid_request_error");
    let message = format!(
        "The model \"{}…\" does not exist; there are me/a, lora, both, b, b2, both.",
        "x".repeat(100)
    );
    assert_eq!(body["error"]["message"], message);
    assert_eq!(
        running.ended(1).await,
        ["other chat_completions failure not_found 404 none none 1"]
    );
    for request in [
        post("/tokenize", "content-type: application/json\r\n", "{\"model\":\"c\"}"),
        "GET /v1/models/c HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
    ] {
        assert_eq!(ask(&running, request).await.code(), "model_not_found");
    }
}

#[tokio::test]
async fn one_that_is_down_takes_no_other_with_it() {
    let (running, _a, b) = running().await;
    b.ends().await;
    for _ in 0..2 {
        let answer = ask(&running, of_model("b")).await;
        assert_eq!((answer.status(), answer.code()), (502, "upstream_unreachable".to_owned()));
        assert!(answer.text().contains("The upstream second cannot be reached"), "{answer:?}");
        assert_eq!(ask(&running, of_model("lora")).await.text(), "first");
    }
    assert_eq!(ask(&running, of_model("c")).await.status(), 404);
    lists(&running, &["me/a", "b"]).await;
    assert_eq!(
        ended(&running, 5).await,
        [
            "b chat_completions failure unreachable 502 second b-side 2",
            "lora chat_completions success other 200 first none 2",
            "other chat_completions failure not_found 404 none none 1",
        ]
    );
}

#[tokio::test]
async fn one_that_has_not_said_what_it_serves_yet() {
    let (a, b) = (Engine::start("first", Some(A)).await, Engine::start("second", None).await);
    let proxy = Proxy::routing([a.upstream(), b.upstream()]);
    let running = Running::start(Meter::new(), proxy).await;
    lists(&running, &["me/a"]).await;
    let answer = ask(&running, of_model("b")).await;
    assert_eq!((answer.status(), answer.code()), (503, "upstream_not_ready".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.text().contains("has come from second."), "{answer:?}");
    assert_eq!(ask(&running, of_model("me/a")).await.text(), "first");
    *b.seen.listing.lock().unwrap() = Some(B);
    lists(&running, &["b"]).await;
    assert_eq!(ask(&running, of_model("b")).await.text(), "second");
    assert_eq!(
        ended(&running, 3).await,
        [
            "b chat_completions success other 200 second none 1",
            "me/a chat_completions success other 200 first none 1",
            "other chat_completions failure unreachable 503 none none 1",
        ]
    );
}

// === the list of all ===

#[tokio::test]
async fn the_list_has_each_model_once_as_its_upstream_writes_it() {
    let (running, _a, b) = running().await;
    let both = r#"{"object":"list","data":[{"id":"me/a", "owned_by":"vllm","created":7},{"id":"lora","owned_by":"vllm","parent":"me/a"},{"id":"both","owned_by":"vllm"},{"id":"b","aliases":["b2"],"owned_by":"llamacpp"}]}"#;
    b.ends().await;
    let answer = get(&running, "/v1/models?limit=1").await;
    assert_eq!((answer.status(), &*answer.text()), (200, both));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").is_some());
    let mut wire = running.send("HEAD /v1/models HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_list_of_models_that_were_named() {
    let (a, b) = (Engine::start("first", Some(A)).await, Engine::start("second", None).await);
    let (a, b) = (a.upstream().model("lora").model("mine"), b.upstream().model("b"));
    let running = Running::start(Meter::new(), Proxy::routing([a, b])).await;
    lists(&running, &["lora\",\"owned_by\":\"vllm"]).await;
    let expected = r#"{"object":"list","data":[{"id":"lora","owned_by":"vllm","parent":"me/a"},{"id":"mine","object":"model","created":0,"owned_by":"first"},{"id":"b","object":"model","created":0,"owned_by":"second"}]}"#;
    assert_eq!(get(&running, "/v1/models").await.text(), expected);
}

#[tokio::test]
async fn of_one_upstream_nothing_is_made_up() {
    let a = Engine::start("first", Some(A)).await;
    let running = Running::start(Meter::new(), Proxy::routing([a.upstream()])).await;
    eventually("it is asked", || a.listed() > 0).await;
    assert_eq!(get(&running, "/v1/models").await.text(), A);
    assert_eq!(ask(&running, of_model("c")).await.text(), "first");
    assert_eq!(running.ended(1).await, ["other chat_completions success other 200 first none 1"]);
}

// === what is asked of engines ===

#[tokio::test]
async fn each_engine_is_asked_in_its_own_way() {
    let (running, a, b) = running().await;
    for model in ["me/a", "b"] {
        let body = format!("{{\"model\":\"{model}\",\"stream\":true}}");
        ask(&running, format!("{}content-length: {}\r\n\r\n{body}", chat_head(), body.len())).await;
    }
    let [of_vllm, of_llamacpp] = [a, b].map(|engine| engine.seen.bodies.lock().unwrap().join(""));
    assert_eq!(
        of_vllm,
        r#"{"stream_options":{"include_usage":true},"model":"me/a","stream":true}"#
    );
    assert_eq!(of_llamacpp, r#"{"model":"b","stream":true}"#);
}

#[tokio::test]
async fn a_clone_goes_on_asking_when_another_ends() {
    let a = Engine::start("first", Some(A)).await;
    let proxy = Proxy::builder(&a.url).build().unwrap();
    let start = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, proxy) = (listener.local_addr().unwrap(), proxy.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            proxy.serve(listener, async { drop(stopped.await) }).await;
        });
        // It serves.
        drop(TcpStream::connect(address).await.unwrap());
        (stop, serving)
    };
    let (stop, serving) = start().await;
    eventually("the first asks", || a.listed() == 1).await;
    let _second = start().await;
    drop(stop);
    serving.await.unwrap();
    eventually("the second asks", || a.listed() == 2).await;
}

// === what cannot be ===

#[test]
fn what_cannot_be_routed() {
    let made = |name: &str, model: &str| Upstream::new(name, "http://h").unwrap().model(model);
    let error = |upstreams: Vec<Upstream>| Proxy::routing(upstreams).build().unwrap_err();
    assert_eq!(error(Vec::new()), ProxyError::NoUpstream);
    assert_eq!(error(vec![made("a", "x"), made("a", "y")]), ProxyError::SameName("a".into()));
    assert_eq!(error(vec![made("a", "x"), made("b", "x")]), ProxyError::SameModel("x".into()));
    let variant = made("a", "x").variant("a b").unwrap_err();
    assert_eq!(variant, ProxyError::UpstreamVariant("a b".into()));
    assert!(variant.to_string().contains("letters"), "{variant}");
    let meter = Meter::builder().label("variant", "x").build().unwrap();
    let taken = Proxy::routing([made("a", "x")]).meter(meter).build().unwrap_err();
    assert!(matches!(taken, ProxyError::Labels(_)), "{taken:?}");
    for name in ["", "none", "a b", "ä", "a/b", &"x".repeat(65)] {
        let error = Upstream::new(name, "http://h").unwrap_err();
        assert_eq!(error, ProxyError::UpstreamName(name.to_owned()));
    }
    for (url, told) in
        [("ftp://h", "\"ftp://h\": the scheme ftp"), ("http://u:p@h/x", "\"http://…@h/x\": user")]
    {
        let error = Upstream::new("a", url).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("http://HOST"), "{error}");
    }
}
