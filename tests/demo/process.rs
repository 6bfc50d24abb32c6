//! A demo as another process.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::time::interval;

/// A demo that runs, until it is dropped.
pub(crate) struct Demo {
    process: Child,
    output: BufReader<ChildStdout>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Without the proxy.
    pub(crate) engine: String,
    pub(crate) service: String,
    pub(crate) metrics: String,
}

// === impl Demo ===

impl Demo {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_infermeter"))
            .args(["demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let (mut engine, mut service, mut metrics) = Default::default();
        while String::is_empty(&service) || String::is_empty(&metrics) {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "it ended before it began");
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["engine", url] => url.clone_into(&mut engine),
                ["service", url] => url.clone_into(&mut service),
                ["metrics", url] => url.clone_into(&mut metrics),
                _ => {}
            }
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { process, output, client, engine, service, metrics }
    }

    pub(crate) async fn get(&self, url: &str) -> String {
        let answer = self.client.get(url.parse().unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.into()).unwrap()
    }

    /// The status, and what there is of the answer.
    pub(crate) async fn post(&self, url: &str, body: &Value, fault: Option<&str>) -> (u16, String) {
        let mut request = Request::post(url);
        if let Some(fault) = fault {
            request = request.header("x-demo-fault", fault);
        }
        let request = request.body(Full::from(body.to_string())).unwrap();
        let mut answer = self.client.request(request).await.unwrap();
        let (status, mut text) = (answer.status().as_u16(), Vec::new());
        while let Some(Ok(frame)) = answer.frame().await {
            text.extend(frame.into_data().unwrap());
        }
        (status, String::from_utf8(text).unwrap())
    }

    /// NB: the load comes in bursts, of which some is refused.
    async fn post_until_let_in(
        &self,
        url: &str,
        body: &Value,
        fault: Option<&str>,
    ) -> (u16, String) {
        let mut ticks = interval(Duration::from_millis(250));
        loop {
            ticks.tick().await;
            let answer = self.post(url, body, fault).await;
            if answer.0 != 429 {
                return answer;
            }
        }
    }

    pub(crate) async fn ask_for_each_fault(&self) {
        let url = format!("{}/v1/completions", self.service);
        let whole = json!({"prompt": "the wind"});
        let stream = json!({"prompt": "the wind", "stream": true});
        for (fault, body, status, part) in [
            ("error", &stream, 500, "a fault was asked for"),
            ("stream-error", &stream, 200, "a fault was asked for"),
            ("stream-error", &whole, 500, "a fault was asked for"),
            ("cut", &stream, 200, "data: "),
            ("cut", &whole, 200, "choices"),
            ("slow", &whole, 200, "usage"),
            ("other", &whole, 400, "allowed is error, stream-error, cut, slow"),
        ] {
            let (found, text) = self.post_until_let_in(&url, body, Some(fault)).await;
            assert_eq!(found, status, "{fault}: {text}");
            assert!(text.contains(part) && !text.contains("[DONE]"), "{fault}: {text}");
        }
        let too_long = json!({"prompt": "the wind", "max_tokens": 4096});
        let (_, text) = self.post_until_let_in(&url, &too_long, None).await;
        assert!(text.contains("context_length_exceeded"), "{text}");
        let unknown = json!({"prompt": "the wind", "model": "another"});
        let (_, text) = self.post_until_let_in(&url, &unknown, None).await;
        assert!(text.contains("model_not_found"), "{text}");
    }

    /// Asks it to end; whether it did so well, and what it said last.
    pub(crate) fn terminate(mut self) -> (bool, String) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = self.process.wait().unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (status.success(), rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
