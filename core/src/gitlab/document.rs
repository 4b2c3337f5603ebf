//! One document from a GitLab file and those that it includes, with `extends` and `!reference` written out.

mod extends;
mod include;

pub(crate) use extends::written_out;
pub(crate) use include::read;
