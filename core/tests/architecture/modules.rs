//! The modules of a package: which file each one is in, what it re-exports, and which paths its code names.

use proc_macro2::{TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility, visit::Visit};

/// Segments of a path from the package's root.
pub type ModulePath = Vec<String>;

/// A module, in its own file or inline.
#[derive(Debug, Default)]
pub struct Module {
    /// Index of its file in [`Package::files`].
    pub file: usize,
    /// Names that it re-exports, with the path of each target as written and resolved to the package's root.
    pub exports: BTreeMap<String, ModulePath>,
    /// Names that its private `use` items bring into scope.
    pub imports: BTreeMap<String, ModulePath>,
    /// Paths that its code names, resolved to the package's root.
    pub paths: BTreeSet<ModulePath>,
    /// Whether it has items other than modules and re-exports.
    pub has_items: bool,
}

/// The modules of one package's library or binary.
#[derive(Debug, Default)]
pub struct Package {
    pub files: Vec<PathBuf>,
    pub modules: BTreeMap<ModulePath, Module>,
}

impl Package {
    /// Reads the module tree that starts in `entry`, such as `src/lib.rs`. Modules that only tests have are left out.
    pub fn read(entry: &Path) -> Self {
        let mut package = Self::default();
        package.read_file(entry, &[]);
        package
    }

    fn read_file(&mut self, path: &Path, module: &[String]) {
        let text = fs::read_to_string(path).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.files.push(path.to_owned());
        let file = self.files.len() - 1;
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let children = match stem {
            "lib" | "main" | "mod" => path.parent().unwrap().to_owned(),
            _ => path.with_extension(""),
        };
        self.add_items(&parsed.items, file, module, &children);
    }

    fn add_items(&mut self, items: &[Item], file: usize, module: &[String], children: &Path) {
        let mut collector = Collector {
            module: Module { file, ..Module::default() },
            path: module,
            children: child_names(items),
        };
        let mut nested = Vec::new();
        for item in items {
            match item {
                Item::Mod(item) if is_test_only(&item.attrs) => {}
                Item::Mod(item) => nested.push(item),
                Item::Use(item) if !is_test_only(&item.attrs) => collector.add_use(item),
                Item::Use(_) => {}
                item => collector.visit_item(item),
            }
        }
        let Collector { module: collected, .. } = collector;
        self.modules.insert(module.to_vec(), collected);
        for item in nested {
            self.add_module(item, file, module, children);
        }
    }

    fn add_module(&mut self, item: &ItemMod, file: usize, parent: &[String], children: &Path) {
        let name = item.ident.to_string();
        let mut module = parent.to_vec();
        module.push(name.clone());
        if let Some((_, items)) = &item.content {
            self.add_items(items, file, &module, &children.join(&name));
            // Items of an inline module are items of its file.
            if let Some(parent) = self.modules.get_mut(parent) {
                parent.has_items = true;
            }
            return;
        }
        let flat = children.join(format!("{name}.rs"));
        let path = if flat.exists() { flat } else { children.join(&name).join("mod.rs") };
        self.read_file(&path, &module);
    }

    /// The file that defines what `path` names, if it is in this package: re-exports are followed.
    pub fn file_of(&self, path: &[String]) -> Option<usize> {
        self.resolve(path, 0)
    }

    fn resolve(&self, path: &[String], depth: usize) -> Option<usize> {
        if depth > 16 {
            return None;
        }
        let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let module = &self.modules[&path[..length]];
        let target =
            path.get(length).and_then(|name| module.exports.get(name).or_else(|| module.imports.get(name)));
        if let Some(target) = target {
            let mut target = target.clone();
            target.extend_from_slice(&path[length + 1..]);
            if target != path {
                return self.resolve(&target, depth + 1);
            }
        }
        // A parent that only declares and re-exports does nothing that could depend on anything.
        module.has_items.then_some(module.file)
    }
}

/// Whether the attributes keep an item out of every build but a test's.
fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

fn child_names(items: &[Item]) -> BTreeSet<String> {
    items
        .iter()
        .filter_map(|item| if let Item::Mod(item) = item { Some(item.ident.to_string()) } else { None })
        .collect()
}

/// Collects the paths of one module.
struct Collector<'a> {
    module: Module,
    path: &'a [String],
    children: BTreeSet<String>,
}

impl Collector<'_> {
    /// The path from the package's root; nothing for a path into another package.
    fn absolute(&self, segments: &[String]) -> Option<ModulePath> {
        let first = segments.first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.path.to_vec(),
            name if self.children.contains(name) => {
                let mut base = self.path.to_vec();
                base.push(name.to_owned());
                base
            }
            name => self.module.imports.get(name).or_else(|| self.module.exports.get(name))?.clone(),
        };
        if first == "super" {
            base.pop();
        }
        for segment in &segments[1..] {
            if segment == "super" {
                base.pop();
            } else {
                base.push(segment.clone());
            }
        }
        Some(base)
    }

    fn add_use(&mut self, item: &ItemUse) {
        let is_export = !matches!(item.vis, Visibility::Inherited);
        let mut leaves = Vec::new();
        collect_leaves(&item.tree, &mut Vec::new(), &mut leaves);
        for (segments, name) in leaves {
            let Some(path) = self.absolute(&segments) else { continue };
            self.module.paths.insert(path.clone());
            let names = if is_export { &mut self.module.exports } else { &mut self.module.imports };
            names.insert(name, path);
        }
    }

    /// Macros are not parsed; the paths among their tokens count all the same.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    self.add_segments(&segments);
                    segments.clear();
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_segments(&segments);
                        segments.clear();
                    }
                    segments.push(ident.to_string());
                    colons = 0;
                }
                _ => {
                    self.add_segments(&segments);
                    segments.clear();
                    colons = 0;
                }
            }
        }
        self.add_segments(&segments);
    }

    fn add_segments(&mut self, segments: &[String]) {
        if let Some(path) = self.absolute(segments) {
            self.module.paths.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        self.module.has_items = true;
        syn::visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(item);
    }

    // `pub(super)` uses nothing of the parent.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_segments(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.add_tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }
}

/// The paths of a `use` tree, each with the name that it brings into scope. A glob brings none and counts as its module.
fn collect_leaves(tree: &UseTree, prefix: &mut ModulePath, leaves: &mut Vec<(ModulePath, String)>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            collect_leaves(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            let last = prefix.last().cloned().unwrap_or_default();
            leaves.push((prefix.clone(), last));
        }
        UseTree::Name(name) => {
            let mut path = prefix.clone();
            path.push(name.ident.to_string());
            leaves.push((path, name.ident.to_string()));
        }
        UseTree::Rename(rename) => {
            let mut path = prefix.clone();
            if rename.ident != "self" {
                path.push(rename.ident.to_string());
            }
            leaves.push((path, rename.rename.to_string()));
        }
        UseTree::Glob(_) => leaves.push((prefix.clone(), String::new())),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect_leaves(tree, prefix, leaves);
            }
        }
    }
}
