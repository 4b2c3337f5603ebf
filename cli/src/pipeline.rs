//! Pipeline files, and facts about their repository from git.

pub mod children;
pub mod elsewhere;
pub mod engines;
pub mod external;
pub mod file;
pub mod git_facts;
pub mod new_file;
