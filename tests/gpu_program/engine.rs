//! `--engine-pid` and the GPUs that the engine's processes compute on.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{
    driver,
    program::{Program, infermeter},
};

/// A process that starts a worker at once, and one more for each line that it gets.
struct Engine {
    child: Child,
    output: BufReader<ChildStdout>,
    workers: Vec<u32>,
}

/// A driver, and the file from which it reads who computes on which GPU.
struct Machine {
    library: PathBuf,
    processes: PathBuf,
}

// === impl Engine ===

impl Engine {
    fn start() -> Self {
        let script = "work() { sleep 600 & echo $!; }; work; while read x; do work; done; wait";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output, workers: Vec::new() }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// The number of the next worker that has started.
    fn worker(&mut self) -> u32 {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let worker = line.trim().parse().unwrap();
        self.workers.push(worker);
        worker
    }

    fn start_worker(&mut self) -> u32 {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        self.worker()
    }

    /// With its workers.
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let workers = self.workers.drain(..).map(|worker| worker.to_string());
        let _ = Command::new("kill").args(workers).stderr(Stdio::null()).status();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl Machine ===

impl Machine {
    fn new() -> Self {
        let library = driver::copy(&[]);
        let processes = library.with_extension("processes");
        let machine = Self { library, processes };
        machine.computing(&[]);
        machine
    }

    /// Says who computes: number of the GPU, slot of the instance or -1, number of the process.
    fn computing(&self, lines: &[(u32, i32, u32)]) {
        let line = |(gpu, slot, pid): &(u32, i32, u32)| format!("{gpu} {slot} {pid}\n");
        let new = self.processes.with_extension("new");
        fs::write(&new, lines.iter().map(line).collect::<String>()).unwrap();
        fs::rename(new, &self.processes).unwrap();
    }

    fn variables<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let file = ("FAKE_PROCESSES", self.processes.to_str().unwrap());
        [&[file], more].concat()
    }

    fn exporter(&self, engine: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        let usual = ["--gpu-interval", "200ms", "--engine-pid", engine];
        Program::start(&self.library, &[&usual, arguments].concat(), &self.variables(variables))
    }
}

fn tie(gpu: u32) -> String {
    format!("infermeter_engine_gpu_info{{engine=\"0\",gpu=\"{gpu}\",uuid=\"GPU-{gpu:08}\"}} 1.0\n")
}

/// The identities of the GPUs that a page has.
fn gpus(page: &str) -> Vec<&str> {
    let up = page.lines().filter_map(|line| line.strip_prefix("gpu_up{")?.split('"').nth(3));
    up.collect()
}

/// Waits until the page has a line and these GPUs, as [`gpus`] names them.
///
/// NB: which one it is shows before that one has been read.
fn until(program: &Program, line: &str, uuids: &[&str]) -> String {
    program.until_it(line, |page| page.contains(line) && gpus(page) == uuids)
}

#[test]
fn they_follow_its_processes() {
    let (machine, mut engine) = (Machine::new(), Engine::start());
    let first = engine.worker();
    machine.computing(&[(5, -1, 1)]);
    // The engine is not there yet, which is no lack of a GPU.
    let mut program = machine.exporter(&engine.pid(), &["--require-gpu"], &[]);
    let page = program.until("gpu_probe_up{backend=\"nvml\"} 1.0\n");
    assert!(gpus(&page).is_empty() && !page.contains("\ngpu_devices{"), "{page}");
    assert!(!page.contains("\ninfermeter_engine_gpu_info{"), "{page}");

    machine.computing(&[(5, -1, 1), (2, -1, first)]);
    let page = until(&program, &tie(2), &["GPU-00000002"]);
    assert!(page.contains("gpu_devices{backend=\"nvml\"} 1.0\n"), "{page}");
    let second = engine.start_worker();
    machine.computing(&[(5, -1, 1), (2, -1, first), (3, -1, second)]);
    until(&program, &tie(3), &["GPU-00000002", "GPU-00000003"]);

    engine.end();
    machine.computing(&[(5, -1, 1), (3, -1, 1)]);
    let page = program.until_it("GPU 2 alone, and tied to none", |page| {
        gpus(page) == ["GPU-00000002"] && !page.contains("\ninfermeter_engine_gpu_info{")
    });
    assert!(page.contains("infermeter_source_up{source=\"process\"} 0.0\n"), "{page}");
    program.ends();
}

