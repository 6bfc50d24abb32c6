//! What the files below `/proc` say.

/// Clock ticks in a second, as the kernel tells them to programs: the same on every platform.
const TICKS: f64 = 100.0;

/// Of `/proc/PID/stat`. Times are in clock ticks: whole numbers, that can be added and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Who has started it, or cares for it since that one has ended.
    pub(super) parent: u32,
    /// Whether it has ended, and only waits for its parent to take note.
    pub(super) has_ended: bool,
    /// Processor time, user and system.
    pub(super) cpu: u64,
    /// The same of those children that have ended and were waited for, with all below them.
    pub(super) reaped: u64,
    pub(super) threads: u64,
    /// When it started, after the boot.
    pub(super) started: u64,
    /// Address space, in bytes: 0 of what has none (any more).
    pub(super) address_space: u64,
}

// === impl Stat ===

impl Stat {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // NB: the name stands in brackets, and may itself hold brackets, spaces, line breaks.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Counted as in proc(5), where the first one after the name is the third.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            has_ended: matches!(*fields.first()?, "Z" | "X" | "x"),
            cpu: number(14)?.saturating_add(number(15)?),
            reaped: number(16)?.saturating_add(number(17)?),
            threads: number(20)?,
            started: number(22)?,
            address_space: number(23)?,
        })
    }

    /// Whether it has memory and open files: not what has ended, nor threads of the kernel.
    pub(super) const fn has_memory(&self) -> bool {
        !self.has_ended && self.address_space > 0
    }
}

pub(super) fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS
}

/// The proportional set size in `/proc/PID/smaps_rollup`, in KiB.
pub(super) fn pss(rollup: &str) -> Option<u64> {
    field(rollup, "Pss")
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
        let expected = Stat {
            parent: 5562,
            has_ended: false,
            cpu: 400,
            reaped: 17,
            threads: 1,
            started: 1_234_690,
            address_space: 3_133_440,
        };
        for name in ["cat", "a b", "x) R 1 2", ") S (", "((", "", "a\nb", "\u{fffd}"] {
            let text = format!("5571 ({name}) {AFTER_NAME}\n");
            assert_eq!(Stat::parse(&text), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn what_has_ended_has_no_memory() {
        let stat = |state, space| {
            let text = AFTER_NAME.replacen('S', state, 1).replace("3133440", space);
            Stat::parse(&format!("7 (a) {text}")).unwrap()
        };
        for state in ["Z", "X", "x"] {
            assert!(stat(state, "0").has_ended && !stat(state, "8192").has_memory());
        }
        for state in ["S", "R", "D", "T", "t", "I"] {
            assert!(!stat(state, "0").has_ended && stat(state, "8192").has_memory());
            assert!(!stat(state, "0").has_memory());
        }
        assert_eq!(seconds(175), 1.75);
    }

    #[test]
    fn proportional_memory() {
        let rollup =
            "5-7 ---p 00 00:00 0    [rollup]\nRss:   1704 kB\nPss:    369 kB\nPss_Dirty: 2 kB\n";
        assert_eq!(pss(rollup), Some(369));
        assert_eq!(pss("Rss:   1704 kB\nPss_Dirty: 2 kB\n"), None);
        assert_eq!(pss(""), None);
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
