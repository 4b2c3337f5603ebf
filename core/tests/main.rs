//! All integration tests of the core but those of the architecture, as one program: each module is a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

mod conditions;
mod corpus;
mod elsewhere;
mod environments;
mod gitlab;
mod includes;
mod includes_elsewhere;
mod job_state;
mod pipeline_good;
mod pipeline_mistakes;
mod pipeline_robustness;
mod planning;
mod reference;
#[path = "../../fuzz/replay.rs"]
mod replay;
mod report;
mod repository_addresses;
mod rules;
mod security_page;
mod traces;
mod typed_inputs;
