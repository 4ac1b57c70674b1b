//! Memory that was freed and that the C library's allocator keeps for later. After a burst that is most of what a process
//! has resident, since long-lived pieces lie above the free ones; only this call gives it back.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

/// Gives back what is free. Takes milliseconds, for which allocations of other threads may wait.
///
/// Where the C library is not GNU's, nothing happens.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: it takes the allocator's own locks, and leaves memory that is in use alone (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.split_whitespace().next().and_then(|size| size.parse().ok()).expect("a number")
    }

    #[test]
    fn what_a_burst_has_left_goes_back() {
        // Small pieces, so that none is mapped by itself, and one on top that stays.
        let burst: Vec<Box<[u8; 1024]>> = (0..32 * 1024).map(|_| Box::new([1; 1024])).collect();
        let stays = Box::new([1_u8; 1024]);
        drop(burst);
        let before = resident_kib();
        give_back();
        let after = resident_kib();
        assert!(before > after + 16 * 1024, "{before} KiB, then {after}");
        assert_eq!(stays[0], 1);
    }
}
