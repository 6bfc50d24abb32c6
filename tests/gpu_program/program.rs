//! The program, over a library of the test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// How often it is looked for something, each 20 ms.
const TRIES: u32 = 3000;

pub(crate) fn infermeter(library: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(library, arguments, variables).output().unwrap()
}

fn command(library: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_infermeter"));
    command.args(arguments).env_remove("CUDA_VISIBLE_DEVICES").envs(variables.iter().copied());
    command.arg("--nvml-library").arg(library);
    command
}

/// One that publishes a page.
pub(crate) struct Program {
    child: Child,
    page: String,
}

// === impl Program ===

impl Program {
    /// `infermeter exporter` without the page of an engine.
    pub(crate) fn start(library: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::of(library, &[&["exporter", "--engine", "none"], arguments].concat(), variables)
    }

    pub(crate) fn of(library: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let page = ["--metrics-listen", "127.0.0.1:0"];
        let mut child = command(library, &[arguments, &page].concat(), variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (before, _) = line.split_once("/metrics live ").unwrap();
        let page = before.rsplit_once("http://").unwrap().1;
        Self { child, page: page.to_owned() }
    }

    pub(crate) fn page(&self) -> String {
        let mut socket = TcpStream::connect(&self.page).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until the page has a line.
    pub(crate) fn until(&self, line: &str) -> String {
        self.until_it(line, |page| page.contains(line))
    }

    pub(crate) fn until_it(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        for _ in 0..TRIES {
            let page = self.page();
            if is_it(&page) {
                return page;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{what:?} does not come: {}", self.page());
    }

    /// SIGTERM ends it.
    pub(crate) fn ends(&mut self) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
        for _ in 0..TRIES {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
