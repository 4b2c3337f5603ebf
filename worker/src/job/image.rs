//! Images of a job: those that it uses, and the one that it builds.

mod build;
mod context;
mod dockerfile;
mod ignore;
mod pull;
mod sharing;

pub use build::{build_after_script, build_only};
pub use pull::pull_image;
pub use sharing::load_image;
