//! An engine as far as it has pages: whole answers by path, sent as they are.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use infermeter::{
    Meter,
    engines::{EngineMetrics, EngineWatch},
    exporter::{Prometheus, PrometheusBuilder},
    record::Collect,
};

/// What is answered to a path; nobody answers an empty one.
type Answers = Arc<Mutex<HashMap<String, Vec<u8>>>>;

pub(crate) struct Server {
    pub(crate) url: String,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

// === impl Server ===

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answers, asked) = (Answers::default(), Arc::<Mutex<Vec<String>>>::default());
        let server = Self { url, answers: Arc::clone(&answers), asked: Arc::clone(&asked) };
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                thread::spawn(move || answer(socket.unwrap(), &answers, &asked));
            }
        });
        server
    }

    /// One that answers what is in a folder of `tests/data/pages`.
    pub(crate) fn of(name: &str) -> Self {
        let server = Self::start();
        let paths = [("metrics", "/metrics"), ("slots", "/slots"), ("models", "/v1/models")];
        for (file, path) in paths {
            let file = folder(name).join(file);
            if let Ok(answer) = fs::read(file.with_extension("http")) {
                server.answer(path, &answer);
            } else if let Ok(body) = fs::read(file.with_extension("txt")) {
                server.page(path, &body);
            }
        }
        server
    }

    pub(crate) fn page(&self, path: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.answer(path, &[head.as_bytes(), body].concat());
    }

    pub(crate) fn answer(&self, path: &str, answer: &[u8]) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer.to_vec());
    }

    /// Paths and what was accepted there, in the order in which they were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn engine(&self) -> EngineMetrics {
        EngineMetrics::at(&self.url).unwrap()
    }
}

/// Where the pages of an engine are.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pages").join(name)
}

/// The page of whoever watches this engine, after the first question.
pub(crate) async fn page_of(engine: EngineMetrics) -> String {
    let meter = Meter::new();
    let _watch = watched(engine, &meter).await;
    render(Prometheus::builder().meter(meter))
}

pub(crate) async fn watched(engine: EngineMetrics, meter: &Meter) -> EngineWatch {
    let watch = engine.watch(meter).await;
    meter.sample();
    watch
}

pub(crate) fn render(exporter: PrometheusBuilder) -> String {
    exporter.process(false).build().unwrap().render()
}

/// Lines with values whose names begin so.
pub(crate) fn lines<'a>(page: &'a str, start: &str) -> Vec<&'a str> {
    page.lines().filter(|line| line.starts_with(start)).collect()
}

fn answer(mut socket: TcpStream, answers: &Answers, asked: &Mutex<Vec<String>>) {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if socket.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let accepts = head.lines().find_map(|line| line.strip_prefix("accept: "));
        asked.lock().unwrap().push(format!("{path} {}", accepts.unwrap_or_default()));
        let answer = answers.lock().unwrap().get(&path).cloned();
        let nowhere = || b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
        let answer = answer.unwrap_or_else(nowhere);
        if answer.is_empty() {
            // Until the other side gives up.
            let _ = socket.read(&mut byte);
            return;
        }
        if socket.write_all(&answer).is_err() {
            return;
        }
        if !answer.windows(15).any(|part| part.eq_ignore_ascii_case(b"content-length:")) {
            let _ = socket.shutdown(Shutdown::Both);
            return;
        }
    }
}
