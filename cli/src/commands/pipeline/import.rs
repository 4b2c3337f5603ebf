//! `import`: converts a GitLab CI file to a pipeline file.

use crate::{
    args::Import,
    failure::{Failure, Outcome},
    output::{self, Printable},
    pipeline::{
        elsewhere::Elsewhere,
        file::{self, FileContext, FileFormat, UnsetVariables},
        new_file,
    },
    view::hint::quoted,
};
use serde_json::json;

/// `tidemill import`.
pub fn import(args: &Import) -> Outcome {
    let text = file::read(&args.file)?;
    let colour = output::stderr_has_colours();
    let format = FileFormat::of(&args.file, true, true).with_unset_variables(UnsetVariables::ReportAndReject);
    let context = FileContext { elsewhere: Elsewhere::new(&args.include, None), ..FileContext::default() };
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
