//! GPUs as an operator meets them: another process, over a driver of our own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]
#![cfg(unix)]

#[path = "../gpu/driver.rs"]
#[allow(dead_code, reason = "this test uses a part of it")]
mod driver;
#[cfg(target_os = "linux")]
mod engine;
mod program;

use std::path::Path;

use self::program::{Program, infermeter};

#[test]
fn gpus_are_printed_with_what_is_absent_and_why() {
    let library = driver::copy(&[]);
    let printed = infermeter(&library, &["gpus"], &[("FAKE_COUNT", "2")]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.status.success(), "{text}");
    for line in [
        "GPU 0: NVIDIA H100, GPU-00000000, 00000000:10:00.0, 550.54.15",
        "GPU 1: NVIDIA H100, GPU-00000001",
        "  gpu_power_watts                                         312.345",
        "  gpu_temperature_celsius                  memory         61",
    ] {
        assert!(text.contains(line), "{line:?}: {text}");
    }
    let arguments = ["gpus", "--gpu-devices", "1", "--gpu-metrics", "extended"];
    let printed = infermeter(&library, &arguments, &[("FAKE_COUNT", "2")]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(!text.contains("GPU 0") && text.contains("GPU 1"), "{text}");
    let absent = "gpu_sm_active_ratio                                     - (not supported";
    assert!(text.contains(absent), "{text}");
}

#[test]
fn without_a_driver_it_says_so_and_only_who_requires_one_ends() {
    let nowhere = Path::new("/nowhere/libnvidia-ml.so.1");
    let printed = infermeter(nowhere, &["gpus"], &[]);
    let error = String::from_utf8(printed.stderr).unwrap();
    assert!(!printed.status.success(), "{error}");
    assert!(error.contains("no GPU can be read") && error.contains("/nowhere/"), "{error}");

    let exporter = ["exporter", "--engine", "none", "--metrics-listen", "127.0.0.1:0"];
    let required = [&exporter[..], &["--require-gpu"]].concat();
    let ended = infermeter(nowhere, &required, &[]);
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && error.contains("--require-gpu: no GPU"), "{error}");
    let never = [&required[..], &["--gpu", "off"]].concat();
    let error = String::from_utf8(infermeter(nowhere, &never, &[]).stderr).unwrap();
    assert!(error.contains("allowed are auto and nvml"), "{error}");

    let mut program = Program::start(nowhere, &[], &[]);
    program.until("gpu_probe_up{backend=\"nvml\"} 0.0\n");
    program.until("gpu_devices{backend=\"nvml\"} 0.0\n");
    program.ends();
}

/// A thread that a driver never lets go of holds up neither a page nor the end.
#[test]
fn a_driver_that_hangs_for_ever_holds_up_nothing() {
    let library = driver::copy(&[]);
    let mut program = Program::start(&library, &[], &[("FAKE_HANG", "3")]);
    program.until("gpu_probe_up{backend=\"nvml\"} 0.0\n");
    let page = program.page();
    // What was read before it is there, as long as it is fresh; it may be gone by now.
    assert!(page.contains("gpu_up{gpu=\"7\",uuid=\"GPU-00000007\",name=\"NVIDIA H100\"} 0.0\n"));
    assert!(page.contains("gpu_probe_errors_total{backend=\"nvml\",kind=\"timeout\"} 1\n"));
    assert!(page.contains("infermeter_build_info"), "{page}");
    program.ends();
}

/// Those before it are printed, and those from there on say why they are not.
#[test]
fn gpus_of_a_driver_that_hangs_are_printed_as_far_as_they_were_read() {
    let library = driver::copy(&[]);
    let printed = infermeter(&library, &["gpus"], &[("FAKE_COUNT", "2"), ("FAKE_HANG", "1")]);
    let [text, error] = [printed.stdout, printed.stderr].map(|t| String::from_utf8(t).unwrap());
    let (first, second) = text.split_once("GPU 1: ").unwrap();
    assert!(first.contains("  gpu_power_watts                                         312.345"));
    assert!(second.contains("cannot be read: nvml: the driver has not answered"), "{text}");
    assert!(!printed.status.success() && error.contains("has not answered"), "{error}");
}

#[test]
fn an_engine_has_the_gpus_that_are_named() {
    let library = driver::copy(&[]);
    let visible = [("CUDA_VISIBLE_DEVICES", "GPU-00000002")];
    let named = ["--gpu-devices", "2"];
    for (arguments, variables) in [(&named[..], &[][..]), (&[], &visible)] {
        let mut program = Program::start(&library, arguments, variables);
        let tie = "infermeter_engine_gpu_info{engine=\"0\",gpu=\"2\",uuid=\"GPU-00000002\"} 1.0\n";
        let page = program.until(tie);
        assert!(!page.contains("GPU-00000003"), "{page}");
        program.ends();
    }
}
