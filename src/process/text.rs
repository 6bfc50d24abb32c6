//! What the files below `/proc` say.

/// Clock ticks in a second, as the kernel tells them to programs: the same on every platform.
const TICKS: f64 = 100.0;

/// Of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stat {
    /// Seconds of processor time, user and system.
    pub(super) cpu: f64,
    /// When it started, in seconds after the boot.
    pub(super) started: f64,
}

// === impl Stat ===

impl Stat {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // NB: the name stands in brackets, and may itself hold brackets, spaces, line breaks.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Counted as in proc(5), where the first one after the name is the third.
        let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let [user, system, started] = [14, 15, 22].map(ticks);
        let cpu = user?.saturating_add(system?);
        Some(Self { cpu: cpu as f64 / TICKS, started: started? as f64 / TICKS })
    }
}

/// A number of `/proc/PID/status`.
pub(super) fn field(status: &str, name: &str) -> Option<u64> {
    let of_name = |line: &'_ str| {
        line.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok()
    };
    status.lines().find_map(of_name)
}

/// The soft limit of open files in `/proc/PID/limits`; `None` where there is none.
pub(super) fn max_fds(limits: &str) -> Option<u64> {
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    soft.split_whitespace().next()?.parse().ok()
}

/// When the system started, in unix time; of `/proc/stat`.
pub(super) fn boot(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_NAME: &str =
        "S 5562 5562 4376 0 -1 4194304 100 1 2 3 321 79 8 9 20 0 1 0 1234690 3133440 380 0";

    #[test]
    fn any_name_of_a_process() {
        let expected = Stat { cpu: 4.0, started: 12346.9 };
        for name in ["cat", "a b", "x) R 1 2", ") S (", "((", "", "a\nb", "\u{fffd}"] {
            let text = format!("5571 ({name}) {AFTER_NAME}\n");
            assert_eq!(Stat::parse(&text), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn a_stat_that_is_cut_or_no_number_is_none() {
        for text in ["", "5571 (cat", "5571 (cat)", "5571 (cat) S 1 2 3"] {
            assert_eq!(Stat::parse(text), None, "{text:?}");
        }
        let negative = format!("1 (a) {}", AFTER_NAME.replace("321", "-1"));
        assert_eq!(Stat::parse(&negative), None);
    }

    #[test]
    fn fields_of_status() {
        let status = "Name:\tVmRSS: 7 kB\nVmRSS:\t    1632 kB\nThreads:\t12\nVmData:\tmuch kB\n";
        assert_eq!(field(status, "VmRSS"), Some(1632));
        assert_eq!(field(status, "Threads"), Some(12));
        // Another field's beginning, no number, a thread of the kernel, which has no memory.
        for name in ["Vm", "VmData", "VmSize"] {
            assert_eq!(field(status, name), None, "{name}");
        }
    }

    #[test]
    fn limits() {
        let line = |soft: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units\n\
                 Max processes             96365                96365                processes\n\
                 Max open files            {soft:<21}1048576              files\n"
            )
        };
        assert_eq!(max_fds(&line("20000")), Some(20000));
        assert_eq!(max_fds(&line("unlimited")), None);
        assert_eq!(max_fds("Max processes             1                1\n"), None);
    }

    #[test]
    fn boot_time() {
        assert_eq!(boot("cpu  1 2\nbtime 1795510203\nprocesses 7\n"), Some(1_795_510_203.0));
        assert_eq!(boot("cpu  1 2\nprocesses 7\n"), None);
    }
}