#[test]
fn what_names_gpus_goes_before() {
    let (machine, mut engine) = (Machine::new(), Engine::start());
    let worker = engine.worker();
    machine.computing(&[(2, -1, worker)]);
    let named = (&["--gpu-devices", "6"][..], &[][..]);
    let visible = (&[][..], &[("CUDA_VISIBLE_DEVICES", "6")][..]);
    for (arguments, variables) in [named, visible] {
        let mut program = machine.exporter(&engine.pid(), arguments, variables);
        until(&program, &tie(6), &["GPU-00000006"]);
        program.ends();
    }
}

#[test]
fn of_a_gpu_that_is_split_its_instance() {
    let (machine, mut engine) = (Machine::new(), Engine::start());
    let worker = engine.worker();
    machine.computing(&[(1, 2, worker), (1, 0, 1)]);
    let mut program = machine.exporter(&engine.pid(), &[], &[("FAKE_PARTS", "5")]);
    let tie = "infermeter_engine_gpu_info{engine=\"0\",gpu=\"1\",uuid=\"MIG-0001-2\"} 1.0\n";
    let page = until(&program, tie, &["MIG-0001-2"]);
    assert_eq!(page.matches("\ngpu_memory_used_bytes{").count(), 1, "{page}");
    assert!(!page.contains("\ngpu_power_watts{"), "{page}");
    program.ends();
}

#[test]
fn they_are_printed_or_why_they_are_not_known() {
    let (machine, mut engine) = (Machine::new(), Engine::start());
    let worker = engine.worker();
    let pid = engine.pid();
    let print = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["gpus", "--engine-pid", &pid], arguments].concat();
        let printed = infermeter(&machine.library, &arguments, &machine.variables(variables));
        let [text, error] = [printed.stdout, printed.stderr].map(|t| String::from_utf8(t).unwrap());
        assert_eq!(printed.status.success(), error.is_empty(), "{error}");
        (text, error)
    };
    let (_, error) = print(&[], &[]);
    assert!(error.contains("no GPU can be read: no process of the engine computes"), "{error}");
    let refused = [("FAKE_REFUSE_PROCESSES", "4")];
    let (_, error) = print(&[], &refused);
    assert!(error.contains("on GPU 0, GPU 1") && error.contains("no permission"), "{error}");
    let (text, _) = print(&["--gpu-devices", "1"], &refused);
    assert!(text.starts_with("GPU 1: "), "{text}");
    machine.computing(&[(4, -1, worker), (5, -1, 1)]);
    let (text, _) = print(&[], &[]);
    assert!(text.starts_with("GPU 4: ") && !text.contains("GPU 5: "), "{text}");
    engine.end();
    let (_, error) = print(&[], &[]);
    assert!(error.contains("cannot be watched"), "{error}");
}

/// Here the test itself is the engine: it listens.
///
/// NB: told to end, a proxy would wait for a last scrape.
#[test]
fn the_proxy_has_those_of_its_one_engine() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    machine.computing(&[(4, -1, std::process::id()), (5, -1, 1)]);
    let proxy = |arguments: &[&str]| {
        let usual = ["proxy", "--listen", "127.0.0.1:0", "--gpu-interval", "200ms"];
        Program::of(&machine.library, &[&usual, arguments].concat(), &machine.variables(&[]))
    };
    let one = ["--upstream", &upstream, "--engine", "none", "--engine-pid", "auto"];
    let program = proxy(&one);
    until(&program, &tie(4), &["GPU-00000004"]);
    drop(program);

    let file = machine.library.with_extension("toml");
    let config = |names: &[&str]| {
        let table = |name: &&str| {
            format!(
                "[[upstream]]\nname = \"{name}\"\nurl = \"{upstream}\"\nengine = \"none\"\n\
                 engine_pid = \"auto\"\n"
            )
        };
        fs::write(&file, names.iter().map(table).collect::<String>()).unwrap();
        proxy(&["--config", path(&file)])
    };
    let program = config(&["a"]);
    let of_one = tie(4).replace("} 1", ",upstream=\"a\",variant=\"none\"} 1");
    until(&program, &of_one, &["GPU-00000004"]);
    drop(program);
    // Of several, it is not known whose which are.
    let program = config(&["a", "b"]);
    let page = program.until_it("all GPUs", |page| gpus(page).len() == 8);
    assert!(!page.contains("\ninfermeter_engine_gpu_info{"), "{page}");
    drop(program);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
