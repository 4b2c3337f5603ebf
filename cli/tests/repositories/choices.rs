//! Names of executions and jobs that several fit are refused with the choices.

use crate::repositories::{ALPHA, BETA, RepositoriesFixture};

#[test]
fn dead_letters_accept_numbers_and_starts_of_ids_and_refuse_ambiguous_ones() {
    let fixture = RepositoriesFixture::new();
    let first = fixture.start(ALPHA, "ci", "main").execution_id.to_string();
    for name in ["1", &first[..35], &first] {
        assert_eq!(fixture.succeed("alpha", &["dead-letters", name]), "no dead letters\n", "{name}");
    }
    let nightly = fixture.start(ALPHA, "nightly", "main").execution_id.to_string();
    for args in [&["dead-letters", "1"][..], &["dead-letters", "1", "--dismiss"]] {
        let message = fixture.usage_error("alpha", args);
        assert!(message.contains(&first) && message.contains(&nightly), "{args:?}: {message}");
    }
    assert!(fixture.usage_error("alpha", &["dead-letters", "7"]).contains("no run #7"));
    let message = fixture.usage_error("alpha", &["dead-letters", "unit"]);
    assert!(message.contains("`unit` is not an execution"), "{message}");
    let beta = fixture.start(BETA, "ci", "main").execution_id.to_string();
    let message = fixture.usage_error("alpha", &["dead-letters", &beta, "--dismiss"]);
    assert!(message.contains("nothing was changed"), "{message}");
    fixture.succeed("alpha", &["dead-letters", &beta, "--dismiss", "--all-repositories"]);
}

#[test]
fn ambiguous_job_is_refused_and_an_unknown_one_is_not_ambiguous() {
    let fixture = RepositoriesFixture::new();
    let executions =
        ["ci", "nightly"].map(|name| fixture.start(ALPHA, name, "main").execution_id.to_string());
    let message = fixture.usage_error("alpha", &["cancel", "unit"]);
    assert!(message.contains("several executions match"), "{message}");
    assert!(executions.iter().all(|id| message.contains(id)), "{message}");
    let message = fixture.usage_error("alpha", &["cancel", "unti"]);
    assert!(
        message.contains("none of 2 executions of") && message.contains("did you mean `unit`?"),
        "{message}"
    );
    // In the form of the start of an id, which nothing has.
    let message = fixture.usage_error("alpha", &["cancel", "feed"]);
    assert!(message.contains("no execution has an id that begins with feed"), "{message}");
}
