//! Memory of this process.

/// A field of Linux's `/proc/self/status` in MiB: `VmRSS` is the resident memory, `VmHWM` its peak. `None` on another system.
pub fn memory_mib(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}
