//! Situations that users of CI systems reported in public, each as a test: `README.md` here lists them, `make cases` prints how
//! they end. A test belongs to a case by its name, `case_GROUP_NUMBER_SUBJECT`.

mod everyday;
mod evidence;
mod gitlab;
mod images;
mod network;
mod project;
mod real;
mod services;
mod sources;
mod unusual;
