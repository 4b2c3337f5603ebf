//! `import`: converts a GitLab CI file to a pipeline file.

use crate::{
    args::{FactArgs, Import},
    execution::repository,
    failure::{Failure, Outcome},
    output::{self, Printable},
    pipeline::{
        elsewhere::Elsewhere,
        file::{self, FileContext, FileFormat, UnsetVariables},
        git_facts, new_file,
    },
    view::hint::quoted,
};
use serde_json::json;
use std::path::Path;
use tidemill_core::execution::facts::Facts;

/// `tidemill import`.
pub fn import(args: &Import) -> Outcome {
    let text = file::read(&args.file)?;
    let colour = output::stderr_has_colours();
    let format = FileFormat::of(&args.file, true, true).with_unset_variables(UnsetVariables::ReportAndReject);
    let context = FileContext {
        elsewhere: Elsewhere::new(&args.include, None),
        event: event(args)?,
        is_for_event: true,
        ..FileContext::default()
    };
    let assembled = file::assemble(&args.file, &text, format, &context)
        .map_err(|errors| Failure::usage(errors.render(colour).trim_end().to_owned()))?;
    new_file::write(&args.output, args.force, &assembled.text)?;
    let (name, from) = (args.output.to_string_lossy(), args.file.to_string_lossy());
    output::print_error_text(&assembled.render_warnings(colour));
    let reply = json!({ "created": name, "from": from, "warnings": assembled.parsed.warnings });
    output::print_reply(args.format.is_json(), &reply, || {
        format!(
            "created {} from {}; next: tidemill check {}",
            Printable(&name),
            Printable(&from),
            quoted(&name)
        )
    })?;
    Ok(())
}

/// Returns the event for which a file is converted that is not the same for all events.
fn event(args: &Import) -> Outcome<Option<Box<Facts>>> {
    if args.event.is_none() {
        return Ok(None);
    }
    let facts = FactArgs {
        event: args.event,
        branch: args.branch.clone(),
        tag: args.tag.clone(),
        ..FactArgs::default()
    };
    let here = Path::new(".");
    let of_tree = git_facts::WorkingTree::read(here).facts(git_facts::RequiredFacts::ALL);
    let of_event = git_facts::override_with(&facts, here, of_tree)?;
    let repo = repository::address(None).unwrap_or_default();
    Ok(Some(Box::new(Facts { repo, ..of_event })))
}
