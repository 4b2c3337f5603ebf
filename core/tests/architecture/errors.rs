//! No code decides by the text of an error.

use crate::tree::{PACKAGES, assert_none, files, relative};
use std::fs;
use syn::{
    Expr, ExprMethodCall, ItemFn, ItemMod,
    visit::{self, Visit},
};

/// Methods that look into a text.
const SEARCHES: &[&str] =
    &["contains", "ends_with", "find", "matches", "split_once", "starts_with", "strip_prefix"];

/// Names of variables that hold errors.
const ERRORS: &[&str] = &["cause", "e", "err", "error", "failure", "source"];

/// Searches in the texts of errors, in code that is not a test's.
#[derive(Default)]
struct Searches(Vec<String>);

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test"))
    })
}

/// Whether an expression is the text of an error: `error.to_string()`.
fn is_text_of_error(expression: &Expr) -> bool {
    let Expr::MethodCall(call) = expression else { return false };
    let is_shown = call.method == "to_string";
    match (&*call.receiver, is_shown) {
        (Expr::Path(path), true) => {
            path.path.get_ident().is_some_and(|name| ERRORS.iter().any(|error| name == error))
        }
        (inner @ Expr::MethodCall(_), false) => is_text_of_error(inner),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Searches {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if SEARCHES.iter().any(|search| call.method == search) && is_text_of_error(&call.receiver) {
            self.0.push(call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }
}

fn searches_of(text: &str) -> Vec<String> {
    let mut searches = Searches::default();
    searches.visit_file(&syn::parse_file(text).unwrap());
    searches.0
}

#[test]
fn no_code_decides_by_the_text_of_an_error() {
    let mut violations = Vec::new();
    for package in PACKAGES {
        // The test kit is tests.
        if package == "backend/testkit" {
            continue;
        }
        for path in files(&format!("{package}/src"), &["rs"]) {
            let is_tests = path.file_stem().is_some_and(|stem| stem == "tests")
                || path.components().any(|part| part.as_os_str() == "tests");
            if !is_tests {
                let found = searches_of(&fs::read_to_string(&path).unwrap());
                violations.extend(found.iter().map(|method| format!("{}: `{method}`", relative(&path))));
            }
        }
    }
    assert_none("match on the kind of the error", &violations);
}

#[test]
fn search_in_the_text_of_an_error_is_found() {
    assert_eq!(searches_of(r#"fn f() { if error.to_string().contains("x") {} }"#), ["contains"]);
    assert_eq!(searches_of(r#"fn f() { error.to_string().to_lowercase().find("x"); }"#), ["find"]);
    assert!(searches_of(r#"fn f() { text.contains("x"); } #[cfg(test)] mod tests { fn f() { error.to_string().find("x"); } }"#).is_empty());
}
