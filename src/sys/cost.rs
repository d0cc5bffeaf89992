//! For measurements in tests: time of the processor, of the calling thread alone, whatever else the machine does.

use nix::sys::resource::{UsageWho, getrusage};

/// Milliseconds of CPU that it takes, of `count` times.
pub fn cost(count: u32, mut act: impl FnMut()) -> f64 {
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
        let micros = |time: nix::sys::time::TimeVal| i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_usec());
        micros(usage.user_time()) + micros(usage.system_time())
    };
    act();
    let begun = spent();
    (0..count).for_each(|_| act());
    (spent() - begun) as f64 / 1000.0 / f64::from(count)
}

/// Prints it, and holds it against its bound.
pub fn report(what: &str, cost: f64, bound: f64) {
    println!("{what}: {cost:.3} ms (at most {bound} ms)");
    assert!(cost <= bound, "{what}");
}
