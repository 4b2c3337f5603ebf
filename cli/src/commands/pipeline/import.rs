//! `import`: converts a GitLab CI file to a pipeline file.

use crate::{
    args::Import,
    failure::{Failure, Outcome},
    pipeline::file::{self, FileFormat},
};
use std::{fs, io::Write};

/// `tidemill import`.
pub fn import(args: &Import) -> Outcome {
    let text = file::read(&args.file)?;
    let colour = crate::output::stderr_has_colours();
    let assembled = file::assemble(&args.file, &text, FileFormat::GitLab { tags_are_labels: true })
        .map_err(|errors| Failure::usage(errors.render(colour).trim_end().to_owned()))?;
    if let Some(directory) = args.output.parent() {
        fs::create_dir_all(directory)?;
    }
    let name = args.output.display();
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true);
    if args.force {
        options.truncate(true)
    } else {
        options.create_new(true)
    };
    let mut output = options.open(&args.output).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{name} already exists; use another path with -o, or overwrite it with --force"
        )),
        _ => Failure::system(format!("{name} cannot be written: {error}")),
    })?;
    output.write_all(assembled.text.as_bytes())?;
    crate::output::print_error_text(&assembled.render_warnings(colour));
    crate::output::outln!("created {name} from {}; next: tidemill check", args.file.display());
    Ok(())
}
