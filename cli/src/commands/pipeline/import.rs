//! `import`: converts a GitLab CI file to a pipeline file.

use crate::{
    args::Import,
    failure::{Failure, Outcome},
    pipeline::{
        file::{self, FileFormat},
        new_file,
    },
};
use tidemill_core::api::ExternalVariables;

/// `tidemill import`.
pub fn import(args: &Import) -> Outcome {
    let text = file::read(&args.file)?;
    let colour = crate::output::stderr_has_colours();
    let format = FileFormat::of(&args.file, true, true);
    let assembled = file::assemble(&args.file, &text, format, &ExternalVariables::default())
        .map_err(|errors| Failure::usage(errors.render(colour).trim_end().to_owned()))?;
    new_file::write(&args.output, args.force, &assembled.text)?;
    let name = args.output.display();
    crate::output::print_error_text(&assembled.render_warnings(colour));
    crate::output::outln!("created {name} from {}; next: tidemill check", args.file.display());
    Ok(())
}
