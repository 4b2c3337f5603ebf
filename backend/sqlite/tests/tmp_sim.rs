//! temporary
use std::sync::Arc;
use tidemill_testkit::simulation::{faults::EventCounts, run::run};
#[test]
fn tmp_sim() {
    let start: u64 = std::env::var("SEED_START").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let n: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(100);
    let tally = Arc::new(EventCounts::default());
    let begun = std::time::Instant::now();
    let mut bad = 0;
    for seed in start..start + n {
        let outcome = run(seed, false, &tally);
        if let Some((message, last)) = outcome.violation {
            println!("seed {seed}: {message}\n{}", last.join("\n"));
            bad += 1;
            if bad > 2 {
                break;
            }
        }
        if begun.elapsed().as_secs() > 400 {
            println!("stopped at {seed}");
            break;
        }
    }
    println!("{tally} {:?}", begun.elapsed());
    assert_eq!(bad, 0);
    panic!("show output");
}
